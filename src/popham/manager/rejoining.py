"""Agents that changed their key after the backup from which this Manager was restored.

Rules:

1. A certificate of our CA for a known agent, and another key, is believed if it was issued after the backup and
   before the restore: then it was this Manager that gave it, and has forgotten it.
2. Of several keys that an agent had in that time the newest is believed: nobody goes back to one before.
3. Outside that time, and for agents that are not accepted, nothing is believed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from popham.manager.agents import assign
from popham.manager.audit import note
from popham.manager.grant import Grant, Role
from popham.model.fleet import Admission, AgentKind
from popham.store.rows import AgentRow
from popham.store.seam import Reading, Writing
from popham.trust.dsse import Signer
from popham.trust.keys import PublicKey

SERVED: Final = "alive_at"
"""Value of the database: when its Manager was alive last, in unix seconds."""
_FORGOTTEN: Final = "restored_between"
"""Value of the database: backup and restore, in unix seconds."""
_REKEYED: Final = "rekeyed/"
"""Beginning of a value of the database; with a uid: when the key that was believed last got its certificate."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The time of which a restored Manager knows nothing, in unix seconds; none if it ends before it begins."""

    begin: float = math.inf
    end: float = -math.inf

    @classmethod
    def parse(cls, text: str) -> Forgotten:
        """Return the time between restore and backup, which stand in this order in ``text``; none if one is missing."""
        end, _, begin = text.partition(" ")
        return cls(float(begin), float(end)) if begin else cls()

    def __contains__(self, at: float) -> bool:
        """Return whether a moment is in it."""
        return self.begin < at <= self.end


def read_forgotten(tx: Reading) -> Forgotten:
    """Return the time of which this Manager knows nothing."""
    return Forgotten.parse(tx.meta(_FORGOTTEN) or "")


def note_forgotten(tx: Writing, restored: str) -> None:
    """Keep of which time nothing is known, by what :func:`popham.manager.backup.restore` said.

    What the database tells of was done while its Manager was alive, also where it is newer than the backup of the
    keys, as one in PostgreSQL may be.
    """
    found, alive = Forgotten.parse(restored), float(tx.meta(SERVED) or 0)
    if found.begin <= found.end:
        tx.set_meta(_FORGOTTEN, f"{found.end!r} {max(found.begin, alive)!r}")


def rejoin(
    tx: Writing,
    director: Signer,
    row: AgentRow,
    public_der: bytes,
    issued: float,
    until: float,
    *,
    now: float,
    address: str,
) -> AgentRow | None:
    """Return an agent with the key of its certificate, and an assignment that names it; None if that is not believed.

    Args:
        tx: The transaction.
        director: Signs the assignment.
        row: The agent as it is known.
        public_der: Its key (SPKI), which whoever asks has proven to have.
        issued: When its certificate was issued, in unix seconds.
        until: When that ends.
        now: Unix seconds.
        address: From where it came.
    """
    own = row.kind == AgentKind.OWN and row.admission == Admission.ACCEPTED
    last = float(tx.meta(_REKEYED + row.uid) or -math.inf)
    spki = PublicKey.from_der(public_der).keyid
    if not own or issued not in read_forgotten(tx) or issued <= last or tx.agent_by_spki(spki) is not None:
        return None
    fresh = replace(
        row,
        spki=spki,
        public_key=public_der,
        former_key=row.public_key,
        certificate_serial="",
        certificate_until=until,
    )
    fresh = assign(fresh, director, now=now)
    tx.put_agent(fresh)
    tx.set_meta(_REKEYED + row.uid, repr(issued))
    actor = Grant(actor=f"certificate of {row.uid}", role=Role.VIEWER, source=address)
    before = {"spki": row.spki, "assignment": row.assignment_seq}
    after = {"spki": fresh.spki, "assignment": fresh.assignment_seq, "certificate_issued": issued}
    note(tx, actor, "agent.rejoin", f"agent/{row.uid}", now=now, before=before, after=after)
    return fresh
