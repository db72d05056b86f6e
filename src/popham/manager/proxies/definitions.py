"""Definitions of kind Proxy: stored, shown in audit and plans, and deleted.

Rules:

1. The agent that is a proxy is kept in the row; it stays when the definition is applied again, and is gone with it.
2. A definition that is deleted takes its tokens with it: one of the same name later is another proxy.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from popham.errors import ConflictError, NotFoundError
from popham.manager.agent_definitions import Editor, Noter, Owner
from popham.manager.apply_views import Change
from popham.manager.audit import note
from popham.manager.grant import Grant
from popham.manager.objects import show_some
from popham.model.definition import Definitions
from popham.model.findings import Findings
from popham.model.managed import SOURCE, refuse_edit
from popham.model.names import canonical, nearest, show
from popham.model.proxy_definition import PROXIES_MAX, ProxyDefinition
from popham.model.wanted import WantedProxy
from popham.store.rows import ProxyRow
from popham.store.seam import Reading, Writing

_NAMED = 5
"""Agents that a refusal names."""


def proxy_definition_of(row: ProxyRow) -> ProxyDefinition:
    """Return the definition that a row keeps."""
    return ProxyDefinition.from_dict(row.name, json.loads(row.body)["spec"])


def annotations_of_proxy(row: ProxyRow) -> dict[str, str]:
    """Return the annotations that a row keeps."""
    found: dict[str, str] = json.loads(row.body).get("annotations", {})
    return found


def proxy_row(
    definition: ProxyDefinition, annotations: Mapping[str, str], *, uid: str, edition: int, now: float
) -> ProxyRow:
    """Return the row that keeps a definition, bound to ``uid``."""
    body = {"spec": definition.as_dict()} | ({"annotations": dict(annotations)} if annotations else {})
    return ProxyRow(
        name=definition.name,
        body=canonical(body).decode(),
        changed=now,
        uid=uid,
        edition=edition,
        source=annotations.get(SOURCE, ""),
    )


def describe_proxy(row: ProxyRow) -> dict[str, Any]:
    """Return a row for the audit and for the base of a plan: who is the proxy is nobody's edit."""
    found: dict[str, Any] = json.loads(row.body)
    return found


def find_proxy(reading: Reading, name: str) -> ProxyRow:
    """Return the definition of this name; raises NotFoundError ``not_found.proxy``."""
    row = reading.proxy(name)
    if row is None:
        hint = nearest(name, [known.name for known in reading.proxies()])
        raise NotFoundError("proxy", f"there is no proxy {show(name)}", hint)
    return row


def check_proxies(reading: Reading, definitions: Definitions, findings: Findings) -> None:
    """Add to ``findings`` the proxy that would be one too many, and agents of proxies that are not there."""
    named = [wanted for wanted in definitions.agents if wanted.definition.proxy]
    if not definitions.proxies and not named:
        return
    known = {row.name for row in reading.proxies()}
    for wanted in definitions.proxies:
        known.add(wanted.name)
        if len(known) > PROXIES_MAX:
            problem = f"there would be more than {PROXIES_MAX} proxies"
            hint = "Delete some: popham get proxies"
            findings.add(wanted.place.wrong("name", "proxy", problem, hint))
            return
    for agent in named:
        proxy = agent.definition.proxy
        if proxy not in known:
            problem = f"proxy: there is no proxy {proxy!r}"
            hint = nearest(proxy, known) or "Apply a definition of 'kind: Proxy' with it"
            findings.add(agent.place.wrong("proxy", "unknown_proxy", problem, hint))


def put_proxies(
    tx: Writing, proxies: Sequence[WantedProxy], *, now: float, own: Owner, edit: Editor, noted: Noter
) -> Iterator[Change]:
    """Store the definitions that changed, and yield what became of each.

    Args:
        tx: The transaction.
        proxies: What is wanted; :func:`check_proxies` found nothing.
        now: Unix seconds.
        own: Returns the annotations to keep, of those that are written and those that are kept.
        edit: Refuses to edit an object with these annotations.
        noted: Writes the audit.
    """
    for wanted in proxies:
        row = tx.proxy(wanted.name)
        held = annotations_of_proxy(row) if row else {}
        annotations = own(wanted.annotations, held)
        uid, edition = (row.uid, row.edition + 1) if row else ("", 1)
        fresh = proxy_row(wanted.definition, annotations, uid=uid, edition=edition, now=now)
        action = "created" if row is None else "changed"
        if row is not None and row.body == fresh.body:
            action = "unchanged"
        else:
            edit(f"proxy/{wanted.name}", held)
            tx.put_proxy(fresh)
            noted(f"proxy/{wanted.name}", describe_proxy(row) if row else None, describe_proxy(fresh))
        yield Change(kind="Proxy", name=wanted.name, action=action)


def delete_proxy(
    tx: Writing, grant: Grant, name: str, *, now: float, source: str = "", going: Collection[str] = ()
) -> None:
    """Delete a definition: its agent stays, as an agent like any other, and speaks for nobody.

    One that is managed elsewhere is deleted as that ``source`` only.  Definitions that are ``going`` too
    (``agent/web1``) do not need it.

    Raises:
        NotFoundError: ``not_found.proxy``.
        ConflictError: ``conflict.visited``: it is to visit agents; ``conflict.managed``.
    """
    row = find_proxy(tx, name)
    refuse_edit(f"proxy/{name}", annotations_of_proxy(row), source)
    agents = [one.name for one in tx.agent_definitions_by(name) if f"agent/{one.name}" not in going]
    if agents:
        problem = f"proxy {name!r} is to visit {show_some(agents, _NAMED)}"
        hint = f"First take 'proxy: {name}' out of their definitions, or delete these"
        raise ConflictError("visited", problem, hint)
    tx.delete_proxy(name)
    for token in tx.tokens():
        if token.proxy == name and not token.revoked:
            tx.put_token(replace(token, revoked=True))
    note(tx, grant, "proxy.delete", f"proxy/{name}", now=now, before={**describe_proxy(row), "uid": row.uid})
