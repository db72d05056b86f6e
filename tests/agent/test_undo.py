"""Going back: as often as it takes, without touching what others did meanwhile, and only what was done."""

import errno
import json
import logging
import os

import pytest

from popham.agent.placed import PlacedRecord
from popham.errors import PolicyError

from .conftest import Machine, make_policy, make_typed


class Crashed(BaseException):
    """Stands for the end of the process: nothing of ours handles it."""


def crash_at(step):
    def fail(here):
        if here == step:
            raise Crashed

    return fail


def old_set(machine):
    return [
        make_policy(
            {"path": str(machine.root / "kept"), "directory": True, "mode": "0700"},
            (machine.root / "kept/a", "old"),
            (machine.root / "gone/b", "old"),
        )
    ]


def new_set(machine):
    return [
        make_policy(
            {"path": str(machine.root / "kept"), "directory": True, "mode": "0755"},
            (machine.root / "kept/a", "new"),
            (machine.root / "kept/fresh", "new"),
            (machine.root / "made/c", "new"),
        )
    ]


OLD = ({"kept": 0o700, "gone": 0o755}, {"kept/a": (b"old", 0o644), "gone/b": (b"old", 0o644)})
HAND = "written by hand in between"


async def crashed(path, step):
    """Return a machine on which the change from old to new ended at ``step``."""
    path.mkdir()
    machine = Machine(path.resolve())
    await machine.applier().apply(old_set(machine))
    with pytest.raises(Crashed):
        await machine.applier(failpoint=crash_at(step)).apply(new_set(machine))
    return machine


async def steps_until_commit(path):
    path.mkdir()
    machine, steps = Machine(path.resolve()), []
    await machine.applier().apply(old_set(machine))
    await machine.applier(failpoint=steps.append).apply(new_set(machine))
    return steps[: steps.index("committed")]


async def steps_back(path, step):
    machine, steps = await crashed(path, step), []
    await machine.applier(failpoint=steps.append).recover()
    assert (machine.folders(), machine.tree()) == OLD, step
    return steps


async def test_rel_26_an_undo_that_is_cut_short_at_any_step_is_finished_by_the_next(tmp_path):
    for number, step in enumerate(await steps_until_commit(tmp_path / "steps")):
        for again, cut in enumerate(await steps_back(tmp_path / f"{number}", step)):
            machine = await crashed(tmp_path / f"{number}-{again}", step)
            with pytest.raises(Crashed):
                await machine.applier(failpoint=crash_at(cut)).recover()
            assert await machine.applier().recover()
            assert (machine.folders(), machine.tree()) == OLD, (step, cut)
            assert not await machine.applier().recover()
            assert not list(machine.root.rglob(".popham-*"))


async def test_rel_26_a_file_that_somebody_writes_between_two_undos_is_not_taken_for_ours(tmp_path):
    for number, step in enumerate(await steps_until_commit(tmp_path / "steps")):
        for again, cut in enumerate(await steps_back(tmp_path / f"{number}", step)):
            machine = await crashed(tmp_path / f"{number}-{again}", step)
            with pytest.raises(Crashed):
                await machine.applier(failpoint=crash_at(cut)).recover()
            theirs = machine.root / "kept/fresh"
            if theirs.exists():
                continue  # still ours
            theirs.write_text(HAND)
            await machine.applier().recover()
            assert theirs.read_text() == HAND, (step, cut)
            assert (machine.root / "kept/a").read_text() == "old"


async def test_an_undo_needs_no_room_on_the_disk(machine, monkeypatch):
    await machine.applier().apply(old_set(machine))

    def full(_file, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(step):
        if step == "placed:1":
            monkeypatch.setattr("popham.agent.placement.replace_file", full)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(PolicyError) as caught:
        await machine.applier(failpoint=fail).apply(new_set(machine))
    assert caught.value.code == "policy.disk"
    assert (machine.folders(), machine.tree()) == OLD


# Programs.


@pytest.fixture
def programs(machine):
    """Return a machine with two programs that note what they are asked."""
    for name in ("one", "two"):
        machine.commands[name] = (
            "/bin/sh",
            "-c",
            f"echo {name}:{{phase}} >> {machine.log}; test {name}:{{phase}} != $(cat {machine.folder}/bad)",
        )
    machine.commands["reload"] = machine.noting("reload", f"test reload != $(cat {machine.folder}/bad)")
    (machine.folder / "bad").write_text("none")
    return machine


def handed(machine):
    return [
        make_policy((machine.root / "a", "1"), reload="reload"),
        *(make_typed("custom", {"command": name, "data": name}, name) for name in ("one", "two")),
    ]


async def test_a_program_that_was_handed_nothing_has_nothing_to_take_back(programs):
    (programs.folder / "bad").write_text("reload")
    with pytest.raises(PolicyError):
        await programs.applier().apply(handed(programs))
    assert programs.noted() == ["one:check", "two:check", "reload", "reload"]


async def test_only_the_program_that_was_handed_something_takes_it_back(programs):
    (programs.folder / "bad").write_text("one:apply")
    with pytest.raises(PolicyError):
        await programs.applier().apply(handed(programs))
    assert programs.noted()[3:] == ["one:apply", "reload", "one:remove"]


async def test_the_next_process_knows_what_programs_were_handed(programs):
    for step, told in (
        ("placed:0", []),
        ("reloaded", []),
        ("handing:0", ["one:remove"]),
        ("handed:0", ["one:remove"]),
        ("handing:1", ["two:remove", "one:remove"]),
    ):
        with pytest.raises(Crashed):
            await programs.applier(failpoint=crash_at(step)).apply(handed(programs))
        programs.log.write_text("")
        assert await programs.applier().recover()
        assert [word for word in programs.noted() if word != "reload"] == told, step


async def test_a_journal_of_an_older_version_has_all_of_its_steps_taken_back(programs):
    with pytest.raises(Crashed):
        await programs.applier(failpoint=crash_at("reloaded")).apply(handed(programs))
    file = programs.state / "apply/journal.json"
    journal = json.loads(file.read_text())
    del journal["handed"]
    file.write_text(json.dumps(journal))
    programs.log.write_text("")
    await programs.applier().recover()
    assert programs.noted() == ["reload", "two:remove", "one:remove"]


async def test_rel_11_a_disk_that_is_full_while_the_next_process_undoes_is_an_error_of_the_policy(
    programs, monkeypatch
):
    with pytest.raises(Crashed):
        await programs.applier(failpoint=crash_at("handed:0")).apply(handed(programs))
    (programs.folder / "bad").write_text("one:remove")

    def full(_file, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("popham.agent.placed.replace_file", full)
        with pytest.raises(PolicyError) as caught:
            await programs.applier().apply([])
    assert caught.value.code == "policy.disk"
    (programs.folder / "bad").write_text("none")
    await programs.applier().apply(handed(programs))
    assert programs.noted()[-2:] == ["one:apply", "two:apply"]


async def test_data_that_is_lost_is_not_handed_back_and_stops_nothing(programs):
    def giving(data):
        return [make_typed("custom", {"command": "one", "data": data}, "one")]

    await programs.applier().apply(giving("old"))
    (lost,) = (programs.state / "apply/handed").iterdir()
    with pytest.raises(Crashed):
        await programs.applier(failpoint=crash_at("handed:0")).apply(giving("new"))
    lost.unlink()
    with pytest.raises(PolicyError, match="is to be handed cannot be read") as caught:
        await programs.applier().apply(giving("new"))
    assert caught.value.code == "policy.disk"
    programs.log.write_text("")
    await programs.applier().apply(giving("new"))
    assert programs.noted() == ["one:check", "one:apply"]


# After the commit.


async def test_what_cannot_be_removed_after_the_commit_fails_nothing_and_is_tried_again(
    machine, monkeypatch, caplog
):
    (machine.root / "a").write_text("the machine's own")
    applier = machine.applier()
    await applier.apply([make_policy((machine.root / "a", "1"))])
    former = machine.state / "apply/former"
    assert len(list(former.iterdir())) == 1

    def fail(_self, _placed):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(PlacedRecord, "prune", fail)
        await applier.apply([])
    assert machine.tree() == {"a": (b"the machine's own", 0o644)}
    assert "not removed yet" in caplog.text
    assert len(list(former.iterdir())) == 1
    await applier.apply([])
    assert list(former.iterdir()) == []


async def test_kept_files_that_cannot_be_removed_after_the_commit_go_with_the_next_apply(machine, caplog):
    applier = machine.applier()
    await applier.apply([make_policy((machine.root / "a", "1"))])

    def fail(step):
        if step == "finished:0":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    wanted = [make_policy((machine.root / "a", "2"), (machine.root / "b", "2"))]
    with caplog.at_level(logging.WARNING):
        await machine.applier(failpoint=fail).apply(wanted)
    assert "not removed yet" in caplog.text
    assert (machine.state / "apply/journal.json").exists()
    await applier.apply(wanted)
    assert machine.tree() == {"a": (b"2", 0o644), "b": (b"2", 0o644)}
    assert not (machine.state / "apply/journal.json").exists()
