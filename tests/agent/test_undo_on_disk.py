"""Files on a real disk: whatever ends the process, they are those of the proven set or of the new one (REL-11)."""

import asyncio
import contextlib

import pytest

from popham.agent.apply import at_once
from popham.errors import PolicyError
from popham.model.bundle import BUNDLE_TYPE, PolicyRef
from popham.model.policy import Policy, check_policy
from popham.model.status import Outcome
from popham.trust.dsse import seal

from .conftest import Machine
from .watched import Killed, Watched

NAMES = ("a", "deep/b")


class OnDisk(Watched):
    """A watched machine whose policies are files; every step of the applier may be the last one."""

    def __init__(self, keys, folder):
        self.machine = Machine(folder)
        super().__init__(keys)

    def boot(self):
        super().boot()
        spend = self.storage.spend
        self.applier = self.enforcer._applier = self.machine.applier(
            failpoint=lambda _step: spend(), offload=at_once
        )

    def ref(self, name):
        files = [{"path": str(self.machine.root / file), "content": f"{name} {file}"} for file in NAMES]
        policy = Policy(name=name, type="files", body=check_policy("files", {"files": files}), revision=1)
        encoded = policy.encoded()
        self.bodies[policy.sha256] = encoded
        return PolicyRef(type="files", name=name, revision=1, sha256=policy.sha256, length=len(encoded))

    async def fetch(self, sha256, limit):
        del limit
        return self.bodies[sha256]

    async def order(self, name):
        bundle = self.bundle(default=name)
        self.enforcer.take(seal(BUNDLE_TYPE, bundle.payload(), self.keys.director), {})
        await self.settle()

    async def again(self):
        self.storage.left = None
        self.boot()
        await self.enforcer.begin_process()
        await self.applier.recover()

    async def undo(self):
        trials = self.enforcer.trials
        if trials.trial is not None:
            await self.enforcer.undo(trials.number, PolicyError("undone_check", "it broke the shop"))

    @property
    def whole(self):
        """Name of the set whose files are all there and as they should be; None if it is a mixture."""
        texts = {name: content.decode() for name, (content, _) in self.machine.tree().items()}
        names = {text.partition(" ")[0] for text in texts.values()}
        if not texts:
            return ""
        good = len(names) == 1 and texts == {
            file: f"{text.split()[0]} {file}" for file, text in texts.items()
        }
        return names.pop() if good and len(texts) == len(NAMES) else None


async def prepared(keys, folder, proven):
    folder.mkdir()
    disk = OnDisk(keys, folder)
    if proven:
        await disk.order(proven)
        disk.enforcer.trials.passed()
    return disk


@pytest.mark.parametrize("proven", ["", "one"])
def test_rel_11_power_that_fails_at_any_step_leaves_the_proven_set_or_the_new_one(keys, tmp_path, proven):
    async def counted():
        disk = await prepared(keys, tmp_path / "whole", proven)
        disk.storage.left = 10_000
        await disk.order("two")
        assert disk.whole == "two"
        await disk.undo()
        assert disk.whole == proven
        return 10_000 - disk.storage.left

    async def story(step):
        disk = await prepared(keys, tmp_path / str(step), proven)
        disk.storage.left = step
        with contextlib.suppress(Killed):
            await disk.order("two")
            await disk.undo()
        await disk.again()
        assert disk.whole in {proven, "two"}
        undone = disk.enforcer.trials.all_undone
        if undone:
            assert disk.whole == proven, "an undo that began comes to its end"
        else:
            await disk.settle()
            await disk.undo()
        if disk.enforcer.newest is None or disk.enforcer.newest.bundle.serial < disk.serial:
            await disk.order("two")
            await disk.undo()
        assert disk.whole == proven
        progress = disk.enforcer.progress
        assert (progress.outcome, progress.error_code) == (Outcome.FAILED, "policy.undone_check")
        await disk.settle()
        assert disk.whole == proven
        await disk.order("three")
        assert disk.whole == "three"

    async def all_stories():
        steps = await counted()
        assert steps > 20
        for step in range(steps):
            await story(step)

    asyncio.run(all_stories())
