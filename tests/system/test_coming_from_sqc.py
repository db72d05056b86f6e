"""The page for those who come from SQC does what it says, with a real Manager and a machine that is visited."""

import re
from pathlib import Path

import pytest

from popham.testing.ports import free_ports

from .page import Shell, follow, steps

PAGE = Path(__file__).parents[2] / "docs/howto/coming-from-sqc.md"
ROWS = {
    "T": (1, 2, 3, 5, 6, 7, 9),
    "P": (3, 7),
    "L": (2, 3, 4, 5, 6, 7, 8, 9),
    "Y": (7, 8, 9, 10, 11, 12, 13),
    "D": (1, 2, 3, 4, 6, 7, 10, 12),
    "O": (1, 3, 19),
}
"""What SQC has of the rows of this project."""
HOST = "localhost"
"""The one host name that leads here stands for web1."""


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture
def port():
    return free_ports(1)[0]


@pytest.fixture
def server(fleet, port):
    """A machine that SQC's lists name."""
    found = fleet.machine(HOST, toml=f"[service]\nport = {port}\n")
    fleet.until(found.settled, "it has joined")
    return found


def place_files(text, folder):
    """Write the files of the page where it says that they are."""
    listed, distributed, definitions = (
        re.search(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
        for kind in ("text", "ini", "yaml")
    )
    group = folder / "Policy_ROOT/GROUP/PolicyGP01"
    group.mkdir(parents=True)
    (folder / "agentlist.cfg").write_text(listed, encoding="utf-8")
    (group / "Distribute.ini").write_text(distributed, encoding="utf-8")
    (group / "template.dat").write_text("", encoding="utf-8")
    (folder / "policygp01.yaml").write_text(definitions, encoding="utf-8")


def test_f_o15_f_y9_f_l3_the_page_does_what_it_says(fleet, server, port, text, tmp_path):
    here = text.replace("web1", HOST).replace("23440", str(port)).replace("/etc/popham.d", str(server.root))
    place_files(here, tmp_path)
    on_machine = re.compile(r"popham agent service \S+")
    shell = Shell(tmp_path, POPHAM_CONFIG=str(fleet.contexts))
    try:
        found = steps(here)
        assert len(found) > 15
        for command, said in found:
            if command.startswith("popham check-in"):
                # A reader is slower than the order that its group's agents are to be visited.
                fleet.until(lambda: server.view["detail"].get("unvisited"), "it waits to be visited")
            wrong = follow(shell, on_machine.sub(rf"\g<0> --config {server.config}", command), said)
            assert not wrong, wrong
    finally:
        shell.close()
    assert server.view["group"] == "policygp01"
    assert server.has("Second.")


def test_everything_that_sqc_has_stands_on_the_page(text):
    expected = {f"F.{part}{number}" for part, numbers in ROWS.items() for number in numbers}
    assert set(re.findall(r"\bF\.[A-Z]\d+", text)) == expected
    for word in ("sqcSendPolicy", "sqcCtrlPolicy", "thttpd", "Distribute.ini", "agentlist.cfg", "23440"):
        assert word in text
