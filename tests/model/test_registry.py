"""The registry by itself; tests/api walks it against the real routes."""

import pytest

from popham.errors import GrantError, NotFoundError, PophamError, WireError
from popham.model.registry import (
    MESSAGES,
    NONE,
    PLAIN_OPAMP,
    ROUTES,
    SESSION,
    TRUST,
    Direction,
    IdentityKind,
    Listener,
    find_message,
    find_route,
    require,
)


def _name(entry):
    """Return an id that is the same in every process: sets of identities have no order."""
    return " ".join(
        str(getattr(entry, key, "")) for key in ("listener", "method", "path", "capability", "name")
    )


def test_sec_4_without_an_identity_only_health_trust_metadata_and_enrollment_are_open():
    open_routes = {(r.listener.value, r.method, r.path) for r in ROUTES if r.allows(NONE)}
    assert open_routes == {
        ("agents", "POST", "/v1/opamp"),
        ("agents", "GET", "/v1/trust/ca"),
        ("agents", "GET", "/v1/trust/root"),
        ("agents", "GET", "/v1/trust/targets"),
        ("agents", "GET", "/livez"),
        ("people", "GET", "/livez"),
        ("people", "GET", "/readyz"),
    }
    assert {(m.capability, m.name) for m in MESSAGES if m.allows(NONE)} == {
        (TRUST, "enroll"),
        (TRUST, "renew"),
    }
    assert NONE not in PLAIN_OPAMP


def test_sec_4_no_agent_may_use_what_is_for_people_and_no_person_what_is_for_agents():
    for route in ROUTES:
        named = route.identities
        if named == frozenset(IdentityKind):
            continue
        people = {IdentityKind.VIEWER, IdentityKind.OPERATOR, IdentityKind.ADMIN}
        fleet = {IdentityKind.AGENT, IdentityKind.PROXY, IdentityKind.STOCK}
        assert not (named & people and named & fleet), route


def test_sec_30_a_proxy_may_do_what_an_agent_may_and_nobody_else_may_relay():
    for entry in [*ROUTES, *MESSAGES]:
        assert not entry.allows(IdentityKind.AGENT) or entry.allows(IdentityKind.PROXY), entry
    alone = {IdentityKind.PROXY}
    assert find_route(Listener.AGENTS, "POST", "/v1/relay").identities == alone
    assert find_message("io.popham.proxy/1", "wake", Direction.UP).identities == alone


def test_f_o5_an_operator_may_use_what_a_viewer_may_and_an_admin_what_an_operator_may():
    for route in ROUTES:
        assert not route.allows(IdentityKind.VIEWER) or route.allows(IdentityKind.OPERATOR), route
        assert not route.allows(IdentityKind.OPERATOR) or route.allows(IdentityKind.ADMIN), route


@pytest.mark.parametrize("entry", [*ROUTES, *MESSAGES], ids=_name)
@pytest.mark.parametrize("identity", IdentityKind)
def test_sec_4_an_identity_that_is_not_named_is_refused(entry, identity):
    if identity in entry.identities:
        require(entry, identity)
        return
    with pytest.raises(GrantError) as caught:
        require(entry, identity)
    assert caught.value.code == ("grant.missing" if identity is NONE else "grant.not_permitted")


def test_a_concrete_path_finds_its_template():
    found = find_route(Listener.PEOPLE, "POST", "/api/v1/agents/web-1/accept")
    assert found.path == "/api/v1/agents/{ref}/accept"


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/agents/", "/api/v1/agents/a/b/accept", "/API/v1/agents", "/livez\n"]
)
def test_a_path_that_nothing_serves_is_not_found(path):
    with pytest.raises(NotFoundError) as caught:
        find_route(Listener.PEOPLE, "GET", path)
    assert caught.value.code == "not_found.route"


def test_routes_of_one_listener_are_not_found_on_the_other():
    with pytest.raises(PophamError):
        find_route(Listener.AGENTS, "GET", "/api/v1/agents")


def test_another_method_is_answered_with_those_that_are_served():
    with pytest.raises(WireError, match="PUT is not served") as caught:
        find_route(Listener.PEOPLE, "PUT", "/api/v1/tokens")
    assert (caught.value.code, caught.value.hint) == ("wire.method", "Use GET, POST")


def test_a_directive_never_travels_up():
    with pytest.raises(NotFoundError):
        find_message(SESSION, "directive", Direction.UP)
    assert find_message(SESSION, "report", Direction.UP).identities == {
        IdentityKind.AGENT,
        IdentityKind.PROXY,
    }


def test_no_route_and_no_message_stands_twice():
    routes = [(r.listener, r.method, r.path) for r in ROUTES]
    messages = [(m.capability, m.name, m.direction) for m in MESSAGES]
    assert len(set(routes)) == len(routes)
    assert len(set(messages)) == len(messages)
