"""The page about changing safely does what it says, with a real Manager and a real machine."""

import re
from pathlib import Path

import pytest

from .page import Shell, follow, steps

PAGE = Path(__file__).parents[2] / "docs/howto/change-safely.md"


@pytest.fixture
def web(fleet):
    """A machine in the group that the page is about, and the check command that it permits."""
    fleet.apply("apiVersion: popham/v1\nkind: Group\nmetadata: {name: web}\nspec: {}\n")
    motd = fleet.folder / "web-1.d" / "motd"
    toml = f'[commands]\nmotd-is-there = ["/usr/bin/test", "-s", "{motd}"]\n'
    found = fleet.machine("web-1", "web", toml=toml)
    fleet.until(found.settled, "web-1 has joined")
    return found


def test_f_y17_f_y15_f_y3_the_page_does_what_it_says(fleet, web, tmp_path):
    here = PAGE.read_text(encoding="utf-8").replace("/etc/popham.d", str(web.root))
    (tmp_path / "site").mkdir()
    definition = re.search(r"^```yaml\n(.*?)^```", here, re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "site/web.yaml").write_text(definition, encoding="utf-8")
    shell = Shell(tmp_path, POPHAM_CONFIG=str(fleet.contexts))
    try:
        found = steps(here)
        assert len(found) > 20
        for command, said in found:
            wrong = follow(shell, command, said)
            assert not wrong, wrong
    finally:
        shell.close()
