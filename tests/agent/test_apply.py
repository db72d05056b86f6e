"""Policies of type ``files`` on a real directory: all of it or none of it."""

import asyncio
import os
from pathlib import Path

import pytest

from popham.errors import PolicyError

from .conftest import find_drift, make_policy


async def refused(machine, *policies, code):
    """Apply, expect ``code``, and return the error."""
    with pytest.raises(PolicyError) as caught:
        await machine.applier().apply(policies)
    assert caught.value.code == code
    assert caught.value.hint
    return caught.value


async def test_f_y11_a_policy_is_applied_while_the_agent_goes_on_working(machine):
    machine.commands = {"slow": machine.noting("validated", "read line < " + str(machine.folder / "gate"))}
    os.mkfifo(machine.folder / "gate")
    applier = machine.applier()
    applying = asyncio.create_task(
        applier.apply([make_policy((machine.root / "motd", "hello\n"), validate="slow")])
    )
    while machine.noted() != ["validated"]:  # noqa: ASYNC110  # another process decides when
        await asyncio.sleep(0)
    assert not applying.done()
    assert not (machine.root / "motd").exists()
    with (machine.folder / "gate").open("w") as gate:
        gate.write("go\n")
    await applying
    assert (machine.root / "motd").read_text() == "hello\n"


async def test_files_come_with_content_and_mode_and_missing_parents(machine):
    private = {"path": str(machine.root / "a/b/key"), "content": "k", "mode": "0600"}
    await machine.applier().apply([make_policy((machine.root / "motd", "héllo"), private)])
    assert machine.tree() == {"motd": ("héllo".encode(), 0o644), "a/b/key": (b"k", 0o600)}
    assert (machine.root / "a").stat().st_mode & 0o777 == 0o755


async def test_files_that_fit_are_not_written_again_and_run_no_command(machine):
    machine.commands = {"check": machine.noting("check"), "reload": machine.noting("reload")}
    wanted = [
        make_policy((machine.root / "a", "1"), (machine.root / "b", "2"), validate="check", reload="reload")
    ]
    await machine.applier().apply(wanted)
    before = [(machine.root / name).stat().st_ino for name in "ab"]
    await machine.applier().apply(wanted)
    assert [(machine.root / name).stat().st_ino for name in "ab"] == before
    assert machine.noted() == ["check", "reload"]


async def test_only_the_file_that_changed_is_written(machine):
    applier = machine.applier()
    await applier.apply([make_policy((machine.root / "a", "1"), (machine.root / "b", "2"))])
    before = (machine.root / "a").stat().st_ino
    await applier.apply([make_policy((machine.root / "a", "1"), (machine.root / "b", "3"))])
    assert (machine.root / "a").stat().st_ino == before
    assert (machine.root / "b").read_text() == "3"


async def test_a_changed_mode_or_content_is_put_back(machine):
    applier, wanted = machine.applier(), [make_policy((machine.root / "a", "1"), (machine.root / "b", "2"))]
    await applier.apply(wanted)
    (machine.root / "a").write_text("edited")
    (machine.root / "b").chmod(0o600)
    assert await find_drift(applier) == [str(machine.root / "a"), str(machine.root / "b")]
    await applier.apply(wanted)
    assert await find_drift(applier) == []
    assert machine.tree() == {"a": (b"1", 0o644), "b": (b"2", 0o644)}


async def test_a_policy_whose_validate_fails_leaves_the_last_good_files(machine):
    machine.commands = {"check": ("/bin/grep", "-q", "good", "{path}")}
    applier = machine.applier()
    await applier.apply([make_policy((machine.root / "a", "good"), validate="check")])
    before = machine.tree()
    error = await refused(
        machine,
        make_policy((machine.root / "a", "bad"), (machine.root / "new/b", "good"), validate="check"),
        code="policy.validate",
    )
    assert "exit status 1" in error.problem
    assert machine.tree() == before
    assert not (machine.root / "new").exists()


async def test_what_a_failed_validate_wrote_is_shown_escaped_and_cut_off(machine):
    machine.commands = {
        "check": ("/bin/sh", "-c", "printf '\\033[31mno '; head -c 100000 /dev/zero | tr '\\0' x; exit 3")
    }
    error = await refused(
        machine, make_policy((machine.root / "a", "1"), validate="check"), code="policy.validate"
    )
    assert "exit status 3" in error.problem
    assert "\\x1b[31mno xxx" in error.problem
    assert len(error.problem) < 600


async def test_validate_sees_all_files_of_the_policy_by_their_own_names(machine):
    machine.commands = {
        "check": ("/bin/sh", "-c", f"cd {{dir}} && cat main.conf sites/one.conf > {machine.log}")
    }
    applier = machine.applier()
    await applier.apply(
        [make_policy((machine.root / "main.conf", "A"), (machine.root / "sites/one.conf", "B"))]
    )
    changed = make_policy(
        (machine.root / "main.conf", "A"), (machine.root / "sites/one.conf", "C"), validate="check"
    )
    await applier.apply([changed])
    assert machine.log.read_text() == "AC"


async def test_commands_get_a_clean_environment_and_no_input(machine, monkeypatch):
    monkeypatch.setenv("POPHAM_SECRET", "canary")
    machine.commands = {"check": ("/bin/sh", "-c", f"env > {machine.log}; cat >> {machine.log}")}
    await machine.applier().apply([make_policy((machine.root / "a", "1"), validate="check")])
    assert "canary" not in machine.log.read_text()
    assert "PATH=" in machine.log.read_text()


async def test_a_failed_reload_brings_the_former_files_back_and_reloads_again(machine):
    machine.commands = {"reload": machine.noting("reload", f"grep -q good {machine.root}/a")}
    applier = machine.applier()
    await applier.apply([make_policy((machine.root / "a", "good"), reload="reload")])
    before = machine.tree()
    await refused(
        machine,
        make_policy((machine.root / "a", "bad"), (machine.root / "b", "new"), reload="reload"),
        code="policy.reload",
    )
    assert machine.tree() == before
    assert machine.noted() == ["reload"] * 3


async def test_a_command_that_takes_too_long_is_ended_with_its_children(machine):
    machine.command_timeout = 0.2
    pids = machine.folder / "pids"
    machine.commands = {"check": ("/bin/sh", "-c", f"sleep 60 & echo $! > {pids}; wait")}
    error = await refused(
        machine, make_policy((machine.root / "a", "1"), validate="check"), code="policy.validate"
    )
    assert "after 0.2 s" in error.problem
    child = int(pids.read_text())
    while is_running(child):  # noqa: ASYNC110  # the kernel decides when
        await asyncio.sleep(0)
    assert machine.tree() == {}


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except FileNotFoundError:
        return False


async def test_a_reload_that_leaves_a_daemon_behind_does_not_hold_up_the_apply(machine):
    machine.commands = {"reload": ("/bin/sh", "-c", f"sleep 60 & echo $! > {machine.log}")}
    machine.command_timeout = 30.0
    await machine.applier().apply([make_policy((machine.root / "a", "1"), reload="reload")])
    os.kill(int(machine.log.read_text()), 9)
    assert machine.tree() == {"a": (b"1", 0o644)}


async def test_one_bad_file_of_many_policies_places_none(machine):
    good, bad = machine.root / "good", machine.folder / "outside"
    await refused(
        machine, make_policy((good, "1")), make_policy((bad, "2"), name="other"), code="policy.root"
    )
    assert machine.tree() == {}
    assert not bad.exists()


async def test_two_policies_that_want_one_file_are_refused(machine):
    first, second = (make_policy((machine.root / "a", text), name=text) for text in ("x", "y"))
    await refused(machine, first, second, code="policy.twice")


async def test_two_applies_at_once_end_with_one_whole_set(machine):
    applier = machine.applier()
    sets = [[make_policy(*((machine.root / name, text) for name in "abc"))] for text in ("1", "2", "3")]
    await asyncio.gather(*(applier.apply(one) for one in sets))
    assert len({content for content, _ in machine.tree().values()}) == 1
    assert len(machine.tree()) == 3


async def test_a_type_without_an_applier_is_skipped(machine):
    policy = make_policy((machine.root / "a", "1"))
    ref = policy.ref.__class__(type="otelcol", name="o", revision=1, sha256=policy.ref.sha256, length=1)
    await machine.applier().apply([policy.__class__(ref, {"config": {}})])
    assert machine.applier().supported == {"files", "collect", "custom"}
    assert machine.tree() == {}


async def test_f_y4_a_withdrawn_policy_takes_its_files_with_it_and_reloads(machine):
    machine.commands = {"reload": machine.noting("reload")}
    applier = machine.applier()
    await applier.apply([make_policy((machine.root / "a", "1"), (machine.root / "b", "2"), reload="reload")])
    await applier.apply([make_policy((machine.root / "b", "2"), reload="reload")])
    assert machine.tree() == {"b": (b"2", 0o644)}
    await machine.applier().apply([])
    assert machine.tree() == {}
    assert machine.noted() == ["reload"] * 3


async def test_a_withdrawn_policy_gives_back_what_it_had_replaced(machine):
    original = machine.root / "a"
    original.write_text("the machine's own")
    original.chmod(0o640)
    applier = machine.applier()
    await applier.apply([make_policy((original, "1"))])
    await applier.apply([make_policy((original, "2"))])
    await machine.applier().apply([])
    assert machine.tree() == {"a": (b"the machine's own", 0o640)}
    assert list((machine.state / "apply/former").iterdir()) == []


async def test_a_withdrawn_policy_gives_back_the_mode_and_owner_of_what_it_had_replaced_by_its_like(machine):
    file = machine.root / "a"
    file.write_text("same")
    file.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(file, 1, 1)
    before = file.stat()
    await machine.applier().apply([make_policy((file, "same"))])
    assert machine.tree() == {"a": (b"same", 0o644)}
    await machine.applier().apply([])
    assert machine.tree() == {"a": (b"same", 0o600)}
    assert (file.stat().st_uid, file.stat().st_gid) == (before.st_uid, before.st_gid)
    assert machine.applier().left() == ()


async def test_a_withdrawn_file_that_somebody_changed_since_is_left_alone(machine):
    await machine.applier().apply([make_policy((machine.root / "a", "1"))])
    (machine.root / "a").write_text("mine now")
    await machine.applier().apply([])
    assert machine.tree() == {"a": (b"mine now", 0o644)}


async def test_a_withdrawn_file_outside_the_roots_of_today_is_left_alone(machine):
    await machine.applier().apply([make_policy((machine.root / "a", "1"))])
    (machine.folder / "other").mkdir()
    machine.roots = (str(machine.folder / "other"),)
    await machine.applier().apply([])
    assert machine.tree() == {"a": (b"1", 0o644)}


async def test_no_file_of_the_applier_stays_beside_the_targets(machine):
    await machine.applier().apply([make_policy((machine.root / "a", "1"))])
    await machine.applier().apply([make_policy((machine.root / "a", "2"))])
    assert [path.name for path in machine.root.iterdir()] == ["a"]
    assert [path.name for path in (machine.state / "apply").iterdir()] == ["placed.json"]


async def test_sec_46_what_the_applier_keeps_is_for_its_owner_only(machine):
    (machine.root / "a").write_text("former")
    await machine.applier().apply([make_policy((machine.root / "a", "1"))])
    kept = [machine.state / "apply", *(machine.state / "apply").rglob("*")]
    assert len(kept) == 4
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
async def test_owner_and_group_are_set_and_part_of_what_must_fit(machine):
    applier = machine.applier()
    wanted = [
        make_policy({"path": str(machine.root / "a"), "content": "1", "owner": "daemon", "group": "daemon"})
    ]
    await applier.apply(wanted)
    assert (machine.root / "a").owner() == (machine.root / "a").group() == "daemon"
    os.chown(machine.root / "a", 0, 0)
    assert await find_drift(applier) == [str(machine.root / "a")]
    await applier.apply(wanted)
    assert (machine.root / "a").owner() == "daemon"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may give files away")
async def test_an_agent_without_rights_is_told_that_it_may_not_give_files_away(machine):
    wanted = make_policy({"path": str(machine.root / "a"), "content": "1", "owner": "root"})
    await refused(machine, wanted, code="policy.account")
    assert machine.tree() == {}
