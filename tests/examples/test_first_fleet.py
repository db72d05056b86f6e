"""The example that the README and the tutorial point to is one that ``popham check`` accepts."""

from pathlib import Path

from click.testing import CliRunner

from popham.cli.main import cli
from popham.model.communication import CommunicationSettings, Mode, settings_from_definition
from popham.model.definition import SourceFile, check

FOLDER = Path(__file__).parents[2] / "examples/first-fleet"


def definitions():
    files = sorted(FOLDER.glob("*.yaml"))
    return check([SourceFile(name=path.name, text=path.read_text(encoding="utf-8")) for path in files])


def mode_of(name):
    group = next(group for group in definitions().groups if group.name == name)
    return settings_from_definition(group.communication or {}, CommunicationSettings()).mode


def test_f_y7_check_accepts_the_example():
    done = CliRunner().invoke(cli, ["check", "-f", str(FOLDER)])
    assert done.exit_code == 0, done.output


def test_the_example_has_a_root_in_push_and_a_group_in_pull():
    assert mode_of("fleet") is Mode.PUSH
    assert mode_of("branches") is Mode.PULL


def test_the_example_has_a_policy_for_our_agents_and_one_for_stock_agents():
    assert {policy.type for policy in definitions().policies} == {"files", "otelcol"}


def test_every_policy_of_the_example_is_assigned():
    found = definitions()
    assigned = {name for group in found.groups for name in group.policies.values()}
    assert assigned == {policy.name for policy in found.policies}
