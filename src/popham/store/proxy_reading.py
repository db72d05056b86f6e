"""Questions about Proxy Managers inside one transaction, in SQL."""

from __future__ import annotations

from popham.store.rows import AgentDefinitionRow, ProxyRow
from popham.store.sql_question import SqlQuestion
from popham.store.tables import TABLES


class SqlProxyReading(SqlQuestion):
    """``ProxyReading`` on a connection inside a transaction."""

    def proxies(self) -> list[ProxyRow]:
        """Return all definitions of Proxy Managers by name."""
        return self._rows(ProxyRow, order=[TABLES[ProxyRow].c.name])

    def proxy(self, name: str) -> ProxyRow | None:
        """Return the definition of this name."""
        return self._row(ProxyRow, TABLES[ProxyRow].c.name == name)

    def proxy_of(self, uid: str) -> ProxyRow | None:
        """Return the definition that is bound to this agent, the first by name."""
        found = self._rows(ProxyRow, TABLES[ProxyRow].c.uid == uid) if uid else []
        return min(found, key=lambda row: row.name, default=None)

    def agent_definitions_by(self, proxy: str) -> list[AgentDefinitionRow]:
        """Return where a Proxy Manager visits agents, by name; none for an empty ``proxy``."""
        columns = TABLES[AgentDefinitionRow].c
        return self._rows(AgentDefinitionRow, columns.proxy == proxy, order=[columns.name]) if proxy else []
