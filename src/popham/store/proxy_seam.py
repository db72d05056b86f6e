"""What a Manager needs of a database for Proxy Managers: the part of :mod:`popham.store.seam` that is about them."""

from __future__ import annotations

from typing import Protocol

from popham.store.rows import AgentDefinitionRow, ProxyRow


class ProxyReading(Protocol):
    """Questions inside one transaction; None or an empty list where nothing is found."""

    def proxies(self) -> list[ProxyRow]:
        """Return all definitions of Proxy Managers by name."""
        ...

    def proxy(self, name: str) -> ProxyRow | None:
        """Return the definition of this name."""
        ...

    def proxy_of(self, uid: str) -> ProxyRow | None:
        """Return the definition that is bound to this agent, the first by name."""
        ...

    def agent_definitions_by(self, proxy: str) -> list[AgentDefinitionRow]:
        """Return where a Proxy Manager visits agents, by name; none for an empty ``proxy``."""
        ...


class ProxyWriting(Protocol):
    """Changes inside one transaction."""

    def put_proxy(self, row: ProxyRow) -> None:
        """Insert or replace the definition of a Proxy Manager."""
        ...

    def delete_proxy(self, name: str) -> None:
        """Delete the definition of a Proxy Manager, if it is there."""
        ...
