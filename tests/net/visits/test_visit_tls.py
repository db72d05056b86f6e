"""TLS of visits: our own authority without names and times, a web server's with both, sessions resumed."""

import datetime as dt

import pytest

from popham.errors import ConfigError, VisitError
from popham.net import tls, visit_tls
from popham.net.visit_tls import VisitContexts, visit_context


async def refusal(awaitable):
    with pytest.raises(VisitError) as caught:
        await awaitable
    return caught.value


@pytest.fixture
def elsewhere(authority):
    """A listener whose certificate is for another name, and has expired."""
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    files = authority.files(
        "old", "agent.example", not_after=yesterday, not_before=yesterday - dt.timedelta(7)
    )
    return tls.server_context(*files)


async def test_an_agent_is_known_by_authority_and_key_not_by_name_and_time(
    serve_visits, visit, party, authority, elsewhere
):
    listener = await serve_visits(context=elsewhere)
    seen = []
    dialer = visit(listener, context=visit_context("agent", authority.pem), verify=seen.append)
    asked = party.ask()
    assert party.open(asked, await dialer.post(asked)).keyid == "identity"
    await dialer.post(party.ask())
    assert len(seen) == 1
    assert seen[0][:2] == b"\x30\x82", "a certificate as DER"


@pytest.mark.parametrize("way", ["post", "hold"])
async def test_nothing_is_sent_to_another_agent(
    serve_visits, visit, visited, party, authority, listener_context, way
):
    def verify(_der):
        raise VisitError("identity", "another agent answers")

    context = visit_context("agent", authority.pem)
    dialer = visit(await serve_visits(context=listener_context), context=context, verify=verify)
    error = await refusal(getattr(dialer, way)(party.ask("hold" if way == "hold" else "visit")))
    assert error.code == "visit.identity"
    assert visited.requests == []


async def test_a_certificate_of_another_authority_is_told(
    serve_visits, visit, party, make_authority, listener_context
):
    context = visit_context("agent", make_authority().pem)
    error = await refusal(
        visit(await serve_visits(context=listener_context), context=context).post(party.ask())
    )
    assert error.code == "visit.tls"
    assert "an authority that is not trusted" in error.problem
    assert "tls: web" in error.hint


async def test_f_l12_an_agent_without_a_certificate_of_ours_is_reached_unverified(
    serve_visits, visit, party, listener_context
):
    dialer = visit(await serve_visits(context=listener_context), context=visit_context("agent"))
    assert (await dialer.post(party.ask("birth"))).status == 200


async def test_f_l4_a_web_server_is_known_by_its_name(
    serve_visits, visit, party, authority, elsewhere, listener_context
):
    context = visit_context("web", authority.pem)
    good = visit(await serve_visits(context=listener_context), context=context, tls="web", ca=authority.pem)
    assert (await good.post(party.ask())).status == 200
    error = await refusal(
        visit(await serve_visits(context=elsewhere), context=context, tls="web").post(party.ask())
    )
    assert error.code == "visit.tls"
    assert "certificate" in error.problem
    machine = visit_context("web")
    error = await refusal(
        visit(await serve_visits(context=listener_context), context=machine, tls="web").post(party.ask())
    )
    assert error.code == "visit.tls"


async def test_what_speaks_no_tls_is_told(serve_visits, visit, party, authority):
    error = await refusal(
        visit(await serve_visits(), context=visit_context("agent", authority.pem)).post(party.ask())
    )
    assert error.code == "visit.tls"
    assert "does not speak TLS" in error.problem


async def test_sessions_are_resumed_by_one_context_for_many_agents(
    serve_visits, visit, party, authority, listener_context
):
    context = visit_context("agent", authority.pem)
    listener = await serve_visits(context=listener_context)
    seen = []
    for host in ("127.0.0.1", "localhost"):
        dialer = visit(listener, host=host, context=context, verify=seen.append)
        for _ in range(7):
            await dialer.post(party.ask())
            await dialer.aclose()
    assert listener_context.session_stats()["hits"] == 12
    assert len(context._sessions) == 2
    assert len(seen) == 14, "also a resumed connection shows whose it is"


async def test_sessions_are_bounded(serve_visits, visit, party, authority, listener_context, monkeypatch):
    monkeypatch.setattr(visit_tls, "SESSIONS", 1)
    context = visit_context("agent", authority.pem)
    listener = await serve_visits(context=listener_context)
    for host in ("127.0.0.1", "localhost"):
        await visit(listener, host=host, context=context).post(party.ask())
    assert list(context._sessions) == ["localhost"]


def test_no_tls_has_no_context_and_an_authority_is_pem():
    assert visit_context("off") is None
    with pytest.raises(ConfigError) as caught:
        visit_context("web", "no certificate")
    assert caught.value.code == "config.tls"


def test_contexts_are_made_once_for_each_authority(authority, make_authority, monkeypatch):
    contexts = VisitContexts(authority.pem)
    agent, web = contexts.find("agent"), contexts.find("web")
    assert contexts.find("agent") is agent
    assert contexts.find("agent", make_authority().pem) is agent, "agents have our own"
    assert contexts.find("agent", born=False) is not agent
    assert contexts.find("web") is web
    assert contexts.find("web", authority.pem) not in {agent, web}
    assert contexts.find("off") is None
    monkeypatch.setattr(visit_tls, "AUTHORITIES", 2)
    for _ in range(3):
        contexts.find("web", make_authority().pem)
    contexts._made.popitem()
    assert contexts.find("agent") is not agent
