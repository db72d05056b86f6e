"""Who dials one agent, whatever its group's settings say: one command, and a new assignment.

Rules:

1. It stands in the agent's assignment, so nobody between can switch it, and every later assignment keeps it.
2. The agent changes over as it does for any settings: the old way stays until a round came by the new one.
3. A stock agent dials; it holds nothing that could say otherwise.
4. An agent before 0.5.0 takes no note of it, so it is not said.
5. Who was born by a visit is visited until somebody says otherwise: it may not dial.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from popham.errors import ConflictError, WireError
from popham.manager.agent_definitions import definition_of
from popham.manager.agents import assign, find_agent
from popham.manager.audit import note
from popham.manager.grant import Grant, Role
from popham.manager.overrides import Overrides
from popham.model.cell import Dialer
from popham.model.fleet import Admission, AgentKind
from popham.model.generation import GENERATION, check_generations, generation_of
from popham.model.status import STATE_TYPE, StateRecord
from popham.store.rows import AgentRow
from popham.store.seam import Writing
from popham.trust.dsse import Envelope, Signer


def dial_agent(
    tx: Writing,
    grant: Grant,
    ref: str,
    director: Signer,
    *,
    dialer: Dialer | None,
    may_dial: bool = False,
    at_proxy: Callable[[str], bool] = lambda _uid: False,
    now: float,
) -> AgentRow:
    """Say who dials one agent; what is so already changes nothing.

    Args:
        tx: The transaction.
        grant: Who says it.
        ref: Name or uid.
        director: Signs the assignment.
        dialer: Who opens connections; None for what the group's settings say.
        may_dial: Whether it may from now on dial although it was born by a visit; that is not taken back.
        at_proxy: Returns whether an agent is behind a Proxy Manager now, which would dial it then.
        now: Unix seconds.

    Raises:
        NotFoundError: There is no such agent.
        ConflictError: ``conflict.ambiguous``; ``conflict.stock``; ``conflict.kind``: it has not said yet what it is;
            ``conflict.walled``: nobody would dial it; ``conflict.generation``: it is too old to be dialled.
    """
    row = find_agent(tx, ref)
    if row.kind == AgentKind.UNKNOWN:
        problem = f"agent {row.name!r} has not said yet what it is, and who may dial it"
        raise ConflictError("kind", problem, f"Once it was in touch: popham describe agent {row.name}")
    if row.kind != AgentKind.OWN:
        problem = f"agent {row.name!r} is a stock agent, and dials by itself"
        hint = "Behind a closed network, let it dial a Proxy Manager there, and dial that"
        raise ConflictError("stock", problem, hint)
    if dialer is Dialer.MANAGER:
        _check_version(tx, row, at_proxy=at_proxy(row.uid))
    before = Overrides.of(row)
    after = replace(before, dialer=dialer, may_dial=may_dial or before.may_dial)
    if after == before:
        return row
    if after.walled and not after.may_dial and dialer is not Dialer.MANAGER:
        problem = f"agent {row.name!r} was born by a visit and may not dial, so nobody would"
        hint = f"If its network lets it now: popham dial {row.name} --by {dialer or 'group'} --may-dial"
        raise ConflictError("walled", problem, hint)
    changed = replace(row, overrides=after.encoded())
    if row.admission == Admission.ACCEPTED:
        changed = assign(changed, director, now=now)
    tx.put_agent(changed)
    note(
        tx,
        grant,
        "agent.dial",
        f"agent/{row.uid}",
        now=now,
        before=before.as_dict() | {"assignment": row.assignment_seq},
        after=after.as_dict() | {"assignment": changed.assignment_seq},
    )
    return changed


def _check_version(tx: Writing, row: AgentRow, *, at_proxy: bool) -> None:
    """Refuse to have an agent dialled that would take no note of it, or would not believe who dials."""
    version, said = str(json.loads(row.description).get("service.version", "")), 0
    if row.state:
        state = StateRecord.from_payload(Envelope.parse(row.state, types=(STATE_TYPE,)).payload)
        version, said = state.agent_version or version, state.generation
    definition = tx.agent_definition_of(row.uid)
    by_proxy = at_proxy if definition is None else bool(definition_of(definition).proxy)
    try:
        check_generations(GENERATION, generation_of(version, said), Dialer.MANAGER, proxy=by_proxy)
    except WireError as error:
        whom = "cannot be dialled by a Proxy Manager" if by_proxy else "cannot be dialled"
        problem = f"agent {row.name!r} is of version {version}, and {whom}"
        raise ConflictError("generation", problem, error.hint) from error


def visit_born(tx: Writing, row: AgentRow, director: Signer, *, now: float) -> AgentRow:
    """Have an agent visited that is born by a visit; one of which somebody said otherwise stays as it is.

    Args:
        tx: The transaction.
        row: The agent, in the transaction of its enrollment.
        director: Signs the assignment.
        now: Unix seconds.
    """
    before = Overrides.of(row)
    if before.may_dial or before.walled:
        return row
    after = replace(before, dialer=Dialer.MANAGER, walled=True)
    changed = replace(row, overrides=after.encoded())
    if row.admission == Admission.ACCEPTED:
        changed = assign(changed, director, now=now)
    tx.put_agent(changed)
    born = Grant(actor=f"token {row.token}", role=Role.VIEWER, source=row.address)
    note(
        tx,
        born,
        "agent.dial",
        f"agent/{row.uid}",
        now=now,
        before=before.as_dict(),
        after=after.as_dict() | {"assignment": changed.assignment_seq},
    )
    return changed
