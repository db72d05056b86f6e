"""The systemd units: accepted by systemd, in the form that the conventions ask for, with commands that exist."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from popham.cli.main import cli

UNITS = Path(__file__).parents[2] / "packaging/systemd"
NAMES = ["popham-manager.service", "popham-agent.service", "popham-proxy.service"]
CONVENTIONS = {
    "Type": "notify",
    "WatchdogSec": "30",
    "Restart": "always",
    "RestartSec": "5",
    "RestartPreventExitStatus": "64 78",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "StateDirectoryMode": "0700",
    "KillSignal": "SIGTERM",
}


def settings(name):
    """Return key → last value of a unit."""
    lines = (UNITS / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Za-z]+=", line))


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_follows_the_conventions(name):
    found = settings(name)
    assert {key: found.get(key) for key in CONVENTIONS} == CONVENTIONS
    assert "@system-service" in (UNITS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_starts_a_command_that_exists(name):
    command = shlex.split(settings(name)["ExecStart"])
    assert command[0] == "/usr/bin/popham"
    names = [word for word in command[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
    options = [word for word in command if word.startswith("--")]
    shown = CliRunner().invoke(cli, [*names, "--help"])
    assert shown.exit_code == 0, shown.output
    assert [option for option in options if option not in shown.output] == []


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_nothing_wrong_with_a_unit(name, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed; the units were not verified")
    text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", (UNITS / name).read_text(encoding="utf-8"))
    unit = tmp_path / name
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=30
    )
    said = [line for line in done.stderr.splitlines() if name in line]
    assert not said
