"""Policies: named, versioned documents of a type.

A policy's ``spec`` is checked and brought to one form by its type
(:mod:`popham.model.types`); the digest of that form is the identity of a
revision, so the form of what could be written before never changes.  The agent
has the appliers; here is only what a Manager must know to refuse what could
never be applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from popham.errors import DefinitionError
from popham.model.names import canonical, digest, nearest, show
from popham.model.types.registry import STOCK_TYPES, TYPES

__all__ = ["MAX_BODY", "STOCK_TYPES", "TYPES", "Policy", "check_policy"]

MAX_BODY = 4 * 1024 * 1024
"""Bytes of one policy's canonical body. Source: guarantees, SEC-9, 4 MiB for agents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One revision of a policy.

    Attributes:
        name: Unique in the tenant.
        type: Key of :data:`TYPES`.
        body: What the type's check returned.
        revision: From 1; rises when the body changes.
        private_to: The one group it may be assigned to; empty if shared.
    """

    name: str
    type: str
    body: Mapping[str, Any]
    revision: int = 0
    private_to: str = ""

    def encoded(self) -> bytes:
        """Return the canonical bytes that agents fetch by digest."""
        return canonical({"type": self.type, "body": self.body})

    @property
    def sha256(self) -> str:
        """Digest of :meth:`encoded`."""
        return digest(self.encoded())


def check_policy(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normal form of a policy's ``spec`` without ``type``, ``private_to`` and ``tests``.

    Raises:
        DefinitionError: The type is unknown, a key or value is wrong, or the
            whole is too large.
    """
    if kind not in TYPES:
        raise DefinitionError("policy_type", f"there is no policy type {show(kind)}", nearest(kind, TYPES))
    body = TYPES[kind].check(spec)
    size = len(canonical({"type": kind, "body": body}))
    if size > MAX_BODY:
        problem = f"the policy has {size} bytes, and may have {MAX_BODY}"
        raise DefinitionError("size", problem, "Split it")
    return body
