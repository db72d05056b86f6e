"""The audit chain: every change names the digest of the change before it.

So a row that was changed, left out, moved or put in between shows when the
chain is followed (SEC-35, SEC-40).  That the newest rows are missing shows
only against a digest that was kept elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from popham.errors import StateError
from popham.model.names import canonical, digest
from popham.store.rows import AuditRow


def chain(row: AuditRow, before: AuditRow | None) -> AuditRow:
    """Return ``row`` as the one that follows ``before``, with ``seq``, ``prev`` and ``hash``."""
    seq, prev = (before.seq + 1, before.hash) if before else (1, "")
    # A whole number of seconds would be another text in JSON than the float the database returns.
    row = dataclasses.replace(row, at=float(row.at), seq=seq, prev=prev, hash="")
    return dataclasses.replace(row, hash=_digest(row))


def verify_chain(rows: Iterable[AuditRow], *, before: AuditRow | None = None, head: str | None = None) -> str:
    """Follow the chain through ``rows``, the oldest first, and return the digest of its last row.

    Args:
        rows: Changes of one tenant without a gap.
        before: The verified row before the first of them; None if they begin with the first of all.
        head: Digest that the last row must have; None if none was kept.

    Raises:
        StateError: ``state.audit``: the chain is broken; the problem names the first row at fault.
    """
    last = before
    for row in rows:
        expected = last.seq + 1 if last else 1
        if row != chain(row, last):
            problem = f"The audit chain is broken at entry {expected}: it was changed, moved or left out"
            raise StateError("audit", problem, "Compare with a backup; entries before this one are genuine")
        last = row
    found = last.hash if last else ""
    if head is not None and found != head:
        problem = "The audit chain ends before, or beside, the digest that was kept"
        raise StateError("audit", problem, "Compare with a backup; the newest entries are missing or changed")
    return found


def _digest(row: AuditRow) -> str:
    """Return the digest of everything in a row but its own digest."""
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    del fields["hash"]
    return digest(canonical(fields))
