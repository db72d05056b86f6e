"""A silent agent is asked on its own machine: the Manager away, back, and the agent stopped; the page says it as it is."""

import json
import re
import time
from pathlib import Path

import pytest

from .conftest import PATIENCE
from .page import Shell, pattern, steps

PAGE = Path(__file__).parents[2] / "docs/howto/when-an-agent-is-silent.md"


@pytest.fixture
def shell(tmp_path):
    made = Shell(tmp_path)
    yield made
    made.close()


def read(shell, command, said):
    """Run a command that only looks, until it prints what the page says; return its exit code."""
    deadline = time.monotonic() + PATIENCE
    while True:
        printed, code = shell.run(command)
        missing = [line for line in said if not re.search(pattern(line), printed)]
        if not missing:
            return code
        assert time.monotonic() < deadline, f"$ {command}\n{printed}\nthe page also says: {missing}"


def test_f_o17_the_page_says_why_an_agent_is_silent_with_the_manager_away_and_the_agent_stopped(
    founding, shell
):
    fleet = founding().found()
    web = fleet.machine("web")
    fleet.until(web.settled, "web has joined")
    fleet.end_manager()
    events = {"popham agent check-in": fleet.start_manager, "systemctl stop popham-agent": web.end}
    text = PAGE.read_text(encoding="utf-8").replace("manager.example:4320", f"127.0.0.1:{fleet.agents_port}")
    codes = []
    for command, said in steps(text):
        if command in events:
            events[command]()
        if command.startswith("popham"):
            codes.append(read(shell, f"{command} --config {web.config}", said))
    assert codes == [1, 1, 0, 0, 0, 1]
    assert len(events) == 2
    # With the Manager there, a stopped agent is examined to the end, and its absence alone is no failure.
    before = web.view["last_contact"]
    found = json.loads(web.popham("doctor", "-o", "json").stdout)
    outcomes = {one["check"]: one["outcome"] for one in found["findings"]}
    assert (outcomes["agent"], outcomes["identity"], found["ok"]) == ("warning", "ok", True)
    fleet.popham("revoke", "agent", "web", "--yes")
    found = web.popham("doctor", code=1).stdout
    assert re.search(r"failed +identity: .*revoked", found), found
    assert web.view["last_contact"] == before, "no round was made"
