"""What stock agents are called: a provisional name at first, and one from their own description later.

Rules:

1. A name is given once.  What an agent says of itself later, or an
   administrator's eye already knows, is not renamed.
2. A name is for people.  It identifies nothing: the uid does.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace

from popham.manager.agents import unique_name
from popham.manager.audit import note
from popham.manager.grant import Grant, Role
from popham.model.fleet import AgentKind
from popham.store.rows import AgentRow
from popham.store.seam import Writing

_TELLING = ("service.instance.id", "host.name", "service.name")
"""Attributes that may serve as a name, the most telling first. Source: OpAMP v0.20, AgentDescription."""
_LETTER = re.compile(r"[A-Za-z0-9]")


def provisional_name(uid: str) -> str:
    """Return the name of a stock agent of which nothing is known but its uid."""
    return f"stock-{uid[-12:]}"


def described_name(description: Mapping[str, str]) -> str:
    """Return the most telling name in a description; empty if there is none.

    A random service.instance.id, which a UUID is, tells people nothing.
    """
    for key in _TELLING:
        said = description.get(key, "")
        if _LETTER.search(said) and not _is_uuid(said):
            return said
    return ""


def name_stock(tx: Writing, row: AgentRow, description: Mapping[str, str], *, now: float) -> AgentRow:
    """Return ``row`` with a name from its description, if it has none but the provisional one.

    The caller writes the row, in the same transaction.
    """
    wanted = described_name(description)
    if row.kind != AgentKind.STOCK or row.name != provisional_name(row.uid) or not wanted:
        return row
    named = replace(row, name=unique_name(tx, wanted))
    actor = Grant(actor=f"token {row.token}", role=Role.VIEWER, source=row.address)
    before, after = {"name": row.name}, {"name": named.name}
    note(tx, actor, "agent.name", f"agent/{row.uid}", now=now, before=before, after=after)
    return named


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
