"""A state directory that takes nothing more: the agent goes on, and what breaks the machine is undone (REL-11)."""

import contextlib
import errno
import os

import pytest

from popham.agent.state import AgentState
from popham.agent.storage import RESERVE, RESERVED
from popham.errors import StateError
from popham.model.location import Whereabouts
from popham.model.status import Outcome
from popham.statedir import StateDir
from popham.testing.virtual import pass_time

from .orders import OFFICE, rules_of
from .watched import WINDOW, FragileStorage, Watched

APPLIED = (Outcome.APPLIED, "")
CHECKED = (Outcome.FAILED, "policy.undone_check")


def no_space(*_args, **_rest):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class SmallDisk(FragileStorage):
    """A disk of so many bytes; a file is replaced by one beside it.

    Attributes:
        size: Bytes; None for endless.
        refused: Names of files that cannot be written.
    """

    size = None
    refused = frozenset()

    @property
    def used(self):
        return sum(len(data) for data in self.files.values())

    def write(self, name, data, mode=0o600):
        if name in self.refused or (self.size is not None and self.used + len(data) > self.size):
            no_space()
        super().write(name, data, mode)


@pytest.fixture
def watched(keys):
    machine = Watched(keys)
    disk = SmallDisk(machine.storage.files)
    machine.storage = disk
    machine.boot()
    machine.enforcer._state.room.make_room(first=True)
    return machine


@contextlib.contextmanager
def refusing_after_apply(watched, *names):
    """Have the disk refuse files of these names from when a set was applied."""
    apply = watched.applier.apply

    async def applied(policies):
        await apply(policies)
        watched.storage.refused = frozenset(names)

    watched.applier.apply = applied
    yield
    watched.applier.apply = apply


async def on_trial(watched):
    watched.checks["two"] = "look"
    await watched.give("one")
    await pass_time(WINDOW + 1)
    await watched.give("two")


def test_rel_11_a_set_is_undone_on_a_full_disk_with_the_room_that_was_kept(watched):
    async def story():
        await on_trial(watched)
        assert len(watched.storage.files[RESERVE]) == RESERVED
        watched.storage.size = watched.storage.used
        watched.failing["look"] = "broken"
        await pass_time(40)
        assert (watched.applier.names, watched.said) == (("one",), CHECKED)
        assert RESERVE not in watched.storage.files
        assert watched.state.progress().outcome is Outcome.FAILED, "and that is durable"
        watched.storage.size = None
        await watched.give("three")
        assert len(watched.storage.files[RESERVE]) == RESERVED, "room is kept again"

    watched.tell_story(story)


def test_rel_11_crashes_are_counted_on_a_full_disk(watched):
    async def story():
        await on_trial(watched)
        watched.storage.size = watched.storage.used
        for _ in range(3):
            await watched.end()
            watched.boot()
            watched.enforcer._state.room.make_room(first=True)
            await watched.enforcer.begin_process()
            watched.start()
        assert (watched.applier.names, watched.said) == (("one",), (Outcome.FAILED, "policy.undone_crashes"))

    watched.tell_story(story)


@pytest.mark.parametrize("undoing", [False, True])
def test_an_agent_begins_and_ends_where_nothing_can_be_written(watched, undoing):
    async def story():
        await on_trial(watched)
        if undoing:
            watched.applier.broken, watched.failing["look"] = frozenset({"one"}), "broken"
            await pass_time(40)
            watched.applier.broken = frozenset()
        write, watched.storage.write = watched.storage.write, no_space
        remove, watched.storage.remove = watched.storage.remove, no_space
        for _ in range(4):
            await watched.restart(clean=True)
        for _ in range(4):
            await watched.restart()
        await watched.round()
        watched.enforcer.revise()
        watched.storage.write, watched.storage.remove = write, remove
        await pass_time(40)
        await watched.round()
        assert watched.applier.names == (("one",) if undoing else ("two",))
        assert watched.state.progress() == watched.enforcer.progress or not undoing

    watched.tell_story(story)


def test_a_machine_that_moves_while_nothing_can_be_written_gets_what_holds_there(watched):
    async def story():
        rules = rules_of(office=OFFICE)
        await watched.take(watched.bundle(rules, default="one", office="eins"))
        await pass_time(WINDOW + 1)
        write, watched.storage.write = watched.storage.write, no_space
        assert watched.enforcer.move(Whereabouts("office", ("an address",)), rules)
        await watched.settle()
        assert watched.applier.names == ("one",), "what cannot be undone is not applied"
        assert watched.said == (Outcome.FAILED, "state.disk")
        watched.storage.write = write
        await watched.round()
        assert (watched.applier.names, watched.said) == (("eins",), APPLIED)
        assert watched.state.progress() == watched.enforcer.progress
        assert watched.enforcer.trials.trial is not None

    watched.tell_story(story)


def test_content_that_cannot_be_kept_is_an_error_of_this_round_alone(watched):
    async def story():
        await watched.give("one")
        watched.storage.size = watched.storage.used
        with pytest.raises(StateError, match="cannot be written") as caught:
            await watched.give("two")
        assert caught.value.code == "state.disk"
        watched.storage.size = None
        await watched.give("two")
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)

    watched.tell_story(story)


def test_a_set_whose_trial_cannot_be_kept_is_tried_at_the_next_contact(watched):
    async def story():
        await watched.give("one")
        watched.storage.refused = frozenset({"probation.json"})
        await watched.give("two")
        assert (watched.applier.names, watched.said) == (("one",), (Outcome.FAILED, "state.disk"))
        watched.storage.refused = frozenset()
        await watched.round()
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)
        watched.dead = True
        await watched.round()
        await pass_time(40)
        assert watched.applier.names == ("one",)

    watched.tell_story(story)


def test_a_set_that_comes_into_force_unnoted_is_watched_nevertheless(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        with refusing_after_apply(watched, "last-good.json", "progress.json"), pytest.raises(StateError):
            await watched.give("cut")
        assert watched.applier.names == ("cut",)
        await watched.round()
        await pass_time(30)
        watched.storage.refused = frozenset()
        await pass_time(30)
        assert watched.applier.names == ("one",)

    watched.tell_story(story)


def test_rel_11_a_set_that_is_not_noted_is_not_proven_by_the_end_of_an_older_window(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        with refusing_after_apply(watched, "last-good.json"), pytest.raises(StateError):
            await watched.give("two")
        watched.health.lost()
        await pass_time(30)
        assert watched.enforcer.trials.trial is not None

    watched.tell_story(story)


def test_rel_11_an_undo_that_cannot_be_noted_is_not_forgotten(watched):
    async def story():
        await on_trial(watched)
        watched.failing["look"] = "broken"
        watched.storage.refused = frozenset({"progress.json"})
        await pass_time(40)
        assert watched.applier.names == ("one",)
        assert watched.state.probation().trial.undoing
        watched.storage.refused = frozenset()
        await watched.restart()
        assert (watched.applier.names, watched.said) == (("one",), CHECKED)
        assert watched.state.probation().trial is None

    watched.tell_story(story)


def test_what_could_not_be_kept_is_kept_at_the_next_contact(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        with refusing_after_apply(watched, "probation.json", "progress.json"):
            await watched.give("two")
        assert watched.said == APPLIED
        assert watched.state.progress() != watched.enforcer.progress
        watched.storage.refused = frozenset()
        await watched.round()
        assert watched.state.progress() == watched.enforcer.progress
        assert watched.state.probation() == watched.enforcer.trials._held

    watched.tell_story(story)


def test_room_is_kept_in_a_state_directory(tmp_path):
    with StateDir.open(tmp_path / "state", "agent", create=True) as folder:
        state = AgentState(folder)
        state.room.make_room(first=True)
        assert folder.path(RESERVE).stat().st_size == RESERVED
        assert folder.path(RESERVE).stat().st_blocks * 512 >= RESERVED
        calls = []

        def write():
            calls.append(folder.path(RESERVE).exists())
            if len(calls) == 1:
                no_space()
            return "done"

        assert state.room.with_room(write) == "done"
        assert calls == [True, False]
        state.room.make_room()
        assert folder.path(RESERVE).exists()
