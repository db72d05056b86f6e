"""A process that ends in the middle leaves a whole set: the old one or the new one (REL-26)."""

import asyncio
import errno
import os
import signal
import sys

import pytest

from popham.errors import PolicyError, StateError

from .conftest import Machine, make_policy

NAMES = ("a", "b", "deep/c", "gone")
OLD = {name: f"old {name}" for name in NAMES if name != "deep/c"}
NEW = {name: f"new {name}" for name in NAMES if name != "gone"}


class Crashed(BaseException):
    """Stands for the end of the process: nothing of ours handles it."""


def wanted(machine, texts, **rest):
    return make_policy(*((machine.root / name, text) for name, text in texts.items()), **rest)


def texts(machine):
    return {name: content.decode() for name, (content, _) in machine.tree().items()}


async def prepared(folder):
    """Return a machine with the old set in force."""
    machine = Machine(folder)
    machine.commands = {"reload": machine.noting("reload")}
    await machine.applier().apply([wanted(machine, OLD, reload="reload")])
    assert texts(machine) == OLD
    return machine


async def steps_of(folder):
    """Return every step that the change from old to new goes through."""
    folder.mkdir()
    machine, steps = await prepared(folder), []
    await machine.applier(failpoint=steps.append).apply([wanted(machine, NEW, reload="reload")])
    return steps


async def interrupted(folder, step, failure):
    """Return a machine on which the change from old to new failed at ``step``."""
    folder.mkdir()
    machine = await prepared(folder)

    def fail(here):
        if here == step:
            raise failure

    return machine, machine.applier(failpoint=fail)


async def test_rel_26_a_crash_at_any_step_leaves_the_old_or_the_new_set(tmp_path):
    steps = await steps_of(tmp_path / "steps")
    assert [step for step in steps if ":" not in step] == ["journal", "placing", "reloaded", "committed"]
    assert len(steps) == 16
    for number, step in enumerate(steps):
        machine, applier = await interrupted(tmp_path / str(number), step, Crashed())
        with pytest.raises(Crashed):
            await applier.apply([wanted(machine, NEW, reload="reload")])
        assert await machine.applier().recover()
        committed = step == "committed" or step.startswith("finished")
        assert texts(machine) == (NEW if committed else OLD), step
        assert (machine.root / "deep").exists() is committed
        assert not await machine.applier().recover()
        await machine.applier().apply([wanted(machine, NEW, reload="reload")])
        assert texts(machine) == NEW


async def test_a_crash_during_the_recovery_is_recovered_too(tmp_path):
    for number in range(4):
        machine, applier = await interrupted(tmp_path / str(number), "reloaded", Crashed())
        with pytest.raises(Crashed):
            await applier.apply([wanted(machine, NEW, reload="reload")])

        def fail(step, at=f"undone:{number}"):
            if step == at:
                raise Crashed

        with pytest.raises(Crashed):
            await machine.applier(failpoint=fail).recover()
        assert await machine.applier().recover()
        assert texts(machine) == OLD


async def test_recovery_tells_programs_that_had_been_told_of_the_new_files(tmp_path):
    machine, applier = await interrupted(tmp_path / "x", "reloaded", Crashed())
    with pytest.raises(Crashed):
        await applier.apply([wanted(machine, NEW, reload="reload")])
    before = len(machine.noted())
    await machine.applier().recover()
    assert len(machine.noted()) == before + 1


async def test_a_full_disk_at_any_step_puts_the_former_files_back(tmp_path):
    steps = [step for step in await steps_of(tmp_path / "steps") if not step.startswith("finished")]
    for number, step in enumerate(steps[:-1]):
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        machine, applier = await interrupted(tmp_path / str(number), step, full)
        with pytest.raises(PolicyError) as caught:
            await applier.apply([wanted(machine, NEW, reload="reload")])
        assert caught.value.code == "policy.disk"
        assert texts(machine) == OLD, step
        assert not await machine.applier().recover()


async def test_former_files_that_cannot_be_put_back_now_are_put_back_at_the_next_start(tmp_path):
    machine = await prepared(tmp_path)

    def fail(step):
        if step in {"placed:1", "undone:0"}:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(PolicyError, match="cannot be written") as caught:
        await machine.applier(failpoint=fail).apply([wanted(machine, NEW, reload="reload")])
    assert "not back" in caught.value.hint
    assert await machine.applier().recover()
    assert texts(machine) == OLD


async def test_an_apply_after_a_crash_recovers_by_itself(tmp_path):
    machine, applier = await interrupted(tmp_path / "x", "placed:1", Crashed())
    with pytest.raises(Crashed):
        await applier.apply([wanted(machine, NEW, reload="reload")])
    await machine.applier().apply([wanted(machine, OLD, reload="reload")])
    assert texts(machine) == OLD


async def test_a_former_file_keeps_its_inode_and_owner_when_it_is_put_back(tmp_path):
    machine, applier = await interrupted(tmp_path / "x", "reloaded", OSError(errno.EIO, "broken"))
    before = (machine.root / "a").stat()
    with pytest.raises(PolicyError):
        await applier.apply([wanted(machine, NEW, reload="reload")])
    assert (machine.root / "a").stat().st_ino == before.st_ino


async def test_a_damaged_journal_is_named_with_what_to_do(machine):
    (machine.state / "apply").mkdir(parents=True)
    (machine.state / "apply/journal.json").write_text("{")
    with pytest.raises(StateError, match="journal") as caught:
        await machine.applier().recover()
    assert caught.value.code == "state.corrupt"
    assert ".popham-*" in caught.value.hint


async def test_a_damaged_record_is_named_with_what_to_do(machine):
    (machine.state / "apply").mkdir(parents=True)
    (machine.state / "apply/placed.json").write_text("{}x")
    with pytest.raises(StateError, match="placed"):
        await machine.applier().apply([])


SCRIPT = """
import asyncio, os, signal, sys
from pathlib import Path
from popham.agent.apply import Applied, Applier
from popham.agent.settings import AgentSettings, FilesSettings
from popham.model.bundle import PolicyRef

root, state, step = sys.argv[1:4]
settings = AgentSettings(state=state, files=FilesSettings(roots=(root,)))
files = [{"path": f"{root}/{name}", "content": f"new {name}"} for name in ("a", "b", "deep/c")]
ref = PolicyRef(type="files", name="web", revision=2, sha256="0" * 64, length=1)

def fail(here):
    if here == step:
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(Applier(settings, Path(state) / "apply", failpoint=fail).apply([Applied(ref, {"files": files})]))
"""


@pytest.mark.parametrize("step", ["staged:1", "placed:1", "committed"])
async def test_a_killed_process_leaves_a_whole_set_to_the_next_one(tmp_path, step):
    machine = await prepared(tmp_path.resolve())
    argv = [sys.executable, "-c", SCRIPT, str(machine.root), str(machine.state), step]
    process = await asyncio.create_subprocess_exec(*argv)
    assert await process.wait() == -signal.SIGKILL
    await machine.applier().recover()
    assert texts(machine) == (NEW if step == "committed" else OLD)
    assert not any(".popham-" in name for name in machine.tree())
