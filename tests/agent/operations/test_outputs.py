"""Outputs of operations: kept within bounds until upstream has them (F.O4)."""

from popham.agent.operations.outputs import FOLDER, KEPT, NUMBER
from popham.errors import LinkError
from popham.model.names import digest
from popham.model.operation import Kind
from popham.testing.virtual import pass_time

LOOK = {"name": "look"}


def test_f_o4_an_output_is_kept_until_it_was_brought_where_this_end_dials(ordered):
    async def story():
        ordered.give(Kind.DIAGNOSE)
        await ordered.operations.rest(5)
        (said,) = ordered.said
        output = said.output
        ordered.hear()
        assert (output.sha256, output.length, output.left_out) == (digest(b"a bundle"), 8, 0)
        ordered.dials = False
        ordered.operations.want_outputs([output.sha256])
        await pass_time(1)
        assert ordered.brought == {}
        assert ordered.operations.output(output.sha256) == b"a bundle"
        ordered.dials, ordered.upload_error = True, LinkError("unreachable", "away")
        ordered.operations.want_outputs([output.sha256])
        await pass_time(1)
        ordered.upload_error = None
        ordered.operations.want_outputs([output.sha256])
        await pass_time(1)
        assert ordered.brought == {output.sha256: b"a bundle"}
        assert ordered.disk.names(FOLDER) == []
        ordered.operations.want_outputs([output.sha256])  # it was asked for twice meanwhile
        await pass_time(1)
        assert ordered.said == [], "it is not lost"

    ordered.tell_story(story)


def test_f_o4_an_output_that_two_operations_made_is_brought_for_each(ordered):
    async def story():
        ordered.dials, ordered.printed = True, b"line\n" * 1000
        for _ in range(2):
            ordered.give(Kind.RUN, LOOK)
            await ordered.operations.rest(5)
            (said,) = ordered.said
            ordered.brought.clear()
            ordered.hear()
            ordered.operations.want_outputs([said.output.sha256])
            await pass_time(1)
            assert ordered.brought == {said.output.sha256: ordered.printed}
            assert ordered.disk.names(FOLDER) == []

    ordered.tell_story(story)


def test_f_o4_outputs_are_bounded_and_one_that_is_gone_is_said_to_be(ordered):
    async def story():
        for number in range(NUMBER + 2):
            ordered.printed = f"{number:04d}\n".encode() * 1000
            ordered.give(Kind.RUN, LOOK)
            await ordered.operations.rest(5)
            await pass_time(1)
        assert len(ordered.disk.names(FOLDER)) == NUMBER
        first = ordered.said[0]
        assert first.output is not None
        assert ordered.operations.output(first.output.sha256) is None
        again = ordered.said[0]
        assert (again.nonce, again.output, again.revision) == (first.nonce, None, first.revision + 1)
        await pass_time(KEPT + 1)
        await ordered.restart()
        assert ordered.disk.names(FOLDER) == []

    ordered.tell_story(story)
