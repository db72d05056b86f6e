"""Who dials one agent, whatever its group's settings say: one command, and a new assignment.

Rules:

1. It stands in the agent's assignment, so nobody between can switch it, and every later assignment keeps it.
2. The agent changes over as it does for any settings: the old way stays until a round came by the new one.
3. A stock agent dials; it holds nothing that could say otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from popham.errors import ConflictError
from popham.manager.agents import assign, find_agent
from popham.manager.audit import note
from popham.manager.grant import Grant
from popham.manager.overrides import Overrides
from popham.model.cell import Dialer
from popham.model.fleet import Admission, AgentKind
from popham.store.rows import AgentRow
from popham.store.seam import Writing
from popham.trust.dsse import Signer


def dial_agent(
    tx: Writing,
    grant: Grant,
    ref: str,
    director: Signer,
    *,
    dialer: Dialer | None,
    may_dial: bool = False,
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
        now: Unix seconds.

    Raises:
        NotFoundError: There is no such agent.
        ConflictError: ``conflict.ambiguous``; ``conflict.stock``; ``conflict.kind``: it has not said yet what it is.
    """
    row = find_agent(tx, ref)
    if row.kind == AgentKind.UNKNOWN:
        problem = f"agent {row.name!r} has not said yet what it is, and who may dial it"
        raise ConflictError("kind", problem, f"Once it was in touch: popham describe agent {row.name}")
    if row.kind != AgentKind.OWN:
        problem = f"agent {row.name!r} is a stock agent, and dials by itself"
        hint = "Behind a closed network, let it dial a Proxy Manager there, and dial that"
        raise ConflictError("stock", problem, hint)
    before = Overrides.of(row)
    after = Overrides(dialer=dialer, may_dial=may_dial or before.may_dial)
    if after == before:
        return row
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
