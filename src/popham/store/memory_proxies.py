"""Questions about Proxy Managers inside one transaction, on dictionaries."""

from __future__ import annotations

from popham.store.memory_question import MemoryQuestion
from popham.store.rows import AgentDefinitionRow, ProxyRow


class MemoryProxyReading(MemoryQuestion):
    """``ProxyReading`` on dictionaries."""

    def proxies(self) -> list[ProxyRow]:
        """Return all definitions of Proxy Managers by name."""
        return self._rows(ProxyRow)

    def proxy(self, name: str) -> ProxyRow | None:
        """Return the definition of this name."""
        return self._row(ProxyRow, name)

    def proxy_of(self, uid: str) -> ProxyRow | None:
        """Return the definition that is bound to this agent, the first by name."""
        return next((row for row in self._rows(ProxyRow) if uid and row.uid == uid), None)

    def agent_definitions_by(self, proxy: str) -> list[AgentDefinitionRow]:
        """Return where a Proxy Manager visits agents, by name; none for an empty ``proxy``."""
        return [row for row in self._rows(AgentDefinitionRow) if proxy and row.proxy == proxy]
