"""The page about visits does what it says, with a real Manager and a machine that is visited."""

import re
from pathlib import Path

import pytest

from popham.testing.ports import free_ports

from .page import Shell, follow, steps

PAGE = Path(__file__).parents[2] / "docs/howto/visits.md"


@pytest.fixture
def port():
    return free_ports(1)[0]


@pytest.fixture
def till(fleet, port):
    """A machine in the group that the page is about."""
    fleet.apply("apiVersion: popham/v1\nkind: Group\nmetadata: {name: tills}\nspec: {}\n")
    found = fleet.machine("till1", "tills", toml=f"[service]\nport = {port}\n")
    fleet.until(found.settled, "till1 has joined")
    return found


def test_f_l3_f_c3_the_page_does_what_it_says(fleet, till, port, tmp_path):
    text = PAGE.read_text(encoding="utf-8").replace("192.0.2.11", "127.0.0.1").replace("23440", str(port))
    definitions = re.search(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "tills.yaml").write_text(definitions, encoding="utf-8")
    on_machine = re.compile(r"popham agent service \S+")
    shell = Shell(tmp_path, POPHAM_CONFIG=str(fleet.contexts))
    try:
        found = steps(text)
        assert len(found) > 6
        for command, said in found:
            if command.startswith("popham check-in"):
                # A reader is slower than the order that its group's agents are to be visited.
                fleet.until(lambda: till.view["detail"].get("unvisited"), "till1 waits to be visited")
            wrong = follow(shell, on_machine.sub(rf"\g<0> --config {till.config}", command), said)
            assert not wrong, wrong
    finally:
        shell.close()


def test_every_code_of_the_page_is_one_of_the_reference():
    known = (PAGE.parents[1] / "reference/errors.md").read_text(encoding="utf-8")
    codes = set(re.findall(r"`(visit\.\w+)`", PAGE.read_text(encoding="utf-8")))
    assert len(codes) > 10
    assert not [code for code in codes if f"| `{code}` |" not in known]
