"""A disk that takes nothing more: what was ordered fails with the reason, and the agent goes on (F.O4, REL-11)."""

import errno
import os

import pytest

from popham.agent.operations.ledger import ENTRIES, NAME
from popham.agent.operations.outputs import FOLDER
from popham.model.operation import Kind

YEAR = 365 * 86_400.0
LOOK = {"name": "look"}
DONE = ("succeeded", "")


@pytest.fixture
def filling(ordered, monkeypatch):
    """Return a machine, and a set of beginnings of names of files that cannot be written while they are in it."""
    full = set()
    write = ordered.disk.write

    def refuse(name, data, mode=0o600):
        if any(name.startswith(one) for one in full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(name, data, mode)

    monkeypatch.setattr(ordered.disk, "write", refuse)
    return ordered, full


def test_f_o4_what_cannot_be_noted_on_a_full_disk_is_not_begun(filling):
    ordered, full = filling

    async def story():
        full.add(NAME)
        nonce, check_in = ordered.give(Kind.RUN, LOOK), ordered.give(Kind.CHECK_IN)
        await ordered.operations.rest(5)
        assert ordered.of(nonce) == ordered.of(check_in) == ("failed", "operation.disk")
        assert "No space left" in ordered.said[0].text
        assert ordered.done == []
        ordered.hear()
        assert ordered.said == []
        full.clear()
        replayed = ordered.order(Kind.RUN, LOOK, nonce=nonce)
        ordered.operations.take([ordered.seal(replayed)])
        await ordered.operations.rest(5)
        assert (ordered.of(nonce), ordered.done) == (("failed", "operation.disk"), [])
        again = ordered.give(Kind.RUN, LOOK)
        await ordered.operations.rest(5)
        assert ordered.of(again) == DONE

    ordered.tell_story(story)


def test_f_o4_a_result_that_cannot_be_noted_is_said_and_noted_later(filling):
    ordered, full = filling

    async def story():
        async def fill(_name, _kept):
            full.add(NAME)
            return await run(_name, _kept)

        run = ordered.run
        ordered.run = fill
        await ordered.restart()
        nonce = ordered.give(Kind.RUN, LOOK)
        await ordered.operations.rest(5)
        assert ordered.of(nonce) == DONE
        full.clear()
        ordered.hear()
        await ordered.restart()
        assert ordered.said == []

    ordered.tell_story(story)


def test_f_o4_a_bundle_for_which_there_is_no_room_is_a_failure_and_a_programs_output_none(filling):
    ordered, full = filling
    ordered.printed = b"line\n" * 1000

    async def story():
        full.add(FOLDER)
        bundle, program = ordered.give(Kind.DIAGNOSE), ordered.give(Kind.RUN, LOOK)
        await ordered.operations.rest(5)
        assert (ordered.of(bundle), ordered.of(program)) == (("failed", "operation.disk"), DONE)
        assert [one.output for one in ordered.said] == [None, None]

    ordered.tell_story(story)


def test_f_o4_a_pause_that_cannot_be_kept_is_none(filling):
    ordered, full = filling

    async def story():
        full.add("collection")
        nonce = ordered.give(Kind.PAUSE_COLLECTION)
        await ordered.operations.rest(5)
        assert ordered.of(nonce) == ("failed", "operation.disk")
        assert ordered.operations.paused_at == 0

    ordered.tell_story(story)


def test_f_o4_what_was_forgotten_under_a_clock_that_was_ahead_is_not_begun_again(filling):
    ordered, full = filling

    async def story():
        first = ordered.seal(ordered.order(Kind.COLLECT))
        ordered.operations.take([first])
        for _ in range(ENTRIES - 1):
            ordered.give(Kind.COLLECT)
            await ordered.operations.rest(5)
        while ordered.said:
            ordered.hear()
        done, now = len(ordered.done), int(ordered.clock.now())
        ordered.clock.offset = YEAR
        full.add(NAME)
        ordered.give(Kind.COLLECT, issued=now)  # late by that clock: room is made for it, and it finds none
        ordered.clock.offset = 0.0
        full.clear()
        ordered.operations.take([first])
        await ordered.operations.rest(5)
        assert len(ordered.done) == done

    ordered.tell_story(story)
