"""The tutorial does what it says: its commands are run from the page, and its lines are what they print.

It works in ``$PWD/fleet``, on 127.0.0.1:4320 and 127.0.0.1:8443; the test puts free ports there.
"""

import re
from pathlib import Path

import pytest

from .page import Shell, follow, pattern, steps

PAGE = Path(__file__).parents[2] / "docs/tutorial/first-fleet.md"


@pytest.fixture
def shell(tmp_path):
    made = Shell(tmp_path)
    yield made
    made.close()


def test_the_tutorial_does_what_it_says(fleet_ports, shell):
    text = PAGE.read_text(encoding="utf-8")
    assert "127.0.0.1:4320" in text
    assert "127.0.0.1:8443" in text
    for port, free in zip(("4320", "8443"), fleet_ports, strict=True):
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
    found = steps(text)
    assert len(found) > 20
    for command, said in found:
        wrong = follow(shell, command, said)
        assert not wrong, wrong


def test_a_line_of_the_page_stands_for_what_is_printed_whatever_the_blanks():
    assert re.search(pattern("a  b … d"), "x a b    c d")
    assert not re.search(pattern("a (b)"), "a b")
