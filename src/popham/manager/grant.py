"""What somebody may do, and how they prove who they are.

Rules:

1. Every method of the service takes a grant and asks for one permission, before
   anything else (SEC-37). A role that does not list a permission lacks it.
2. An API token is ``pop_<id>_<secret>``; only the SHA-256 of the secret is
   kept, and it is compared in constant time (SEC-16).
3. The first token is made by ``popham init``, on the Manager's machine; all others by an admin, and no
   route makes one for somebody without a grant (SEC-7).
4. A scope limits an operator to groups, with all below them, and to kinds of operations (F.O5).
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType

from popham.errors import GrantError
from popham.manager.objects import show_some
from popham.model.names import canonical, check_name, nearest, show
from popham.store.rows import AdminRow
from popham.store.seam import Reading, Writing

SECRET_BYTES = 32
"""Random bytes of a secret. Source: guarantees SEC-16, 128 bits at least."""
_NAMED = 5
"""Groups or kinds that an error names."""
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
    OPERATE = "operate"
    """Order operations, cancel and retry them, and see what they printed."""
    GRANTS = "grants"
    """See, create and revoke the API tokens of people."""


class Role(StrEnum):
    """A named set of permissions."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


PERMISSIONS = MappingProxyType(
    {
        Role.VIEWER: frozenset({Permission.READ, Permission.PLAN}),
        Role.OPERATOR: frozenset({Permission.READ, Permission.PLAN, Permission.CHECK_IN, Permission.OPERATE}),
        Role.ADMIN: frozenset(Permission),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What limits an operator; what is empty limits nothing.

    Attributes:
        groups: Names of groups, each with all below it.
        operations: Kinds of operations.
    """

    groups: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Return the scope that :meth:`encode` made."""
        kept = json.loads(text)
        return cls(groups=tuple(kept.get("groups", ())), operations=tuple(kept.get("operations", ())))

    def encode(self) -> str:
        """Return it as JSON, as it is kept."""
        limits = {"groups": list(self.groups), "operations": list(self.operations)}
        return canonical({key: names for key, names in limits.items() if names}).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Somebody who was recognised.

    Attributes:
        actor: Their name, as the audit shows it.
        role: What they may do.
        source: From where they came: an address, or ``local``.
        scope: What limits their operations and check-ins.
    """

    actor: str
    role: Role
    source: str
    scope: Scope = field(default_factory=Scope)


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


def require_operation(grant: Grant, kind: str, lineages: Iterable[Sequence[str]]) -> None:
    """Return if ``grant`` may order ``kind`` of agents of some groups.

    Args:
        grant: Who asks.
        kind: Of the operation.
        lineages: Of each group: it and all above it, itself first. Not looked at if no group limits the grant.

    Raises:
        GrantError: ``grant.not_permitted``: the role, the kind or a group does not allow it.
    """
    require(grant, Permission.OPERATE)
    scope = grant.scope
    if scope.operations and kind not in scope.operations:
        problem = f"{grant.actor} may not order {kind}, only {show_some(scope.operations, _NAMED)}"
        raise _outside(problem, f"--operation {kind}")
    if not scope.groups:
        return
    for lineage in lineages:
        if not set(scope.groups).intersection(lineage):
            may = f"only in {show_some(scope.groups, _NAMED)} and below"
            problem = f"{grant.actor} may not order anything in the group {lineage[0]}, {may}"
            raise _outside(problem, f"--group {lineage[0]}")


def _outside(problem: str, option: str) -> GrantError:
    hint = f"An admin can make a token that may: popham grant create NAME --role operator {option}"
    return GrantError("not_permitted", problem, hint)


def check_role(role: str) -> Role:
    """Return the role of this name; raises GrantError ``grant.role``."""
    if role not in set(Role):
        raise GrantError("role", f"there is no role {show(role)}", nearest(role, Role))
    return Role(role)


def put_grant(
    tx: Writing,
    *,
    name: str,
    role: str,
    lifetime: float,
    now: float,
    draw: Callable[[int], bytes],
    scope: Scope | None = None,
) -> tuple[AdminRow, str]:
    """Keep a new API token; return its row and the token, which cannot be read again.

    Args:
        tx: The transaction that keeps it.
        name: Whose it is, as the audit will show it.
        role: Name of a :class:`Role`.
        lifetime: Seconds.
        now: Unix seconds.
        draw: Returns so many random bytes, such as ``secrets.token_bytes``.
        scope: What limits it; None for nothing.

    Raises:
        DefinitionError: ``name`` cannot be one.
        GrantError: ``grant.role``: there is no such role.
    """
    token, secret, kept = create_secret("pop", draw)
    row = AdminRow(
        id=token,
        name=check_name(name, "token"),
        role=check_role(role),
        secret=kept,
        created=now,
        expires=now + lifetime,
        scope=(scope or Scope()).encode(),
    )
    tx.put_admin(row)
    return row, secret


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
    return Grant(actor=row.name, role=Role(row.role), source=source, scope=Scope.parse(row.scope))


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
