"""Who changed what, when and from where, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from popham.manager.grant import Grant
from popham.model.names import canonical
from popham.store.rows import AuditRow
from popham.store.seam import Writing


def note(
    tx: Writing,
    grant: Grant,
    method: str,
    about: str,
    *,
    now: float,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditRow:
    """Append a change to the audit, and return it with its number.

    Args:
        tx: The transaction that makes the change.
        grant: Who, and from where.
        method: What was called, such as ``apply`` or ``agent.accept``.
        about: The object, such as ``group/paris``.
        now: Unix seconds.
        before: The object before, without secrets; None if it was not there.
        after: The object after; None if it is gone.
    """
    row = AuditRow(
        at=now,
        actor=grant.actor,
        source=grant.source,
        method=method,
        object=about,
        before=_text(before),
        after=_text(after),
    )
    return tx.add_audit(row)


def _text(value: Mapping[str, Any] | None) -> str:
    return "" if value is None else canonical(value).decode()
