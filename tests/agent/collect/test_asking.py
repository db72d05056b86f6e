"""What a command prints, as records: bounded, whatever it is."""

import pytest

from popham.agent.collect.asking import LINES_MAX, AskedCommand
from popham.agent.collect.encoding import TOGETHER, Encoder, Record
from popham.agent.collect.wanted import WantedCommand
from popham.agent.commands import Ended


class Printing:
    """A command that prints these bytes, and ends well."""

    seconds = 30.0

    def __init__(self, printed):
        self._printed = printed

    async def gather(self, name, kept):
        del name
        kept.data_received(self._printed)
        return Ended(0, "")


async def look(printed):
    wanted = WantedCommand(name="shop", command="look")
    return (await AskedCommand(wanted, Printing(printed), lambda: 1.0).look()).lines


async def test_a_line_ends_with_a_line_feed_and_with_nothing_that_only_looks_like_one():
    found = await look("one\x0bstill\u2028one\ntwo\r\nbr\n".encode() + b"\xff")
    assert [record.body for record in found] == ["one\x0bstill\u2028one", "two", "br", "\ufffd"]


async def test_rel_25_a_command_that_prints_nothing_but_ends_of_lines_brings_a_bounded_number():
    found = await look(b"\n" * 200_000)
    assert len(found) == LINES_MAX + 1
    assert found[-1].body == f"[{200_000 - LINES_MAX} lines left out]"


async def test_what_a_command_printed_too_much_of_is_said():
    found = await look(b"first\n" + b"x" * 300_000 + b"\nlast\n")
    assert [found[0].body, found[-1].body] == ["first", "last"]
    assert any("bytes left out" in record.body for record in found)


@pytest.mark.parametrize("count", [1, TOGETHER, TOGETHER + 1, 5 * TOGETHER])
def test_rel_25_many_records_are_encoded_in_parts(count):
    parts = list(Encoder({}).encode_records([Record(body="", at=1.0)] * count))
    assert sum(number for _, number in parts) == count
    assert max(number for _, number in parts) <= TOGETHER
