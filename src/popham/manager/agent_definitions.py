"""Where agents are visited: definitions of kind Agent are stored, bound to agents, shown and deleted.

Rules:

1. No two definitions name one place, and no two are bound to one agent.
2. A definition is bound to the agent with the uid that it names, else to the one of its name, else to whoever is
   born or answers there first; that uid is kept in the row, and stays when the definition is applied again.
3. A password is in the row's body alone: the audit and the base of a plan say that it changed, never what it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from popham.errors import ConflictError, NotFoundError
from popham.manager.apply_views import Change
from popham.manager.audit import note
from popham.manager.grant import Grant
from popham.manager.views import AgentDefinitionView
from popham.manager.visit_views import VisitView
from popham.manager.visit_why import state_of_definition
from popham.model.agent_definition import (
    AGENT_DEFINITIONS_MAX,
    SECRETS,
    AgentDefinition,
    without_secrets,
)
from popham.model.findings import Findings
from popham.model.fleet import Admission, AgentKind
from popham.model.managed import SOURCE, refuse_edit
from popham.model.names import canonical, nearest, show
from popham.model.relations import same_place, same_uid
from popham.model.types.redaction import CHANGED, HIDDEN
from popham.model.wanted import WantedAgent
from popham.net.visiting import Place
from popham.store.rows import AgentDefinitionRow, AgentRow
from popham.store.seam import Reading, Writing

_NEAR = 1000
"""Definitions among which the nearest name is looked for."""
Owner = Callable[[Mapping[str, str], Mapping[str, str]], dict[str, str]]
Editor = Callable[[str, Mapping[str, str]], None]
Noter = Callable[[str, Mapping[str, Any] | None, Mapping[str, Any]], None]


def definition_of(row: AgentDefinitionRow) -> AgentDefinition:
    """Return the definition that a row keeps."""
    return AgentDefinition.from_dict(row.name, json.loads(row.body)["spec"])


def visit_place(definition: AgentDefinition) -> Place:
    """Return where to go, as who dials takes it."""
    found = definition.place()
    return Place(
        url=found.url,
        tls=found.tls,
        http_proxy=found.http_proxy,
        password=found.password,
        ca=found.ca,
    )


def annotations_of(row: AgentDefinitionRow) -> dict[str, str]:
    """Return the annotations that a row keeps."""
    found: dict[str, str] = json.loads(row.body).get("annotations", {})
    return found


def definition_row(
    definition: AgentDefinition, annotations: Mapping[str, str], *, uid: str, edition: int
) -> AgentDefinitionRow:
    """Return the row that keeps a definition, bound to ``uid``."""
    body = {"spec": definition.as_dict()} | ({"annotations": dict(annotations)} if annotations else {})
    return AgentDefinitionRow(
        name=definition.name,
        body=canonical(body).decode(),
        place=definition.where,
        uid=uid,
        edition=edition,
        source=annotations.get(SOURCE, ""),
        proxy=definition.proxy,
    )


def describe(row: AgentDefinitionRow, against: AgentDefinitionRow | None = None) -> dict[str, Any]:
    """Return a row for the audit: without passwords, though it says which one ``against`` has otherwise."""
    body = json.loads(row.body)
    spec, other = body["spec"], json.loads(against.body)["spec"] if against else None
    shown = without_secrets(spec, HIDDEN)
    for key in SECRETS:
        if other is not None and spec.get(key) and spec.get(key) != other.get(key):
            shown[key] = CHANGED
    return {**body, "spec": shown} | ({"uid": row.uid} if row.uid else {})


def base_of(row: AgentDefinitionRow) -> dict[str, Any]:
    """Return what the base of a plan is made of: the edition stands for the passwords."""
    held = describe(row) | {"edition": row.edition}
    # Who answers there is found out meanwhile, and nobody's edit.
    return {key: value for key, value in held.items() if key != "uid"}


class Known:
    """Definitions as they were when they were first asked for: of many, only those that are."""

    def __init__(self, reading: Reading) -> None:
        """Read nothing yet."""
        self._reading = reading
        self._rows: dict[str, AgentDefinitionRow | None] = {}
        self._sources: dict[str, list[str]] = {}

    def row(self, name: str) -> AgentDefinitionRow | None:
        """Return the row of this name; None if there is none."""
        if name not in self._rows:
            self._rows[name] = self._reading.agent_definition(name)
        return self._rows[name]

    def of_source(self, source: str) -> list[str]:
        """Return the names of those that belong to a source, sorted."""
        if source not in self._sources:
            self._sources[source] = [row.name for row in self._reading.agent_definitions_from(source)]
        return self._sources[source]


def find_definition(reading: Reading, name: str) -> AgentDefinitionRow:
    """Return the definition of this name; raises NotFoundError ``not_found.agent_definition``."""
    row = reading.agent_definition(name)
    if row is None:
        known = [one.name for one in reading.agent_definitions(limit=_NEAR)]
        hint = nearest(name, known) if len(known) < _NEAR else "See 'popham get agent-definitions'"
        raise NotFoundError("agent_definition", f"there is no agent definition {show(name)}", hint)
    return row


def check_agents(reading: Reading, agents: Sequence[WantedAgent], findings: Findings) -> None:
    """Add to ``findings`` what does not fit what is stored: places and agents that others have, and too many."""
    names = {wanted.name for wanted in agents}
    fresh = 0
    for wanted in agents:
        found = wanted.definition
        other = reading.agent_definition_at(found.where)
        if other is not None and other.name not in names:
            findings.add(wanted.place.wrong("address", "agent_place", *same_place(found.where, other.name)))
        other = reading.agent_definition_of(found.uid)
        if other is not None and other.name not in names:
            findings.add(wanted.place.wrong("uid", "agent_uid", *same_uid(found.uid, other.name)))
        fresh += reading.agent_definition(wanted.name) is None
    if fresh and reading.agent_definition_count() + fresh > AGENT_DEFINITIONS_MAX:
        problem = f"there would be more than {AGENT_DEFINITIONS_MAX} agent definitions"
        hint = "Delete some, or put a Proxy Manager between: popham get agent-definitions"
        findings.add(agents[0].place.wrong("name", "agent", problem, hint))


def put_agents(
    tx: Writing, agents: Sequence[WantedAgent], *, own: Owner, edit: Editor, noted: Noter
) -> Iterator[Change]:
    """Store the definitions that changed, and yield what became of each.

    Args:
        tx: The transaction.
        agents: What is wanted; :func:`check_agents` found nothing.
        own: Returns the annotations to keep, of those that are written and those that are kept.
        edit: Refuses to edit an object with these annotations.
        noted: Writes the audit.
    """
    old = {wanted.name: tx.agent_definition(wanted.name) for wanted in agents}
    named = {wanted.definition.uid for wanted in agents}
    # Bound anew are first those that name their agent, so that nobody else's name takes it.
    for wanted in sorted(agents, key=lambda one: not one.definition.uid):
        row = old[wanted.name]
        held = annotations_of(row) if row else {}
        annotations = own(wanted.annotations, held)
        uid = _bound(tx, wanted.definition, row, named)
        fresh = definition_row(wanted.definition, annotations, uid=uid, edition=row.edition + 1 if row else 1)
        if row is not None and row.body == fresh.body:
            if row.uid != uid:
                tx.put_agent_definition(replace(row, uid=uid))
            continue
        edit(f"agent/{wanted.name}", held)
        tx.put_agent_definition(fresh)
        noted(f"agent/{wanted.name}", describe(row) if row else None, describe(fresh, row))
    for wanted in agents:
        row, now = old[wanted.name], tx.agent_definition(wanted.name)
        same = row is not None and now is not None and row.body == now.body
        action = "created" if row is None else "unchanged" if same else "changed"
        yield Change(kind="Agent", name=wanted.name, action=action)


def _bound(
    reading: Reading, definition: AgentDefinition, row: AgentDefinitionRow | None, named: Collection[str]
) -> str:
    """Return the uid of the agent that a definition is bound to; empty if there is none yet.

    ``named`` are those that definitions of the same apply name; they are nobody else's.
    """
    if definition.uid:
        return definition.uid
    if row is not None and row.uid and row.uid not in named and not definition_of(row).uid:
        return row.uid
    return named_agent(reading, definition.name)


def named_agent(reading: Reading, name: str) -> str:
    """Return the uid of the one agent of ours that has this name and no other definition; else nothing."""
    found = [one.uid for one in reading.agents_named(name) if one.kind != AgentKind.STOCK]
    if len(found) != 1:
        return ""
    other = reading.agent_definition_of(found[0])
    return found[0] if other is None or other.name == name else ""


def bind(tx: Writing, grant: Grant, name: str, uid: str, *, now: float) -> AgentDefinitionRow:
    """Bind a definition to the agent that was born there, or answered there first.

    Raises:
        NotFoundError: ``not_found.agent_definition``.
        ConflictError: ``conflict.bound``: it is another agent's, or the agent has another definition.
    """
    row = find_definition(tx, name)
    if row.uid == uid:
        return row
    if row.uid and (definition_of(row).uid or not _is_gone(tx.agent(row.uid))):
        problem = f"agent definition {name!r} is bound to agent {row.uid}, and {uid} answers there"
        hint = f"If the machine was set up anew, delete the definition and apply it again: popham delete agent-definition {name}"
        raise ConflictError("bound", problem, hint)
    other = tx.agent_definition_of(uid)
    if other is not None:
        problem = f"agent {uid} already has the agent definition {other.name!r}, and {name!r} leads to it too"
        raise ConflictError("bound", problem, f"Keep one of them: popham delete agent-definition {name}")
    bound = replace(row, uid=uid)
    tx.put_agent_definition(bound)
    note(tx, grant, "agent.bind", f"agent/{name}", now=now, before={"uid": row.uid}, after={"uid": uid})
    return bound


def _is_gone(row: AgentRow | None) -> bool:
    """Return whether an agent is not there any more, or is given nothing any more."""
    return row is None or row.admission in {Admission.REFUSED, Admission.REVOKED}


def bind_named(tx: Writing, row: AgentRow) -> None:
    """Bind the definition of the name with which an agent joins, if it is nobody's yet."""
    found = tx.agent_definition(row.name) if row.kind != AgentKind.STOCK else None
    if found is not None and not found.uid and tx.agent_definition_of(row.uid) is None:
        tx.put_agent_definition(replace(found, uid=row.uid))


def delete_agent_definition(tx: Writing, grant: Grant, name: str, *, now: float, source: str = "") -> None:
    """Delete a definition; the agent stays, and is not visited there any more.

    One that is managed elsewhere is deleted as that ``source`` only.

    Raises:
        NotFoundError: ``not_found.agent_definition``.
        ConflictError: ``conflict.managed``.
    """
    row = find_definition(tx, name)
    refuse_edit(f"agent/{name}", annotations_of(row), source)
    tx.delete_agent_definition(name)
    note(tx, grant, "agent-definition.delete", f"agent/{name}", now=now, before=describe(row))


def view_definition(
    reading: Reading, row: AgentDefinitionRow, visit: VisitView | None = None
) -> AgentDefinitionView:
    """Return what people are shown of a definition and of visits there: which passwords there are, and none of them."""
    found = definition_of(row)
    agent = reading.agent(row.uid) if row.uid else None
    return AgentDefinitionView(
        name=row.name,
        url=found.url,
        address=found.address,
        port=found.port,
        prefix=found.prefix,
        tls=str(found.tls),
        ca=found.ca,
        http_proxy=found.http_proxy,
        secrets=tuple(key for key in SECRETS if getattr(found, key)),
        uid=row.uid,
        agent=agent.name if agent else "",
        annotations=annotations_of(row),
        proxy=row.proxy,
        edition=row.edition,
        state=state_of_definition(visit, agent.admission if agent else "", row.proxy),
        visit=visit,
    )
