"""What an upstream knows of settings by location, and of who waits to be dialled, without reading all they said."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.link.visits import AWAITED, KEPT, OFF
from popham.model.cell import Dialer, Mode
from popham.model.communication import CommunicationSettings
from popham.model.rollout import RolloutRef
from popham.model.status import UNVISITED, StateRecord
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state
from popham.upstream.record import Record, Wanted, Within

KEY = IdentityKey.create()
VISITED = CommunicationSettings(mode=Mode.PULL, dialer=Dialer.MANAGER)
DIALS = CommunicationSettings()


def record_of(**said):
    uid = str(uuid.UUID(int=1, version=4))
    known = {"uid": uid, "revision": 1, "group": "g", "promise": 300.0, "mode": "pull"}
    envelope = seal_state(StateRecord(**known | said), KEY)
    return Record(uid=uid, key=uuid.UUID(uid).bytes, name="a", group="g", envelope=envelope)


@given(dialer=st.sampled_from(list(Dialer)), before=st.text(max_size=40), group=st.text(max_size=9))
def test_who_waits_to_be_dialled_is_known_without_reading_what_it_said(dialer, before, group):
    record = record_of(dialer=str(dialer), content_digest=before, group=group, agent_version=before)
    assert record.awaits_dial is (dialer is Dialer.MANAGER)
    assert record._state is None
    assert record.state.dialer == dialer
    assert record.awaits_dial is (dialer is Dialer.MANAGER)


def test_who_said_nothing_waits_for_nobody():
    assert not Record(uid="u", key=b"", name="a", group="g").awaits_dial


def wanted(**more):
    return Wanted(
        group="g",
        serial=1,
        version=1,
        content_digest="",
        envelope=b"",
        blobs={},
        objects={},
        objects_digest=b"",
        communication=DIALS,
        **more,
    )


def test_settings_are_those_of_the_location_or_of_the_default_where_it_is_not_known():
    within = Within("home", {"home": DIALS, "office": VISITED})
    found = wanted(within=within).settings_for("u")
    assert (found.at("office"), found.at("home"), found.at("moon")) == (VISITED, DIALS, DIALS)
    assert within.is_visited
    assert not Within("home", {"home": DIALS}).is_visited
    assert wanted().settings_for("u").at("anywhere") is DIALS


@pytest.mark.parametrize(("ppm", "settings"), [(0, DIALS), (1_000_000, VISITED)])
def test_during_a_rollout_each_side_has_its_own(ppm, settings):
    rollout = RolloutRef(id="r1", salt="s", wave=1, ppm=ppm, stable_serial=1)
    stable, candidate = Within("d", {"d": DIALS}), Within("d", {"d": VISITED})
    found = wanted(within=stable, candidate=candidate, rollout=rollout)
    assert found.settings_for("u").at("d") is settings


@pytest.mark.parametrize(("named", "settings"), [(False, DIALS), (True, VISITED)])
def test_f_y9_who_has_a_candidate_by_name_has_its_settings(named, settings):
    rollout = RolloutRef(id="r1", salt="s", wave=1, ppm=0, stable_serial=1, named=named)
    stable, candidate = Within("d", {"d": DIALS}), Within("d", {"d": VISITED})
    found = wanted(within=stable, candidate=candidate, rollout=rollout)
    assert found.settings_for("u", "r1").at("d") is settings
    assert found.settings_for("u").at("d") is DIALS


def test_codes_of_an_order_not_obeyed_yet_are_those_that_agents_report():
    assert {OFF, AWAITED, KEPT} == UNVISITED
