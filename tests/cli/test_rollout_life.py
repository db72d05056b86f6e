"""A rollout from the command line, against a real Manager's API over TLS on loopback."""

import json
import time

import pytest
from click.testing import CliRunner
from tests.cli.test_end_to_end import serving
from tests.manager.rolling import agent

from popham.cli.invocation import Invocation
from popham.cli.main import cli
from popham.clock import SystemClock
from popham.manager.keys import create_keys

MOTD = """\
apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec:
  type: files
  files: [{path: /etc/popham.d/motd, content: "WORD"}]
---
apiVersion: popham/v1
kind: Group
metadata: {name: fleet}
spec:
  policies: {files: motd}
"""
AGENTS = 12


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "keys").mkdir()
    urls = ("https://127.0.0.1:4320",)
    return create_keys(tmp_path / "keys", urls=urls, trust_domain="popham", clock=SystemClock())


def put_agents(tx):
    """Store agents of ours that are in contact."""
    now = time.time()
    for number in range(AGENTS):
        tx.put_agent(agent(number, "fleet", last=now))


def test_f_y17_a_change_that_reaches_many_goes_out_in_waves_is_halted_and_undone(keys, tmp_path):
    file = tmp_path / "motd.yaml"
    with serving(keys, tmp_path, more=put_agents, ask_above=10) as (url, token):
        pem = keys.ca.pem.decode()
        environ = {"POPHAM_URL": url, "POPHAM_TOKEN": token, "POPHAM_CA": pem, "HOME": str(tmp_path)}

        def popham(*args, code=0):
            found = CliRunner().invoke(cli, args, obj=Invocation(environ=environ))
            assert found.exit_code == code, found.stderr
            return found

        def write(word):
            file.write_text(MOTD.replace("WORD", word))

        write("one")
        refused = popham("apply", "-f", str(file), code=1).stderr
        assert "(conflict.reach)" in refused
        assert "--canary" in refused
        assert "--all" in refused
        assert "new content to 13 agents" in popham("plan", "-f", str(file)).stdout
        popham("apply", "-f", str(file), "--all")
        assert "No rollouts yet" in popham("rollout", "list").stderr

        write("two")
        begun = popham("apply", "-f", str(file), "--canary", "10%", "--soak", "1h", "-m", "two is better")
        assert "rollout r1 began: " in begun.stdout
        assert begun.stderr.endswith("Follow it: popham rollout status r1 -w\n")
        write("three")
        assert "(conflict.rollout)" in popham("apply", "-f", str(file), "--all", code=1).stderr
        status = popham("rollout", "status").stdout
        assert "rollout: r1, running" in status
        assert "two is better" in status
        popham("rollout", "status", "-w", "--timeout", "0s", code=75)
        assert "paused" in popham("rollout", "pause", "r1", "--reason", "lunch").stdout
        assert "lunch" in popham("rollout", "status", "r1").stdout
        assert "running" in popham("rollout", "resume", "r1").stdout
        assert "halted" in popham("rollout", "halt", "--all", "--reason", "smoke").stdout
        popham("rollout", "status", "r1", "-w", code=1)
        assert popham("rollout", "undo", "r1", "--yes").stdout == "rollout r1 undone\n"
        messages = [
            item["message"]
            for item in json.loads(popham("history", "policy", "motd", "-o", "json").stdout)["items"]
        ]
        assert messages == ["undo of rollout r1: back to revision 1", "two is better", ""]

        options = ("--canary", "10%,50%", "--soak", "0s", "--halt-on", "20%")
        assert "rollout r2 began" in popham("rollback", "policy", "motd", "--to", "2", *options).stdout
        assert popham("rollout", "promote", "r2", "--yes").stdout == "rollout r2 promoted\n"
        assert popham("rollout", "status", "r2", "-w").stdout == "r2 promoted\n"
        assert popham("get", "rollouts", "-o", "name").stdout == "r2\nr1\n"
        assert "conflict.over" in popham("rollout", "halt", "r2", code=1).stderr
