"""Directories, and what leaves a policy: placed, taken back, and whole after a crash at any step (REL-26)."""

import json
import os

import pytest

from popham.errors import PolicyError

from .conftest import Machine, find_drift, make_policy


def folder(machine, name, mode="0755", **rest):
    return {"path": str(machine.root / name), "directory": True, "mode": mode, **rest}


async def refused(machine, *policies, code):
    with pytest.raises(PolicyError) as caught:
        await machine.applier().apply(policies)
    assert caught.value.code == code
    return caught.value


async def test_a_directory_comes_with_its_mode_and_may_stay_empty(machine):
    wanted = [
        make_policy(folder(machine, "conf/d", "0750"), (machine.root / "conf/d/a", "1"), folder(machine, "e"))
    ]
    applier = machine.applier()
    await applier.apply(wanted)
    assert machine.folders() == {"conf": 0o755, "conf/d": 0o750, "e": 0o755}
    assert await find_drift(applier) == []


async def test_a_changed_or_missing_directory_is_seen_and_put_back(machine):
    wanted = [make_policy(folder(machine, "a", "0700"), folder(machine, "b"))]
    applier = machine.applier()
    await applier.apply(wanted)
    (machine.root / "a").chmod(0o777)
    (machine.root / "b").rmdir()
    assert await find_drift(applier) == [str(machine.root / "a"), str(machine.root / "b")]
    await applier.apply(wanted)
    assert machine.folders() == {"a": 0o700, "b": 0o755}


async def test_f_y4_a_withdrawn_policy_takes_the_directories_it_made_with_it(machine):
    (machine.root / "own").mkdir()
    wanted = make_policy(folder(machine, "own/made"), (machine.root / "own/deep/er/a", "1"))
    await machine.applier().apply([wanted])
    assert machine.folders() == {"own": 0o755, "own/made": 0o755, "own/deep": 0o755, "own/deep/er": 0o755}
    await machine.applier().apply([])
    assert machine.folders() == {"own": 0o755}
    assert machine.applier().left() == ()


async def test_a_directory_that_was_left_is_left_no_more_once_a_policy_wants_it(machine):
    wanted = [make_policy(folder(machine, "a", "0700"))]
    await machine.applier().apply(wanted)
    (machine.root / "a").chmod(0o777)
    await machine.applier().apply([])
    assert machine.applier().left() == (str(machine.root / "a"),)
    await machine.applier().apply(wanted)
    assert machine.applier().left() == ()


async def test_a_directory_that_was_there_gets_back_its_mode(machine):
    (machine.root / "own").mkdir(mode=0o711)
    (machine.root / "own").chmod(0o711)
    await machine.applier().apply([make_policy(folder(machine, "own", "0750"))])
    assert machine.folders() == {"own": 0o750}
    await machine.applier().apply([make_policy((machine.root / "own/a", "1"))])
    assert machine.folders() == {"own": 0o711}


async def test_a_directory_with_other_things_in_it_stays(machine):
    await machine.applier().apply([make_policy((machine.root / "d/a", "1"))])
    (machine.root / "d/mine").write_text("mine")
    await machine.applier().apply([])
    assert machine.tree() == {"d/mine": (b"mine", 0o644)}


async def test_a_directory_is_kept_while_another_policy_needs_it(machine):
    one = make_policy((machine.root / "d/a", "1"), name="one")
    two = make_policy((machine.root / "d/b", "2"), name="two")
    await machine.applier().apply([one, two])
    await machine.applier().apply([two])
    assert machine.tree() == {"d/b": (b"2", 0o644)}
    await machine.applier().apply([])
    assert machine.folders() == {}


async def test_what_was_changed_by_hand_is_left_and_told(machine):
    wanted = make_policy((machine.root / "text", "1"), (machine.root / "mode", "2"), folder(machine, "d"))
    await machine.applier().apply([wanted])
    (machine.root / "text").write_text("mine")
    (machine.root / "mode").chmod(0o600)
    (machine.root / "d").chmod(0o700)
    await machine.applier().apply([])
    assert set(machine.tree()) == {"text", "mode"}
    assert machine.folders() == {"d": 0o700}
    assert sorted(machine.applier().left()) == [str(machine.root / name) for name in ("d", "mode", "text")]


async def test_what_was_left_is_no_longer_told_once_it_is_gone_or_wanted_again(machine):
    wanted = make_policy((machine.root / "a", "1"), (machine.root / "b", "1"))
    await machine.applier().apply([wanted])
    (machine.root / "a").write_text("mine")
    (machine.root / "b").write_text("mine")
    await machine.applier().apply([])
    assert len(machine.applier().left()) == 2
    (machine.root / "b").unlink()
    await machine.applier().apply([wanted])
    assert machine.applier().left() == ()


async def test_a_file_where_a_directory_is_wanted_is_refused_and_the_reverse(machine):
    (machine.root / "file").write_text("")
    (machine.root / "dir").mkdir()
    (machine.root / "link").symlink_to("dir")
    await refused(machine, make_policy(folder(machine, "file")), code="policy.kind")
    await refused(machine, make_policy((machine.root / "dir", "x")), code="policy.kind")
    await refused(machine, make_policy(folder(machine, "link")), code="policy.symlink")


async def test_the_roots_themselves_and_what_lies_outside_are_out_of_reach(machine):
    await refused(machine, make_policy({"path": str(machine.root), "directory": True}), code="policy.root")
    outside = {"path": str(machine.folder / "outside"), "directory": True}
    await refused(machine, make_policy(outside), code="policy.root")


@pytest.mark.parametrize("name", ["", "bin", "etc", "state", "state/apply"])
async def test_sec_6_a_directory_that_holds_what_decides_over_the_agent_is_out_of_reach(tmp_path, name):
    (tmp_path / "top").mkdir()
    machine = Machine((tmp_path / "top").resolve())
    machine.roots = (str(tmp_path.resolve()),)
    (machine.folder / "bin").mkdir()
    (machine.folder / "bin/check").write_text("#!/bin/sh\n")
    (machine.folder / "bin/check").chmod(0o755)
    machine.commands = {"check": (str(machine.folder / "bin/check"),)}
    machine.source = machine.folder / "etc/agent.toml"
    wanted = {"path": str(machine.folder / name), "directory": True, "mode": "0777"}
    await refused(machine, make_policy(wanted), code="policy.protected")


async def test_a_directory_may_hand_on_its_group_but_not_its_owners_rights(machine):
    await machine.applier().apply([make_policy(folder(machine, "d", "2775"))])
    assert machine.folders() == {"d": 0o2775}
    await refused(machine, make_policy(folder(machine, "e", "4755")), code="policy.mode")


async def test_two_policies_do_not_share_a_directory(machine):
    one, two = (make_policy(folder(machine, "d"), name=name) for name in ("one", "two"))
    await refused(machine, one, two, code="policy.twice")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give directories away")
async def test_a_directory_is_given_to_its_owner_and_back(machine):
    (machine.root / "own").mkdir()
    await machine.applier().apply([make_policy(folder(machine, "own", owner="daemon", group="daemon"))])
    assert (machine.root / "own").owner() == (machine.root / "own").group() == "daemon"
    await machine.applier().apply([])
    assert (machine.root / "own").owner() == "root"


async def test_a_record_of_an_older_version_is_understood(machine):
    await machine.applier().apply([make_policy((machine.root / "a", "1"), (machine.root / "b", "1"))])
    kept = machine.state / "apply/placed.json"
    record = json.loads(kept.read_text())
    new = {"mode", "uid", "gid"}
    files = {
        path: {key: value for key, value in file.items() if key not in new}
        for path, file in record["files"].items()
    }
    kept.write_text(json.dumps({"change": record["change"], "files": files}))
    (machine.root / "b").write_text("mine")
    await machine.applier().apply([])
    assert machine.tree() == {"b": (b"mine", 0o644)}


async def test_sec_6_directories_that_this_machine_no_longer_permits_are_left_and_told(machine):
    (machine.root / "was").mkdir(mode=0o711)
    wanted = [make_policy(folder(machine, "was", "0750"), (machine.root / "made/a", "1"))]
    await machine.applier().apply(wanted)
    (machine.root / "made/a").unlink()
    other = machine.folder / "other"
    other.mkdir()
    machine.roots = (str(other),)
    await machine.applier().apply([make_policy((other / "b", "2"))])
    assert machine.folders() == {"was": 0o750, "made": 0o755}
    assert (other / "b").read_text() == "2"
    assert sorted(machine.applier().left()) == [str(machine.root / name) for name in ("made", "was")]


async def test_sec_6_a_directory_that_is_reached_by_a_link_by_now_is_left(machine):
    (machine.root / "d/own").mkdir(parents=True)
    await machine.applier().apply([make_policy(folder(machine, "d/own", "0700"))])
    (machine.root / "d").rename(machine.folder / "moved")
    (machine.root / "d").symlink_to(machine.folder / "moved")
    await machine.applier().apply([])
    assert (machine.folder / "moved/own").stat().st_mode & 0o7777 == 0o700
    assert machine.applier().left() == (str(machine.root / "d/own"),)


async def test_a_parent_that_is_made_again_is_known_by_the_mode_it_has_then(machine):
    await machine.applier().apply([make_policy(folder(machine, "d", "0750"), (machine.root / "d/a", "1"))])
    (machine.root / "d/a").unlink()
    (machine.root / "d").rmdir()
    await machine.applier().apply([make_policy((machine.root / "d/a", "1"))])
    assert machine.folders() == {"d": 0o755}
    await machine.applier().apply([])
    assert machine.folders() == {}
    assert machine.applier().left() == ()


# A crash at any step.


class Crashed(BaseException):
    """Stands for the end of the process: nothing of ours handles it."""


def old_set(machine):
    return [
        make_policy(
            folder(machine, "kept", "0700"),
            folder(machine, "gone", "0750"),
            folder(machine, "own", "0750"),
            (machine.root / "kept/a", "old"),
            (machine.root / "gone/deep/b", "old"),
        ),
        make_policy((machine.root / "c", "old"), name="other"),
    ]


def new_set(machine):
    return [
        make_policy(
            folder(machine, "kept", "0755"),
            folder(machine, "new/er", "0711"),
            (machine.root / "kept/a", "new"),
            (machine.root / "new/er/d", "new"),
        )
    ]


def state(machine):
    return machine.folders(), machine.tree()


async def prepared(path):
    path.mkdir()
    machine = Machine(path)
    (machine.root / "own").mkdir(mode=0o755)
    (machine.root / "c").write_text("the machine's own")
    await machine.applier().apply(old_set(machine))
    return machine


OLD = (
    {"gone": 0o750, "gone/deep": 0o755, "kept": 0o700, "own": 0o750},
    {"c": (b"old", 0o644), "gone/deep/b": (b"old", 0o644), "kept/a": (b"old", 0o644)},
)
NEW = (
    {"kept": 0o755, "new": 0o755, "new/er": 0o711, "own": 0o755},
    {"c": (b"the machine's own", 0o644), "kept/a": (b"new", 0o644), "new/er/d": (b"new", 0o644)},
)


async def test_rel_26_removals_and_directories_are_old_or_new_after_a_crash_at_any_step(tmp_path):
    steps = []
    machine = await prepared(tmp_path / "steps")
    assert state(machine) == OLD
    await machine.applier(failpoint=steps.append).apply(new_set(machine))
    assert state(machine) == NEW
    assert {"adjusted:0", "adjusted:1", "gone:0", "gone:1"} < set(steps)
    committed = False
    for number, step in enumerate(steps):
        machine = await prepared(tmp_path / str(number))

        def fail(here, at=step):
            if here == at:
                raise Crashed

        with pytest.raises(Crashed):
            await machine.applier(failpoint=fail).apply(new_set(machine))
        assert await machine.applier().recover()
        committed = committed or step == "committed"
        assert state(machine) == (NEW if committed else OLD), step
        assert not await machine.applier().recover()
        await machine.applier().apply(new_set(machine))
        assert state(machine) == NEW, step
        await machine.applier().apply([])
        assert state(machine) == ({"own": 0o755}, {"c": (b"the machine's own", 0o644)}), step


async def test_a_failure_at_any_step_brings_modes_and_directories_back(tmp_path):
    machine = await prepared(tmp_path / "steps")
    steps = []
    await machine.applier(failpoint=steps.append).apply(new_set(machine))
    for number, step in enumerate(steps[: steps.index("committed")]):
        machine = await prepared(tmp_path / str(number))

        def fail(here, at=step):
            if here == at:
                raise OSError(28, "No space left on device")

        with pytest.raises(PolicyError):
            await machine.applier(failpoint=fail).apply(new_set(machine))
        assert state(machine) == OLD, step
        assert not await machine.applier().recover()
