"""The examples in which the Manager dials: what they define is accepted, and the agents' configurations are read.

Their web servers' configurations are run by the tests of nginx and Apache.
"""

from pathlib import Path

import pytest
from click.testing import CliRunner

from popham.agent.settings import load_settings
from popham.cli.main import cli
from popham.model.agentlist import read_agentlist
from popham.model.communication import CommunicationSettings, Dialer, Mode, settings_from_definition
from popham.model.definition import SourceFile, check

FOLDER = Path(__file__).parents[2] / "examples"
NAMES = ("agent-behind-nginx", "agent-behind-apache", "agent-by-cgi", "manager-dials")


def definitions(name):
    path = FOLDER / name / "fleet.yaml"
    return check([SourceFile(name=path.name, text=path.read_text(encoding="utf-8"))])


@pytest.mark.parametrize("name", NAMES)
def test_f_y7_check_accepts_the_example(name):
    done = CliRunner().invoke(cli, ["check", "-f", str(FOLDER / name)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", NAMES)
def test_the_agents_configuration_of_the_example_is_read(name):
    found = load_settings(FOLDER / name / "agent.toml", env={})
    assert found.files.roots == ("/etc/popham.d",)
    service = found.service
    assert bool(service.socket) is (name in {"agent-behind-nginx", "agent-by-cgi"})
    assert service.tls is (name != "agent-behind-apache")


@pytest.mark.parametrize("name", NAMES)
def test_the_manager_dials_every_group_of_the_example(name):
    for group in definitions(name).groups:
        found = settings_from_definition(group.communication, CommunicationSettings())
        assert found.dialer is Dialer.MANAGER, group.name
        assert name != "agent-by-cgi" or found.mode is Mode.PULL, "CGI holds no links"


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_of_the_example_is_assigned(name):
    found = definitions(name)
    assigned = {policy for group in found.groups for policy in group.policies.values()}
    assert assigned == {policy.name for policy in found.policies}


def test_f_l5_the_list_of_the_example_is_read_without_a_wrong_line():
    text = (FOLDER / "manager-dials" / "agentlist.cfg").read_text(encoding="utf-8")
    found = read_agentlist(text, "agentlist.cfg")
    assert not found.findings
    assert len(found.entries) == 3
