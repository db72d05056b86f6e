"""API tokens of people and programs: made, listed and revoked by admins.

Rules:

1. Who has no grant gets none here (SEC-7); the first is made with the fleet.
2. Only an operator has a scope: what an admin may change cannot be limited by groups.
3. One usable token of an admin stays, or nobody could make another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from popham.errors import ConflictError, DefinitionError, GrantError, NotFoundError
from popham.manager.audit import note
from popham.manager.grant import Grant, Role, Scope, check_role, put_grant
from popham.manager.grant_views import GrantView, NewGrant
from popham.manager.objects import find_group
from popham.model.names import nearest, show
from popham.model.operation import ORDERED, Kind
from popham.store.rows import AdminRow
from popham.store.seam import Reading, Writing

LIFETIME_DEFAULT: Final = 90 * 86400.0
LIFETIME_MAX: Final = 365 * 86400.0
"""Seconds: as long as the first token lives."""
_KINDS: Final = (*ORDERED, Kind.SEND)
"""What a scope may name; who may order a kind may also cancel it."""


def create_grant(
    tx: Writing,
    grant: Grant,
    *,
    name: str,
    role: str,
    groups: Iterable[str],
    operations: Iterable[str],
    lifetime: float | None,
    now: float,
    draw: Callable[[int], bytes],
) -> NewGrant:
    """Make an API token; its secret is in the result and nowhere else.

    Args:
        tx: The transaction.
        grant: Who makes it.
        name: Whose it is.
        role: Name of a role.
        groups: Groups to which an operator is limited, each with all below it.
        operations: Kinds of operations to which an operator is limited.
        lifetime: Seconds; None for ninety days.
        now: Unix seconds.
        draw: Returns so many random bytes.

    Raises:
        DefinitionError: ``name`` cannot be one; ``definition.grant``: the lifetime is out of range.
        GrantError: ``grant.role``: there is no such role; ``grant.scope``: the limits make no sense.
        NotFoundError: There is no such group.
    """
    scope = Scope(groups=tuple(sorted(set(groups))), operations=tuple(sorted(set(operations))))
    _check_scope(tx, check_role(role), scope)
    lifetime = _check_lifetime(lifetime)
    row, secret = put_grant(tx, name=name, role=role, lifetime=lifetime, now=now, draw=draw, scope=scope)
    note(tx, grant, "grant.create", f"grant/{row.id}", now=now, after=_describe(row))
    return NewGrant(grant=view_grant(row, now), secret=secret)


def view_grants(reading: Reading, now: float) -> tuple[GrantView, ...]:
    """Return all API tokens, the newest first."""
    rows = sorted(reading.admins(), key=lambda row: (-row.created, row.id))
    return tuple(view_grant(row, now) for row in rows)


def view_grant(row: AdminRow, now: float) -> GrantView:
    """Return an API token as people see it."""
    scope = Scope.parse(row.scope)
    return GrantView(
        id=row.id,
        name=row.name,
        role=row.role,
        groups=scope.groups,
        operations=scope.operations,
        state=_state(row, now),
        created=row.created,
        expires=row.expires,
    )


def revoke_grant(tx: Writing, grant: Grant, token: str, *, now: float) -> GrantView:
    """Make an API token useless, at once.

    Raises:
        NotFoundError: ``not_found.grant``.
        ConflictError: ``conflict.last_admin``: no usable token of an admin would be left.
    """
    rows = tx.admins()
    row = next((known for known in rows if known.id == token), None)
    if row is None:
        hint = nearest(token, [known.id for known in rows])
        raise NotFoundError("grant", f"there is no API token {show(token)}", hint)
    admins = [known.id for known in rows if known.role == Role.ADMIN and _state(known, now) == "usable"]
    if admins == [token]:
        problem = f"{token} is the last usable token of an admin, and nobody could make another"
        raise ConflictError("last_admin", problem, "Make one first: popham grant create NAME --role admin")
    if not row.revoked:
        after = replace(row, revoked=True)
        tx.put_admin(after)
        about = f"grant/{row.id}"
        note(tx, grant, "grant.revoke", about, now=now, before=_describe(row), after=_describe(after))
        row = after
    return view_grant(row, now)


def _state(row: AdminRow, now: float) -> str:
    if row.revoked:
        return "revoked"
    return "expired" if now >= row.expires else "usable"


def _check_scope(tx: Reading, role: Role, scope: Scope) -> None:
    if scope == Scope():
        return
    if role is not Role.OPERATOR:
        problem = f"the role {role} cannot be limited to groups or operations"
        raise GrantError("scope", problem, "Leave the limits out, or use the role operator")
    for kind in scope.operations:
        if kind not in _KINDS:
            raise GrantError("scope", f"there is no kind of operation {show(kind)}", nearest(kind, _KINDS))
    for name in scope.groups:
        find_group(tx, name)


def _check_lifetime(lifetime: float | None) -> float:
    if lifetime is None:
        return LIFETIME_DEFAULT
    if not 1 <= lifetime <= LIFETIME_MAX:
        problem = f"lifetime: {lifetime:g} s is outside 1 s to {LIFETIME_MAX / 86400:g} days"
        raise DefinitionError("grant", problem, "Make a new token before it expires")
    return lifetime


def _describe(row: AdminRow) -> dict[str, Any]:
    scope = Scope.parse(row.scope)
    return {
        "name": row.name,
        "role": row.role,
        "groups": list(scope.groups),
        "operations": list(scope.operations),
        "expires": row.expires,
        "revoked": row.revoked,
    }
