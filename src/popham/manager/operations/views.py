"""What people are shown of operations; plain data, times in unix seconds, 0 for not yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from popham.manager.links import Links
from popham.manager.operations.choosing import Chosen, find_unreached, way_of
from popham.manager.operations.register import Register
from popham.manager.operations.stored import StoredOperation
from popham.manager.visit_why import START
from popham.model.operation import Kind, OperationState
from popham.store.rows import TargetRow
from popham.store.seam import Reading

LAST = 5
"""Operations that are shown of one agent, the newest."""
HINTS: Mapping[str, str] = MappingProxyType(
    {
        "operation.admission": "Accept it, if it belongs to the fleet: popham accept agent",
        "operation.download": "Turn it on: 'communication: {download: on}' in its group, and apply it",
        "operation.drifted": "On the machine, remove what stands in the way",
        "operation.generation": "Upgrade the agent",
        "operation.kind": "Try again once it was in touch",
        "operation.many": "Wait for them, or cancel some: popham op list --open",
        "operation.no_candidate": "Publish one: popham send --no-apply",
        "operation.stock": "Run our agent there",
        "operation.takes_nothing": "Let its configuration accept a remote configuration, or run our agent there",
        "operation.withheld": "If its group stays below that serial, lower 'minimum_serial'",
        "visit.off": START,
        "visit.refused": START,
    }
)
"""Code → the next step; codes of agents' own carry it in their sentence."""

UNSEEN = "what it printed is shown to those who may order it of this agent: popham op output"
"""In place of what a command printed, which may be anything that is on a machine."""
_PRINTED = frozenset({"", "operation.exit"})
"""Codes of targets whose text is what was printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """One operation.

    Attributes:
        name: Such as ``op12``.
        kind: What is ordered.
        args: What the kind needs.
        author, at, message: Who ordered it, when, and why.
        state: ``open``, or ``over`` once no target is open.
        counts: State → targets in it.
        targets: How many there are.
        unknown, ambiguous: Names that no agent has, and that several have.
        retry_of: Name of the operation that it repeats; empty for none.
        asked: Whom it was asked for.
        expires: After which nobody begins it.
    """

    name: str
    kind: str
    args: Mapping[str, Any]
    author: str
    at: float
    message: str
    state: str
    counts: Mapping[str, int]
    targets: int
    unknown: tuple[str, ...]
    ambiguous: tuple[str, ...]
    retry_of: str
    asked: Mapping[str, Any]
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputView:
    """What an operation printed or made at a target; ``kept`` is whether it is here, and can be had."""

    sha256: str
    length: int
    left_out: int
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationTargetView:
    """One target of an operation.

    Attributes:
        operation: Name of the operation.
        uid, name, group: Of the agent, when it was ordered.
        state: As :class:`popham.model.operation.OperationState`.
        code, text, hint: Why it failed, or what it said; and the next step.
        since: When it came into this state.
        sent: When it was told.
        began, ended: By the machine's clock.
        expires: After which nobody begins it.
        until: When the agent hears of it at the latest; None once it was told, or if nobody knows.
        way: ``held link``, ``heartbeat`` or ``visit`` while it is open; else empty.
        output: None if there is none.
        cancelled_by: Who asked to cancel it; empty if nobody did.
    """

    operation: str
    uid: str
    name: str
    group: str
    state: str
    code: str
    text: str
    hint: str
    since: float
    sent: float
    began: float
    ended: float
    expires: float
    until: float | None
    way: str
    output: OutputView | None
    cancelled_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalView:
    """Why nothing can be ordered of an agent: code, sentence, and the next step."""

    code: str
    detail: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTarget:
    """An agent that an operation would be for, and why; ``way`` and ``until`` as of :class:`OperationTargetView`."""

    uid: str
    name: str
    group: str
    why: str
    way: str
    until: float | None
    refusal: RefusalView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPlan:
    """Whom an operation would be for; names that no agent has, and that several have; what to think of before."""

    targets: tuple[PlannedTarget, ...]
    unknown: tuple[str, ...]
    ambiguous: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def view_operation(stored: StoredOperation, counts: Mapping[str, int]) -> OperationView:
    """Return the view of an operation whose targets are in these states."""
    return OperationView(
        name=stored.name,
        kind=str(stored.kind),
        args=dict(stored.args),
        author=stored.author,
        at=stored.at,
        message=stored.message,
        state="over" if stored.over else "open",
        counts=dict(counts),
        targets=stored.targets,
        unknown=stored.unknown,
        ambiguous=stored.ambiguous,
        retry_of=stored.retry_of,
        asked=stored.asked.as_dict(),
        expires=stored.expires,
    )


def hide_printed(kind: str, row: TargetRow) -> TargetRow:
    """Return a target without what a command printed; why it was not run stays."""
    printed = kind == Kind.RUN and row.text and row.code in _PRINTED
    return replace(row, text=UNSEEN) if printed else row


def view_target(
    tx: Reading, row: TargetRow, register: Register, links: Links, now: float
) -> OperationTargetView:
    """Return the view of one target."""
    way, until = "", None
    if row.open:
        agent = tx.agent(row.uid)
        promise, seen = (agent.promise, agent.last_contact) if agent is not None else (0.0, None)
        way, until = way_of(row.uid, promise, seen, register, links, now)
    output = None
    if row.output:
        kept = register.outputs.has(row.operation, row.uid)
        output = OutputView(sha256=row.output, length=row.length, left_out=row.left_out, kept=kept)
    return OperationTargetView(
        operation=f"op{row.operation}",
        uid=row.uid,
        name=row.name,
        group=row.group,
        state=row.state,
        code=row.code,
        text=row.text,
        hint=HINTS.get(row.code, ""),
        since=row.since,
        sent=row.sent,
        began=row.began,
        ended=row.ended,
        expires=row.expires,
        until=until if row.state == OperationState.QUEUED else None,
        way=way,
        output=output,
        cancelled_by=row.cancelled_by,
    )


def plan_target(agent: Chosen, row: TargetRow, register: Register, links: Links, now: float) -> PlannedTarget:
    """Return the view of a target before it is one; ``row`` is what it would be."""
    refusal, way, until = None, "", None
    unreached = find_unreached(agent, register, links, now) if row.open else None
    if row.open:
        way, until = way_of(agent.uid, agent.promise, agent.last_contact, register, links, now)
    if unreached is not None:
        refusal = RefusalView(code=unreached.code, detail=unreached.problem, hint=unreached.hint)
    elif not row.open:
        refusal = RefusalView(code=row.code, detail=row.text, hint=HINTS.get(row.code, ""))
    return PlannedTarget(
        uid=row.uid,
        name=row.name,
        group=row.group,
        why=agent.why,
        way=way,
        until=until,
        refusal=refusal,
    )


def view_last(tx: Reading, uid: str) -> list[dict[str, Any]]:
    """Return what was ordered of an agent last, as plain data."""
    found = []
    for row in tx.targets_of(uid, limit=LAST):
        operation = tx.operation(row.operation)
        kind = operation.kind if operation is not None else ""
        found.append(
            {
                "operation": f"op{row.operation}",
                "kind": kind,
                "state": row.state,
                "code": row.code,
                "text": hide_printed(kind, row).text,
                "since": row.since,
            }
        )
    return found
