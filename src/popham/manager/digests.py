"""Digests, and who is shown them: from the digest of a body a short secret in it can be guessed.

Rules:

1. Who may change policies may see their secrets, and is shown every digest.
2. Others are shown the digest of a policy only if no revision of it has ever had a secret; in lists, where
   every body would have to be read for that, none.
3. What is made of many bodies, or of digests, they are not shown either: content digests of bundles and
   what agents report of them, and the chain of the audit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from popham.manager.grant import PERMISSIONS, Grant, Permission
from popham.manager.views import AgentView, AuditView
from popham.model.names import canonical
from popham.model.types.redaction import has_secret
from popham.store.seam import Reading

_OF_AGENTS: Final = ("wanted_digest", "content_digest", "applied_digest", "resolved", "applied_resolved")
_DIGEST: Final = re.compile("[0-9a-f]{64}")


def sees_digests(grant: Grant) -> bool:
    """Return whether somebody is shown what secrets can be guessed from."""
    return Permission.APPLY in PERMISSIONS[grant.role]


def has_had_secret(reading: Reading, name: str) -> bool:
    """Return whether any revision of a policy has a secret; one whose body is gone counts as if it had."""
    for row in reading.revisions(name):
        encoded = row.encoded or reading.encoded(row.sha256)
        if not encoded or has_secret(row.type, json.loads(encoded).get("body", {})):
            return True
    return False


def hide_of_agent(view: AgentView) -> AgentView:
    """Return an agent without the digests in its detail; they are empty."""
    detail = dict(view.detail)
    detail |= {key: "" for key in _OF_AGENTS if key in detail}
    if detail.get("remote"):
        detail["remote"] = {**detail["remote"], "hash": ""}
    return replace(view, detail=detail)


def hide_in_audit(view: AuditView) -> AuditView:
    """Return a change without digests, and without its link in the chain, which is made of them."""
    return replace(view, before=_without(view.before), after=_without(view.after), hash="")


def _without(text: str) -> str:
    return canonical(_drop(json.loads(text))).decode() if text else ""


def _drop(value: Any) -> Any:
    """Return plain data with whatever has the form of a digest emptied, under whatever key."""
    if isinstance(value, Mapping):
        return {key: _drop(held) for key, held in value.items()}
    if isinstance(value, list):
        return [_drop(held) for held in value]
    return "" if isinstance(value, str) and _DIGEST.fullmatch(value) else value
