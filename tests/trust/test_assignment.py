"""Assignments: what stands in one for every agent, and what only where it is used."""

import json

import pytest

from popham.errors import TrustError
from popham.model.cell import Dialer
from popham.trust.assignment import Assignment

PLAIN = Assignment(uid="u", spki_sha256="k", group="web", seq=7, issued=5)


def test_what_is_not_used_is_not_in_it_so_older_agents_see_nothing_new():
    keys = set(json.loads(PLAIN.payload()))
    assert keys == {"tenant", "uid", "spki_sha256", "group", "seq", "issued"}
    assert Assignment.from_payload(PLAIN.payload()) == PLAIN


@pytest.mark.parametrize("dialer", [None, *Dialer])
@pytest.mark.parametrize("may_dial", [True, False])
def test_f_c3_an_assignment_says_who_dials_one_agent(dialer, may_dial):
    said = Assignment(
        uid="u", spki_sha256="k", group="web", seq=7, issued=5, dialer=dialer, may_dial=may_dial
    )
    assert Assignment.from_payload(said.payload()) == said
    data = json.loads(said.payload())
    assert data.get("dialer") == (str(dialer) if dialer else None)
    assert data.get("may_dial") is (True if may_dial else None)


@pytest.mark.parametrize(
    "more", [{"dialer": "proxy"}, {"dialer": 1}, {"dialer": ["agent"]}, {"may_dial": 1}, {"may_dial": "yes"}]
)
def test_another_kind_of_value_is_refused(more):
    data = json.loads(PLAIN.payload()) | more
    with pytest.raises(TrustError) as caught:
        Assignment.from_payload(json.dumps(data).encode())
    assert caught.value.code == "trust.document"


def test_what_a_newer_manager_adds_is_ignored_unless_it_is_critical():
    data = json.loads(PLAIN.payload()) | {"colour": "blue"}
    assert Assignment.from_payload(json.dumps(data).encode()) == PLAIN
    with pytest.raises(TrustError, match="colour"):
        Assignment.from_payload(json.dumps(data | {"crit": ["colour"]}).encode())
