"""Agents join, are assigned, accepted, refused and revoked.

Rules:

1. An agent's identity is its key. A uid never passes to another key, and what
   was refused or revoked does not come back by enrolling again.
2. Only accepted agents have an assignment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

from popham.errors import ConflictError, EnrollmentError, NotFoundError
from popham.manager.agent_definitions import bind_named
from popham.manager.audit import note
from popham.manager.grant import Grant, Role
from popham.manager.overrides import Overrides
from popham.model.fleet import Admission, AgentKind
from popham.model.names import NAME_MAX, make_legal, nearest, show
from popham.store.rows import AgentRow, TokenRow
from popham.store.seam import Reading, Writing
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import Signer, seal

PAGE = 1000
"""Rows read at once."""
_NAMES_MAX = 1 << 20
_FRESH = "Give the machine a new state directory and enroll it again"


def join_agent(
    tx: Writing,
    director: Signer,
    token: TokenRow,
    *,
    uid: str,
    kind: AgentKind,
    name: str,
    now: float,
    address: str,
    spki: str = "",
    public_key: bytes = b"",
    labels: str = "{}",
    placed: Callable[[Reading, AgentRow], tuple[AgentRow, str]] = lambda _, row: (row, ""),
) -> AgentRow:
    """Return the agent that joins by ``token``, whose use has been counted: a new row, or the one it has.

    Args:
        tx: The transaction.
        director: Signs the assignment if the token accepts.
        token: As :func:`popham.manager.tokens.use_token` returned it.
        uid: instance_uid, as a UUID string.
        kind: ``own`` with a key, or ``stock``.
        name: What the machine calls itself; made unique and safe.
        now: Unix seconds.
        address: Where it came from.
        spki: SHA-256 of the public key, hexadecimal; empty for stock agents.
        public_key: Its DER; empty for stock agents.
        labels: JSON of what the machine's own configuration calls it.
        placed: Returns a new row as the rules of placement want it, and the name of that rule, or "".

    Raises:
        EnrollmentError: ``enrollment.uid_taken``, ``enrollment.key_taken``,
            ``enrollment.refused`` or ``enrollment.revoked``.
    """
    known = _known(tx, uid, spki)
    if known is not None:
        return known
    row = AgentRow(
        uid=uid,
        name=unique_name(tx, name),
        group=token.group,
        kind=kind,
        admission=Admission.ACCEPTED if token.accepts else Admission.NEW,
        first_seen=now,
        last_contact=now,
        spki=spki,
        public_key=public_key,
        labels=labels,
        address=address,
        token=token.id,
    )
    row, placement = placed(tx, row)
    row = assign(row, director, now=now) if token.accepts else row
    tx.put_agent(row)
    bind_named(tx, row)
    actor = Grant(actor=f"token {token.id}", role=Role.VIEWER, source=address)
    how = {"placement": placement, "labels": json.loads(row.operator_labels)} if placement else {}
    note(tx, actor, "agent.join", f"agent/{uid}", now=now, after=_describe(row) | how)
    return row


def assign(row: AgentRow, director: Signer, *, now: float, group: str = "") -> AgentRow:
    """Return ``row`` with a newly signed assignment to ``group``, or to the group it has.

    Stock agents have no key and get none.
    """
    row = replace(row, group=group or row.group)
    if row.kind != AgentKind.OWN or not row.spki:
        return row
    seq = max(row.assignment_seq + 1, int(now * 1000))
    overrides = Overrides.of(row)
    signed = Assignment(
        tenant=row.tenant,
        uid=row.uid,
        spki_sha256=row.spki,
        group=row.group,
        seq=seq,
        issued=int(now),
        dialer=overrides.dialer,
        may_dial=overrides.may_dial,
        candidate=overrides.candidate,
    )
    return replace(row, assignment=seal(ASSIGNMENT_TYPE, signed.payload(), director), assignment_seq=seq)


def reassign_all(tx: Writing, director: Signer, *, now: float) -> int:
    """Sign the assignment of every accepted agent anew: after a restore. Return how many."""
    count = 0
    for row in every_agent(tx):
        if row.admission == Admission.ACCEPTED:
            tx.put_agent(assign(row, director, now=now))
            count += 1
    return count


def admit(
    tx: Writing, grant: Grant, ref: str, admission: Admission, director: Signer, *, now: float
) -> AgentRow:
    """Accept, refuse or revoke an agent; asking for what is already so changes nothing.

    Raises:
        NotFoundError: There is no such agent.
        ConflictError: ``conflict.ambiguous``; ``conflict.admission`` for a step that does not exist:
            only new agents are refused, only accepted ones revoked.
    """
    row = find_agent(tx, ref)
    if row.admission == admission:
        return row
    steps = {Admission.REFUSED: (Admission.NEW,), Admission.REVOKED: (Admission.ACCEPTED,)}
    if row.admission not in steps.get(admission, tuple(Admission)):
        problem = f"agent {row.name!r} is {row.admission}, and cannot be {admission}"
        other = "revoke" if admission is Admission.REFUSED else "refuse"
        raise ConflictError("admission", problem, f"Use 'popham {other} agent' or 'popham accept agent'")
    after = replace(row, admission=admission)
    after = (
        assign(after, director, now=now)
        if admission is Admission.ACCEPTED
        else replace(after, assignment=b"")
    )
    tx.put_agent(after)
    note(
        tx,
        grant,
        f"agent.{_VERBS[admission]}",
        f"agent/{row.uid}",
        now=now,
        before=_describe(row),
        after=_describe(after),
    )
    return after


def find_agent(reading: Reading, ref: str) -> AgentRow:
    """Return the agent of this name or uid.

    Raises:
        NotFoundError: There is none (``not_found.agent``).
        ConflictError: Several have the name (``conflict.ambiguous``); the hint lists their uids.
    """
    row = reading.agent(ref)
    if row is not None:
        return row
    named = reading.agents_named(ref)
    if not named:
        some = [row.name for row in reading.agents(limit=PAGE)]
        hint = nearest(ref, some) if len(some) < PAGE else "See 'popham get agents'"
        raise NotFoundError("agent", f"there is no agent {show(ref)}", hint)
    if len(named) > 1:
        uids = ", ".join(row.uid for row in named[:10])
        raise ConflictError(
            "ambiguous", f"{len(named)} agents have the name {show(ref)}", f"Use a uid: {uids}"
        )
    return named[0]


def unique_name(reading: Reading, wanted: str) -> str:
    """Return a safe name from ``wanted`` that no agent has: ``web``, ``web-2``, ``web-3``.

    Of many machines with one name, the number is found by halving, not by counting.
    """
    base = make_legal(wanted)[:NAME_MAX] or "agent"
    if not reading.agents_named(base):
        return base
    taken, free = 1, 2
    while reading.agents_named(_numbered(base, free)):
        taken, free = free, 2 * free
        if free > _NAMES_MAX:
            raise EnrollmentError(
                "name", f"too many agents are called {base!r}", "Give the machines host names"
            )
    while free - taken > 1:
        middle = (taken + free) // 2
        if reading.agents_named(_numbered(base, middle)):
            taken = middle
        else:
            free = middle
    return _numbered(base, free)


def _numbered(base: str, number: int) -> str:
    suffix = f"-{number}"
    return base[: NAME_MAX - len(suffix)] + suffix


def every_agent(reading: Reading, group: str | None = None) -> Iterable[AgentRow]:
    """Yield all agents, or those of one group, by uid."""
    after = ""
    while rows := reading.agents(group=group, after=after, limit=PAGE):
        yield from rows
        after = rows[-1].uid


_VERBS = {
    Admission.ACCEPTED: "accept",
    Admission.REFUSED: "refuse",
    Admission.REVOKED: "revoke",
    Admission.NEW: "join",
}


def _known(tx: Reading, uid: str, spki: str) -> AgentRow | None:
    """Return the agent that joined with this uid and key before; None if neither is known."""
    known = tx.agent(uid)
    if known is not None:
        return _join_again(known, spki)
    if spki and tx.agent_by_spki(spki) is not None:
        raise EnrollmentError("key_taken", "this key belongs to another agent already", _FRESH)
    return None


def _join_again(known: AgentRow, spki: str) -> AgentRow:
    if known.spki != spki:
        problem = f"the uid {known.uid} belongs to an agent with another key"
        raise EnrollmentError("uid_taken", problem, _FRESH)
    hint = f"Accept it again: popham accept agent {known.name}"
    if known.admission == Admission.REFUSED:
        raise EnrollmentError("refused", "this agent was refused by an administrator", hint)
    if known.admission == Admission.REVOKED:
        raise EnrollmentError("revoked", "this agent was revoked by an administrator", hint)
    return known


def _describe(row: AgentRow) -> dict[str, object]:
    return {
        "name": row.name,
        "group": row.group,
        "kind": row.kind,
        "admission": row.admission,
        "assignment": row.assignment_seq,
    }
