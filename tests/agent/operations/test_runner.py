"""Operations are carried out one after the other, and what came of them is known after any end (F.O4)."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from tests.agent.watched import Killed

from popham.model.operation import Kind
from popham.testing.virtual import pass_time

LOOK = {"name": "look"}
DONE = ("succeeded", "")


def test_f_o4_operations_are_carried_out_one_after_the_other(ordered):
    async def story():
        ordered.hold = asyncio.Event()
        first, second = ordered.give(Kind.RUN, LOOK), ordered.give(Kind.COLLECT)
        await pass_time(1)
        assert (ordered.of(first), ordered.of(second)) == (("running", ""), None)
        ordered.hold.set()
        await ordered.operations.rest(5)
        assert (ordered.of(first), ordered.of(second)) == (DONE, DONE)
        assert ordered.done == ["run look", "collect"]

    ordered.tell_story(story)


def test_f_o4_a_round_waits_a_moment_for_what_it_brought_and_no_longer(ordered):
    async def story():
        ordered.hold = asyncio.Event()
        ordered.give(Kind.RUN, LOOK)
        begun = ordered.clock.elapsed
        await ordered.operations.rest(5)
        assert ordered.clock.elapsed == begun + 5

    ordered.tell_story(story)


def test_f_o4_a_round_waits_for_no_new_key_whose_request_goes_out_with_the_next_message(ordered):
    async def story():
        ordered.hold = asyncio.Event()
        ordered.give(Kind.ROTATE_KEY)
        await pass_time(1)
        begun = ordered.clock.elapsed
        await ordered.operations.rest(5)
        assert (ordered.clock.elapsed, ordered.done) == (begun, ["rotate"])

    ordered.tell_story(story)


def test_f_o4_what_waited_past_its_expiry_is_not_begun(ordered):
    async def story():
        ordered.hold = asyncio.Event()
        ordered.give(Kind.RUN, LOOK)
        late = ordered.give(Kind.COLLECT, lifetime=60)
        await pass_time(61)
        ordered.hold.set()
        await ordered.operations.rest(5)
        assert (ordered.of(late), ordered.done) == (("expired", "operation.expired"), ["run look"])

    ordered.tell_story(story)


def test_f_o4_what_is_taken_back_before_it_began_or_came_is_never_begun(ordered):
    async def story():
        ordered.hold = asyncio.Event()
        ordered.give(Kind.COLLECT)
        await pass_time(0)
        waiting, never = ordered.give(Kind.RUN, LOOK), ordered.order(Kind.RUN, LOOK)
        ordered.cancel(waiting)
        ordered.cancel(never.nonce)
        ordered.operations.take([ordered.seal(never)])
        ordered.hold.set()
        await ordered.operations.rest(5)
        cancelled = ("cancelled", "operation.cancelled")
        assert (ordered.of(waiting), ordered.of(never.nonce)) == (cancelled, cancelled)
        assert ordered.done == ["collect"]

    ordered.tell_story(story)


def test_f_o4_a_program_that_is_taken_back_is_ended_and_what_is_over_keeps_its_result(ordered):
    async def story():
        over = ordered.give(Kind.COLLECT)
        await ordered.operations.rest(5)
        ordered.hear()
        ordered.hold = asyncio.Event()
        running, following = ordered.give(Kind.RUN, LOOK), ordered.give(Kind.COLLECT)
        await pass_time(1)
        ordered.cancel(running)
        ordered.cancel(over)
        await pass_time(0)
        ordered.hold.set()
        await ordered.operations.rest(5)
        assert ordered.of(running) == ("cancelled", "operation.cancelled")
        assert (ordered.of(over), ordered.of(following)) == (DONE, DONE)

    ordered.tell_story(story)


def test_a_cancel_that_names_nothing_is_ignored(ordered):
    async def story():
        ordered.give(Kind.CANCEL, {})
        assert ordered.said == []

    ordered.tell_story(story)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Kind.RUN, ("unknown", "operation.unknown")),
        (Kind.COLLECT, ("unknown", "operation.unknown")),
        (Kind.ROTATE_KEY, ("unknown", "operation.unknown")),
        (Kind.DIAGNOSE, ("failed", "operation.interrupted")),
        (Kind.RESTART, DONE),
    ],
)
def test_f_o4_what_ran_when_the_process_ended_is_settled_once_by_what_can_be_known(ordered, kind, said):
    async def story():
        ordered.hold = asyncio.Event()
        envelope = ordered.seal(order := ordered.order(kind, LOOK if kind is Kind.RUN else {}))
        ordered.operations.take([envelope])
        await pass_time(1)
        assert ordered.of(order.nonce) == ("running", "")
        begun = len(ordered.done)
        await ordered.restart()
        assert ordered.of(order.nonce) == said
        revision = ordered.said[0].revision
        await ordered.restart()
        ordered.operations.take([envelope])
        await ordered.operations.rest(5)
        assert ordered.of(order.nonce) == said
        assert (ordered.said[0].revision, len(ordered.done)) == (revision, begun)

    ordered.tell_story(story)


def test_f_o4_a_key_that_was_rotated_before_the_process_ended_is_known_by_itself(ordered):
    async def story():
        ordered.hold = asyncio.Event()
        nonce = ordered.give(Kind.ROTATE_KEY)
        other = ordered.give(Kind.RUN, LOOK)  # a rotation needs rounds, so nothing waits for it
        await pass_time(1)
        assert (ordered.of(nonce), ordered.of(other)) == (("running", ""), ("running", ""))
        ordered.keyid = "second"
        await ordered.restart()
        assert ordered.of(nonce) == DONE

    ordered.tell_story(story)


@pytest.mark.parametrize("kind", [Kind.PAUSE_COLLECTION, Kind.RESUME_COLLECTION])
def test_f_o4_a_process_that_is_killed_at_any_write_of_a_pause_says_the_truth_about_it(ordered, kind):
    async def story():
        if kind is Kind.RESUME_COLLECTION:
            ordered.give(Kind.PAUSE_COLLECTION)
            await ordered.operations.rest(5)
            ordered.hear()
        order = ordered.order(kind)
        for left in range(5):
            files = dict(ordered.disk.files)
            ordered.disk.left = left
            await _kill(ordered, order)
            ordered.disk.left = None
            await ordered.restart()
            paused = ordered.operations.paused_at > 0
            done = paused is (kind is Kind.PAUSE_COLLECTION)
            said = ordered.of(order.nonce)
            assert said in {None, DONE, ("failed", "operation.interrupted")}
            assert said is None or (said == DONE) is done
            await ordered.end()
            ordered.disk.files = files
            ordered.boot()

    ordered.tell_story(story)


async def _kill(ordered, order):
    """Give an order to a machine whose process ends at some write."""
    with contextlib.suppress(Killed):
        ordered.operations.take([ordered.seal(order)])
        await pass_time(1)
    await ordered.end()


def test_f_o4_collection_is_paused_across_restarts_until_it_is_resumed(ordered):
    async def story():
        ordered.give(Kind.PAUSE_COLLECTION)
        await ordered.operations.rest(5)
        at = ordered.operations.paused_at
        assert at == ordered.clock.now()
        await pass_time(10)
        ordered.give(Kind.PAUSE_COLLECTION)
        await ordered.restart()
        assert ordered.operations.paused_at == at
        refused = ordered.give(Kind.COLLECT)
        await ordered.operations.rest(5)
        assert ordered.of(refused) == ("failed", "operation.paused")
        ordered.give(Kind.RESUME_COLLECTION)
        await ordered.operations.rest(5)
        assert ordered.operations.paused_at == 0
        ordered.hear()
        taken = ordered.give(Kind.COLLECT)
        await ordered.operations.rest(5)
        assert ordered.of(taken) == DONE

    ordered.tell_story(story)


def test_f_o4_after_a_restart_begins_nothing_else_does_in_this_process(ordered):
    async def story():
        ordered.give(Kind.RESTART)
        later = ordered.order(Kind.COLLECT)
        ordered.operations.take([ordered.seal(later)])
        await pass_time(10)
        assert ordered.done == ["restart"]
        await ordered.restart()
        ordered.operations.take([ordered.seal(later)])
        await ordered.operations.rest(5)
        assert ordered.done == ["restart", "collect"]
        assert ordered.of(later.nonce) == DONE

    ordered.tell_story(story)


def test_f_o4_a_check_in_is_done_once_what_is_to_be_in_force_was_seen_to(ordered):
    async def story():
        nonce = ordered.give(Kind.CHECK_IN)
        assert (ordered.of(nonce), ordered.done) == (("running", ""), ["check-in"])
        await ordered.restart()
        ordered.operations.settled()
        assert (ordered.of(nonce), ordered.done) == (DONE, ["check-in"])

    ordered.tell_story(story)


def test_f_o4_a_program_that_fails_says_how_and_what_it_printed(ordered):
    async def story():
        ordered.status, ordered.printed = 3, b"no such host\n"
        nonce = ordered.give(Kind.RUN, LOOK)
        await ordered.operations.rest(5)
        assert ordered.of(nonce) == ("failed", "operation.exit")
        assert ordered.said[0].text == "look ended with exit status 3: no such host"
        assert ordered.said[0].output is None

    ordered.tell_story(story)


def test_f_o4_an_operation_that_breaks_this_program_fails_and_the_next_one_is_carried_out(ordered, caplog):
    async def story():
        async def break_down(_name, _kept):
            raise ZeroDivisionError

        ordered.operations._means = replace(ordered.operations._means, run=break_down)
        broken, following = ordered.give(Kind.RUN, LOOK), ordered.give(Kind.COLLECT)
        await ordered.operations.rest(5)
        assert (ordered.of(broken), ordered.of(following)) == (("failed", "operation.fault"), DONE)
        assert "ZeroDivisionError" in caplog.text

    ordered.tell_story(story)
