"""The page about operations does what it says, with a real Manager and three machines."""

import re
from pathlib import Path

import pytest

from .page import Shell, follow, steps

PAGE = Path(__file__).parents[2] / "docs/howto/operations.md"
TEXT = PAGE.read_text(encoding="utf-8")
ALLOWED = re.search(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[1]
PROGRAM = '["/usr/bin/systemctl", "restart", "nginx"]'


@pytest.fixture
def web(fleet):
    """Two machines that hold links, and one that did and is switched off."""
    assert PROGRAM in ALLOWED
    fleet.apply("apiVersion: popham/v1\nkind: Group\nmetadata: {name: web}\nspec: {}\n")
    toml = ALLOWED.replace(PROGRAM, '["/bin/true"]')
    machines = [fleet.machine(f"web-{number}", "web", toml=toml, run=False) for number in (1, 2, 3)]
    for machine in machines:
        # The page has one folder for all; what each places there is the same.
        text = machine.config.read_text().replace(str(machine.root), str(machines[0].root))
        machine.config.write_text(text)
        machine.start()
    for machine in machines:
        fleet.until(lambda machine=machine: machine.view["connected"] and machine.settled(), "it has joined")
    machines[2].end()
    fleet.until(lambda: not machines[2].view["connected"], "web-3 is switched off")
    return machines


def test_f_o4_f_y9_the_page_does_what_it_says(fleet, web, tmp_path):
    text = TEXT.replace("/etc/popham.d", str(web[0].root))
    definitions = re.search(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "night.yaml").write_text(definitions, encoding="utf-8")
    shell = Shell(tmp_path, POPHAM_CONFIG=str(fleet.contexts))
    try:
        found = steps(text)
        assert len(found) > 10
        for command, said in found:
            wrong = follow(shell, command, said)
            assert not wrong, wrong
    finally:
        shell.close()
    assert (tmp_path / "web-1.tar.gz").read_bytes().startswith(b"\x1f\x8b")
