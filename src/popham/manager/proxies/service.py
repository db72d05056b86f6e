"""What people can do about Proxy Managers: see them, and delete their definitions."""

from __future__ import annotations

from popham.manager.agent_service import AgentService
from popham.manager.grant import Grant, Permission, require
from popham.manager.proxies.definitions import delete_proxy, find_proxy
from popham.manager.proxies.showing import view_proxy
from popham.manager.proxies.views import ProxyView
from popham.store.seam import Reading


class ProxyService(AgentService):
    """The part of the service that is about Proxy Managers."""

    async def proxies(self, grant: Grant) -> tuple[ProxyView, ...]:
        """Return all Proxy Managers by name."""
        require(grant, Permission.READ)
        now = self._clock.now()

        def work(tx: Reading) -> tuple[ProxyView, ...]:
            return tuple(view_proxy(tx, self._links, row, now) for row in tx.proxies())

        return await self._store.read(work)

    async def proxy(self, grant: Grant, name: str) -> ProxyView:
        """Return one Proxy Manager with its status and path; raises NotFoundError ``not_found.proxy``."""
        require(grant, Permission.READ)
        now = self._clock.now()
        return await self._store.read(
            lambda tx: view_proxy(tx, self._links, find_proxy(tx, name), now, detailed=True)
        )

    async def delete_proxy(self, grant: Grant, name: str) -> None:
        """Delete a definition; errors as :func:`popham.manager.proxies.definitions.delete_proxy`."""
        require(grant, Permission.APPLY)
        now = self._clock.now()
        await self._write(lambda tx: delete_proxy(tx, grant, name, now=now))
        self._links.proxies_changed([name])
        await self._links.tokens_changed()
