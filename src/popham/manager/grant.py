"""What somebody may do, and how they prove who they are.

Rules:

1. Every method of the service takes a grant and asks for one permission, before
   anything else (SEC-37). A role that does not list a permission lacks it.
2. An API token is ``pop_<id>_<secret>``; only the SHA-256 of the secret is
   kept, and it is compared in constant time (SEC-16).
3. The first token is made by ``popham init``; no route makes one (SEC-7).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType

from popham.errors import GrantError
from popham.model.names import check_name, nearest
from popham.store.rows import AdminRow
from popham.store.seam import Reading, Writing

SECRET_BYTES = 32
"""Random bytes of a secret. Source: guarantees SEC-16, 128 bits at least."""
_BEARER = re.compile(r"(pops?)_([0-9a-f]{16})_([0-9a-f]{64})")


class Permission(StrEnum):
    """What a method may ask for."""

    READ = "read"
    """See agents, groups, policies, tokens (never their secrets) and the audit."""
    PLAN = "plan"
    """Ask what an apply would do."""
    APPLY = "apply"
    """Create, change and delete groups and policies."""
    ADMIT = "admit"
    """Accept, refuse, revoke, move and label agents."""
    TOKENS = "tokens"
    """Create and revoke tokens by which agents join."""
    CHECK_IN = "check_in"
    """Ask agents for a round."""


class Role(StrEnum):
    """A named set of permissions."""

    VIEWER = "viewer"
    ADMIN = "admin"


PERMISSIONS = MappingProxyType(
    {
        Role.VIEWER: frozenset({Permission.READ, Permission.PLAN}),
        Role.ADMIN: frozenset(Permission),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Somebody who was recognised.

    Attributes:
        actor: Their name, as the audit shows it.
        role: What they may do.
        source: From where they came: an address, or ``local``.
    """

    actor: str
    role: Role
    source: str


def require(grant: Grant, permission: Permission) -> None:
    """Return if ``grant`` includes ``permission``.

    Raises:
        GrantError: ``grant.not_permitted``: it does not.
    """
    if permission in PERMISSIONS[grant.role]:
        return
    problem = f"{grant.actor} has the role {grant.role}, which may not {permission.replace('_', ' ')}"
    allowed = " or ".join(role for role in Role if permission in PERMISSIONS[role])
    raise GrantError("not_permitted", problem, f"This needs the role {allowed}")


def create_admin(
    tx: Writing, *, name: str, role: str, lifetime: float, now: float, draw: Callable[[int], bytes]
) -> str:
    """Make an API token and return it; it cannot be read again.

    Args:
        tx: The transaction that keeps it.
        name: Whose it is, as the audit will show it.
        role: ``viewer`` or ``admin``.
        lifetime: Seconds.
        now: Unix seconds.
        draw: Returns so many random bytes, such as ``secrets.token_bytes``.

    Raises:
        DefinitionError: ``name`` cannot be one.
        GrantError: ``grant.role``: there is no such role.
    """
    if role not in set(Role):
        raise GrantError("role", f"there is no role {role!r}", nearest(role, Role))
    token, secret, kept = create_secret("pop", draw)
    row = AdminRow(
        id=token,
        name=check_name(name, "token"),
        role=role,
        secret=kept,
        created=now,
        expires=now + lifetime,
    )
    tx.put_admin(row)
    return secret


def authenticate(reading: Reading, bearer: str, *, source: str, now: float) -> Grant:
    """Return the grant of the API token ``bearer``.

    Raises:
        GrantError: ``grant.unknown_token`` or ``grant.expired``.
    """
    token, secret = split_secret("pop", bearer)
    row = reading.admin(token) if token else None
    if row is None or row.revoked or not matches(secret, row.secret):
        problem, hint = "this API token is not known here", "Check the token of your context"
        raise GrantError("unknown_token", problem, hint)
    if now >= row.expires:
        raise GrantError("expired", "this API token has expired", "Ask for a new one")
    return Grant(actor=row.name, role=Role(row.role), source=source)


def create_secret(prefix: str, draw: Callable[[int], bytes]) -> tuple[str, str, bytes]:
    """Return id, secret to hand out, and digest to keep, of a new bearer token."""
    token, secret = draw(8).hex(), draw(SECRET_BYTES).hex()
    return token, f"{prefix}_{token}_{secret}", sha256(secret.encode()).digest()


def split_secret(prefix: str, bearer: str) -> tuple[str, str]:
    """Return id and secret of a bearer token; both empty if it has another form."""
    match = _BEARER.fullmatch(bearer)
    return (match[2], match[3]) if match and match[1] == prefix else ("", "")


def matches(secret: str, kept: bytes) -> bool:
    """Return whether ``kept`` is the digest of ``secret``, in constant time."""
    return hmac.compare_digest(sha256(secret.encode()).digest(), kept)
