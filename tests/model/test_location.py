import json
import time

import pytest

from popham.errors import DefinitionError, WireError
from popham.model.bundle import Bundle, LocationSet, PolicyRef
from popham.model.communication import CommunicationSettings, Mode
from popham.model.criteria import Surroundings
from popham.model.criteria_form import criterion_from_dict
from popham.model.location import (
    PROBES_MAX,
    Location,
    LocationRules,
    LocationValues,
    Whereabouts,
    check_extent,
    overlapping,
    values_as_dict,
)

OFFICE = Location(name="office", weight=2, when=criterion_from_dict({"address": "10.0.0.0/8"}))
VPN = Location(name="vpn", weight=1, when=criterion_from_dict({"interface": "vpn"}))
HOME = Location(name="home")
RULES = LocationRules(locations=(OFFICE, VPN, HOME), default="home", check=60.0, remembers=False)
INSIDE = Surroundings(addresses=["10.0.0.7"], interfaces={"tun0": "vpn"})


def test_f_g3_of_locations_that_hold_the_heaviest_counts():
    assert RULES.find(INSIDE) == Whereabouts("office", ("address 10.0.0.0/8",))
    assert RULES.find(Surroundings(interfaces={"tun0": "vpn"})) == Whereabouts("vpn", ("interface vpn",))


def test_f_g3_the_default_holds_where_no_other_does():
    assert RULES.find(Surroundings()) == Whereabouts("home")


def test_f_g3_of_equal_weights_the_first_by_name_counts_and_people_are_warned():
    again = Location(name="annex", weight=2, when=OFFICE.when)
    rules = LocationRules(locations=(OFFICE, again, HOME), default="home")
    assert rules.find(INSIDE).location == "annex"
    assert overlapping(rules.locations) == [("annex", "office")]
    assert overlapping(RULES.locations) == []


def test_f_g3_the_order_in_which_locations_are_written_means_nothing():
    turned = LocationRules(locations=(HOME, VPN, OFFICE), default="home", check=60.0, remembers=False)
    assert turned == RULES
    assert turned.as_dict() == RULES.as_dict()


def test_f_g3_location_rules_come_back_from_a_bundle():
    assert LocationRules.from_dict(json.loads(json.dumps(RULES.as_dict()))) == RULES
    assert LocationRules.from_dict(RULES.as_dict() | {"tomorrow": 1}) == RULES


@pytest.mark.parametrize(
    "change",
    [
        {"default": "office"}, {"default": "nowhere"}, {"check": 0.0}, {"check": 3601.0}, {"locations": []},
        {"locations": [HOME.as_dict(), HOME.as_dict()]},
        {"locations": [HOME.as_dict(), OFFICE.as_dict(), OFFICE.as_dict()]},
        {"locations": [HOME.as_dict(), {"name": "x", "weight": 0}]},
        {"locations": [HOME.as_dict(), {"name": "x", "weight": 0, "when": {"colour": "blue"}}]},
    ],
)  # fmt: skip
def test_f_g3_rules_that_lead_nowhere_are_refused_by_the_agent(change):
    with pytest.raises(DefinitionError):
        LocationRules.from_dict(RULES.as_dict() | change)


def bundle(**more):
    held = LocationSet(
        policies=(PolicyRef(type="files", name="motd", revision=1, sha256="0" * 64, length=3),),
        communication=CommunicationSettings(),
    )
    sets = dict.fromkeys(RULES.names, held)
    return Bundle(group="fleet", serial=1, version=1, issued=1, locations=sets, rules=RULES, **more)


def test_f_g3_a_bundle_carries_the_rules_and_every_location():
    found = Bundle.from_payload(bundle().payload())
    assert (found.rules, found.default_location, set(found.locations)) == (
        RULES,
        "home",
        {"home", "office", "vpn"},
    )
    assert found == bundle()


def test_f_c1_a_bundle_with_download_off_says_so():
    assert Bundle.from_payload(bundle(download=False).payload()).download is False


def test_f_g3_a_bundle_whose_sets_are_not_those_of_its_locations_is_refused():
    found = bundle()
    short = Bundle(
        group="fleet", serial=1, version=1, issued=1, rules=RULES, locations={"home": found.locations["home"]}
    )
    with pytest.raises(WireError, match="not those of the locations"):
        Bundle.from_payload(short.payload())


def test_f_c2_values_of_locations_come_back_from_the_store_and_empty_ones_are_not_kept():
    own = LocationValues(policies={"files": None}, communication=CommunicationSettings(mode=Mode.PULL))
    data = values_as_dict({"office": own, "home": LocationValues()})
    assert list(data) == ["office"]
    assert LocationValues.from_dict(json.loads(json.dumps(data["office"]))) == own


def test_a_look_by_a_whole_list_does_not_keep_the_loop_waiting():
    when = [criterion_from_dict({"address": [f"10.{n}.{m}.0/24" for m in range(63)]}) for n in range(63)]
    places = [Location(name=f"l{number}", when=one) for number, one in enumerate(when)]
    rules = LocationRules(locations=(*places, HOME), default="home")
    around = Surroundings(addresses=[f"192.0.2.{number}" for number in range(200)])
    rules.find(around)
    begin = time.process_time()
    assert rules.find(around).location == "home"
    assert time.process_time() - begin < 0.8


def of(**when):
    return [criterion_from_dict(when)]


def test_the_extent_of_a_list_is_bounded():
    many = [criterion_from_dict({"address": [f"10.{n}.{m}.0/24" for m in range(64)]}) for n in range(8)]
    check_extent(many, 1.0)
    check_extent(of(file=[f"/{n}" for n in range(PROBES_MAX)]), 10.0)
    check_extent(of(dns_name=[f"a=10.{n}.0.0/16" for n in range(60)]), 10.0)
    for criteria, code, text in (
        ([*many, *of(interface="vpn")], "criteria", "more than 512 conditions"),
        (
            of(file=[f"/{n}" for n in range(30)], reachable=["a:1", "b:1"], dns_name="a"),
            "criteria",
            "33 names",
        ),
        (of(file="/x"), "location_check", "less than 10 s"),
    ):
        with pytest.raises(DefinitionError, match=text) as caught:
            check_extent(criteria, 9.0)
        assert caught.value.code == f"definition.{code}"
        assert caught.value.hint
