"""Which agent is the Proxy Manager of a definition.

Rules:

1. A machine asks to be one by a token for that definition, and is one only once a person accepts it.
2. Until it is accepted, whoever is the proxy now stays that; then the one of the newer token takes its place.
3. An agent is the proxy of a definition exactly while it is bound to it, accepted, and joined by a token for it: a
   definition that is deleted, or a proxy that is revoked, ends it (SEC-30).
"""

from __future__ import annotations

from dataclasses import replace

from popham.errors import EnrollmentError
from popham.manager.agents import unique_name
from popham.manager.audit import note
from popham.manager.grant import Grant, Role
from popham.manager.proxies.definitions import proxy_definition_of
from popham.model.fleet import Admission
from popham.model.proxy_definition import ProxyDefinition
from popham.store.rows import AgentRow, ProxyRow, TokenRow
from popham.store.seam import Reading, Writing


def proxy_it_is(reading: Reading, row: AgentRow) -> ProxyDefinition | None:
    """Return the definition of the proxy that an agent is now; None if it is none."""
    bound = reading.proxy_of(row.uid)
    if bound is None or row.admission != Admission.ACCEPTED or not _joined_for(reading, row, bound.name):
        return None
    return proxy_definition_of(bound)


def proxy_it_asks_for(reading: Reading, row: AgentRow) -> ProxyRow | None:
    """Return the definition for which an agent joined, or is one already; None if there is none, or not any more."""
    token = reading.token(row.token) if row.token else None
    return reading.proxy(token.proxy) if token is not None and token.proxy else None


def join_as_proxy(tx: Writing, row: AgentRow, token: TokenRow, *, now: float) -> AgentRow:
    """Return the agent that joined by a token for a proxy: it has the name of the definition, and waits.

    Who was known before, with the same key, waits anew; an agent that has the name makes room.

    Args:
        tx: The transaction.
        row: As :func:`popham.manager.agents.join_agent` stored it.
        token: Whose use has been counted.
        now: Unix seconds.

    Raises:
        EnrollmentError: ``enrollment.unknown_proxy``: its definition is gone.
    """
    bound = tx.proxy(token.proxy)
    if bound is None:
        problem = f"this join string is for the proxy {token.proxy!r}, which is not defined any more"
        hint = "Apply its definition again, and make a new token: popham token create --proxy NAME"
        raise EnrollmentError("unknown_proxy", problem, hint)
    if row.token != token.id:
        row = replace(row, token=token.id, admission=Admission.NEW, assignment=b"")
    row = _named(tx, row, bound.name, now=now)
    if not bound.uid or _is_gone(tx.agent(bound.uid)):
        _bind(tx, bound, row, now=now)
    return row


def accept_as_proxy(tx: Writing, row: AgentRow, *, now: float) -> None:
    """Bind the definition for which an agent joined that has just been accepted, if it is not a newer one's."""
    bound = proxy_it_asks_for(tx, row)
    if bound is None or bound.uid == row.uid:
        return
    former = tx.agent(bound.uid) if bound.uid else None
    if former is not None and not _is_gone(former) and _joined_at(tx, former) > _joined_at(tx, row):
        return
    _bind(tx, bound, row, now=now)


def _named(tx: Writing, row: AgentRow, name: str, *, now: float) -> AgentRow:
    """Return an agent with a name that it is given; whoever has it is given another."""
    others = [other for other in tx.agents_named(name) if other.uid != row.uid]
    row = replace(row, name=name)
    tx.put_agent(row)
    for other in others:
        before, after = {"name": name}, {"name": unique_name(tx, name)}
        tx.put_agent(replace(other, name=after["name"]))
        note(tx, _token_of(row), "agent.name", f"agent/{other.uid}", now=now, before=before, after=after)
    return row


def _token_of(row: AgentRow) -> Grant:
    return Grant(actor=f"token {row.token}", role=Role.VIEWER, source=row.address)


def _bind(tx: Writing, bound: ProxyRow, row: AgentRow, *, now: float) -> None:
    tx.put_proxy(replace(bound, uid=row.uid))
    before, after = {"uid": bound.uid}, {"uid": row.uid}
    note(tx, _token_of(row), "proxy.bind", f"proxy/{bound.name}", now=now, before=before, after=after)


def _joined_for(reading: Reading, row: AgentRow, name: str) -> bool:
    token = reading.token(row.token) if row.token else None
    return token is not None and token.proxy == name


def _joined_at(reading: Reading, row: AgentRow) -> float:
    """Return when the token was made by which an agent joined; 0 if it is not known."""
    token = reading.token(row.token) if row.token else None
    return token.created if token is not None else 0.0


def _is_gone(row: AgentRow | None) -> bool:
    return row is None or row.admission in {Admission.REFUSED, Admission.REVOKED}
