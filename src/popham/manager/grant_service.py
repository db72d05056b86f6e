"""Who may use the Manager: API tokens, from the side of those who show one and of those who make them."""

from __future__ import annotations

from collections.abc import Iterable

from popham.manager.agent_service import AgentService
from popham.manager.grant import Grant, Permission, authenticate, require
from popham.manager.grant_views import GrantView, NewGrant
from popham.manager.grants import create_grant, revoke_grant, view_grants


class GrantService(AgentService):
    """The part of the service that is about API tokens."""

    async def authenticate(self, bearer: str, source: str) -> Grant:
        """Return the grant of an API token used from ``source``.

        Raises:
            GrantError: ``grant.unknown_token`` or ``grant.expired``.
        """
        now = self._clock.now()
        return await self._store.read(lambda tx: authenticate(tx, bearer, source=source, now=now))

    async def create_grant(
        self,
        grant: Grant,
        *,
        name: str,
        role: str,
        groups: Iterable[str] = (),
        operations: Iterable[str] = (),
        lifetime: float | None = None,
    ) -> NewGrant:
        """Make an API token; arguments and errors as :func:`popham.manager.grants.create_grant`."""
        require(grant, Permission.GRANTS)
        now = self._clock.now()
        return await self._write(
            lambda tx: create_grant(
                tx,
                grant,
                name=name,
                role=role,
                groups=groups,
                operations=operations,
                lifetime=lifetime,
                now=now,
                draw=self._rng.randbytes,
            )
        )

    async def grants(self, grant: Grant) -> tuple[GrantView, ...]:
        """Return all API tokens, the newest first, without their secrets."""
        require(grant, Permission.GRANTS)
        now = self._clock.now()
        return await self._store.read(lambda tx: view_grants(tx, now))

    async def revoke_grant(self, grant: Grant, token: str) -> GrantView:
        """Revoke an API token; errors as :func:`popham.manager.grants.revoke_grant`."""
        require(grant, Permission.GRANTS)
        now = self._clock.now()
        return await self._write(lambda tx: revoke_grant(tx, grant, token, now=now))
