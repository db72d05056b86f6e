"""The registry walked against the real routes, and the routes against every identity."""

import pytest
from fastapi.routing import iter_route_contexts

from popham.api.app import create_app
from popham.manager.grant import Role
from popham.model.registry import ADMIN, NONE, OPERATOR, ROUTES, VIEWER, IdentityKind, Listener

PEOPLE = [route for route in ROUTES if route.listener is Listener.PEOPLE]


def routes_of(app):
    """Return (method, path) of everything the application routes."""
    found = set()
    for context in iter_route_contexts(app.routes):
        methods = context.methods or {"GET"}
        found |= {(method, context.path) for method in methods - {"HEAD"}}
    return found


def test_sec_4_every_route_stands_in_the_registry_and_the_other_way_round():
    assert routes_of(create_app(None)) == {(route.method, route.path) for route in PEOPLE}


@pytest.mark.parametrize("route", PEOPLE, ids=lambda route: f"{route.method} {route.path}")
async def test_sec_4_every_route_refuses_who_is_not_named(rig, route):
    path = route.path.replace("{ref}", "web-1").replace("{name}", "fleet").replace("{id}", "0123456789abcdef")
    for who in (NONE, VIEWER, OPERATOR, ADMIN):  # whoever may do least asks first
        answer = await rig.client(who).request(route.method, path)
        if route.allows(who):
            allowed = answer.status_code not in {401, 403, 404, 405}
            assert allowed or answer.json()["code"].startswith("not_found."), who
            assert answer.status_code < 500, who
        else:
            assert answer.status_code == (401 if who is NONE else 403), who
            assert answer.json()["code"] == ("grant.missing" if who is NONE else "grant.not_permitted"), who


async def test_sec_4_a_route_without_an_entry_is_not_served(rig):
    app = create_app(rig.service)
    app.add_api_route("/api/v1/secret", lambda: {"leaked": True})
    assert ("GET", "/api/v1/secret") in routes_of(app)
    answer = await rig.client(app=app).get("/api/v1/secret")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found.route")


@pytest.mark.parametrize("name", ["docs", "redoc", "docs/oauth2-redirect", "api/v1/init", "api/v1/admins"])
async def test_sec_7_there_is_no_set_up_route_and_no_page_from_a_cdn(rig, name):
    assert (await rig.client().get(f"/{name}")).status_code == 404


def test_identities_of_people_are_the_roles_of_grants():
    assert {IdentityKind(role) for role in Role} == {VIEWER, OPERATOR, ADMIN}
