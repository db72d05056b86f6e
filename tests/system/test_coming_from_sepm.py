"""The page for those who come from SEPM does what it says, with a real Manager and a real laptop."""

import re
from pathlib import Path

import pytest

from .page import Shell, follow, steps

PAGE = Path(__file__).parents[2] / "docs/howto/coming-from-sepm.md"


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture
def laptop(fleet):
    """A machine in the group that the page is about."""
    fleet.apply("apiVersion: popham/v1\nkind: Group\nmetadata: {name: laptops}\nspec: {}\n")
    found = fleet.machine("laptop-1", "laptops")
    fleet.until(found.settled, "laptop-1 has joined")
    return found


def test_f_c1_f_c2_the_page_does_what_it_says(fleet, laptop, text, tmp_path):
    here = text.replace("/etc/popham.d", str(laptop.root))
    definition = re.search(r"^```yaml\n(.*?)^```", here, re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "laptops.yaml").write_text(definition, encoding="utf-8")
    on_machine = re.compile(r"popham agent \S+")
    shell = Shell(tmp_path, POPHAM_CONFIG=str(fleet.contexts))
    try:
        found = steps(here)
        assert len(found) > 15
        for command, said in found:
            run = on_machine.sub(rf"\g<0> --config {laptop.config}", command)
            wrong = follow(shell, run, said)
            assert not wrong, wrong
    finally:
        shell.close()
    assert laptop.has("Gone."), "what came while download was on again"


def test_all_seventeen_steps_of_the_founding_document_stand_side_by_side_with_ours(text):
    rows = re.findall(r"^\| (\d+)(?: to (\d+))? \|[^|]+\|[^|]+\|$", text, re.MULTILINE)
    assert [step for first, last in rows for step in range(int(first), int(last or first) + 1)] == [
        *range(1, 18)
    ]
