"""The director's word that a Proxy Manager may visit agents: what it says, and what is refused of it."""

import base64
import json
from dataclasses import replace

import pytest

from popham.errors import TrustError
from popham.model.names import canonical
from popham.trust.dsse import seal
from popham.trust.keys import SigningKey
from popham.trust.visitor import VISITOR_LIMIT, VISITOR_TYPE, Visitor, open_visitor, seal_visitor

from .conftest import NOW

PROXY = "0198c2a0-0000-7000-8000-0000000000aa"
AGENT = "0198c2a0-0000-7000-8000-0000000000bb"
KEY = SigningKey.create()


def raw(key):
    return key.public.crypto.public_bytes_raw()


def visitor(**changes):
    made = Visitor(
        uid=PROXY,
        keyid=KEY.keyid,
        public_key=raw(KEY),
        groups=("dock",),
        agents=(AGENT,),
        issued=int(NOW),
        expires=int(NOW) + 3600,
    )
    return replace(made, **changes)


def refused(fleet, envelope, code, **how):
    with pytest.raises(TrustError) as caught:
        open_visitor(envelope, tuf=fleet.tuf, **how)
    assert caught.value.code == f"trust.{code}"


def test_sec_25_what_the_director_sealed_is_opened_again(fleet):
    assert open_visitor(seal_visitor(visitor(), fleet.director), tuf=fleet.tuf) == visitor()
    assert visitor().key.public_bytes_raw() == raw(KEY)


def test_sec_21_another_signer_is_refused(fleet, other_fleet):
    refused(fleet, seal_visitor(visitor(), other_fleet.director), "signature")
    refused(fleet, seal_visitor(visitor(), KEY), "signature")


def test_sec_25_another_document_is_none_and_it_is_no_other_document(fleet):
    refused(fleet, fleet.sealed_bundle(), "type")
    refused(fleet, fleet.sealed_assignment(), "type")


def test_sec_25_another_tenant_is_refused(fleet):
    refused(fleet, seal_visitor(visitor(tenant="other"), fleet.director), "audience")


def test_one_that_is_too_large_is_neither_made_nor_read(fleet):
    agents = tuple(f"0198c2a0-0000-7000-8000-{number:012x}" for number in range(200))
    with pytest.raises(TrustError, match="200 agents is too large") as caught:
        seal_visitor(visitor(agents=agents), fleet.director)
    assert caught.value.code == "trust.size"
    refused(fleet, b" " * (VISITOR_LIMIT + 1), "size")


def test_a_hundred_and_fifty_groups_have_room(fleet):
    groups = tuple(f"group-{number:03}-of-ships" for number in range(150))
    assert len(seal_visitor(visitor(groups=groups, agents=()), fleet.director)) <= VISITOR_LIMIT


@pytest.mark.parametrize(
    "change",
    [
        {"keyid": "0" * 64},
        {"keyid": "x"},
        {"keyid": SigningKey.create().keyid},
        {"public_key": base64.b64encode(b"short").decode()},
        {"public_key": "?"},
        {"public_key": None},
        {"uid": "dock"},
        {"uid": PROXY.upper()},
        {"groups": "dock"},
        {"groups": ["Dock!"]},
        {"groups": [1]},
        {"agents": ["web-1"]},
        {"agents": None},
        {"issued": 1.5},
        {"issued": True},
        {"expires": -1},
        {"expires": 2**63},
        {"tenant": 7},
    ],
)
def test_sec_21_signed_nonsense_is_refused_in_a_sentence(fleet, change):
    data = json.loads(visitor().payload()) | change
    refused(fleet, seal(VISITOR_TYPE, canonical(data), fleet.director), "document")


def test_what_it_needs_and_is_not_known_is_refused_and_what_else_stands_there_is_ignored(fleet):
    data = json.loads(visitor().payload())
    more = seal(VISITOR_TYPE, canonical(data | {"season": "winter"}), fleet.director)
    assert open_visitor(more, tuf=fleet.tuf) == visitor()
    refused(fleet, seal(VISITOR_TYPE, canonical(data | {"crit": ["season"]}), fleet.director), "crit")


def test_sec_30_it_is_for_its_agents_and_groups_alone():
    found = visitor()
    assert found.may_visit(AGENT, "")
    assert found.may_visit(PROXY, "dock")
    assert not found.may_visit(PROXY, "pier")
    assert not found.may_visit(PROXY, "")


def test_it_ends_and_does_not_begin():
    found = visitor()
    found.check_time(NOW + 3599)
    found.check_time(0.0)
    with pytest.raises(TrustError, match="ended 5 s ago") as caught:
        found.check_time(NOW + 3605)
    assert caught.value.code == "trust.expired"
