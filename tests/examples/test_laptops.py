"""The example with locations is one that ``popham check`` accepts, and each location is what its page says."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from popham.cli.main import cli
from popham.model.criteria import Surroundings
from popham.model.definition import SourceFile, check
from popham.model.location import Location, LocationRules

FOLDER = Path(__file__).parents[2] / "examples/laptops"


@pytest.fixture(scope="module")
def definitions():
    files = sorted(FOLDER.glob("*.yaml"))
    return check([SourceFile(name=path.name, text=path.read_text(encoding="utf-8")) for path in files])


@pytest.fixture(scope="module")
def rules(definitions):
    (group,) = definitions.groups
    found = tuple(Location(name=one.name, weight=one.weight or 0, when=one.when) for one in group.locations)
    return LocationRules(locations=found, default="home")


def test_f_y7_check_accepts_the_example():
    done = CliRunner().invoke(cli, ["check", "-f", str(FOLDER)])
    assert done.exit_code == 0, done.output
    assert "1 placement, 1 group and 2 policies: no errors" in done.output


OFFICE = {"addresses": ("10.1.2.3",), "dns_suffixes": ("corp.example",), "interfaces": {"eth0": "ethernet"}}


@pytest.mark.parametrize(
    ("around", "location"),
    [
        (OFFICE, "office"),
        (OFFICE | {"addresses": ("fd00::7",)}, "office"),
        (OFFICE | {"interfaces": {"eth0": "ethernet", "wwan0": "mobile"}}, "office"),
        (OFFICE | {"interfaces": {"wlan0": "wireless", "tun0": "vpn"}}, "home"),
        (OFFICE | {"dns_suffixes": ("home.example",)}, "home"),
        ({"addresses": ("192.0.2.7",), "interfaces": {"wwan0": "mobile"}}, "mobile"),
        ({}, "home"),
    ],
)
def test_f_g3_a_laptop_is_where_the_page_says(rules, around, location):
    assert rules.find(Surroundings(**around)).location == location


def test_every_policy_of_the_example_is_assigned(definitions):
    (group,) = definitions.groups
    assigned = {
        *group.policies.values(),
        *(name for one in group.locations for name in one.policies.values()),
    }
    assert assigned == {policy.name for policy in definitions.policies}
