"""The fleets that ``make demo`` shows: who stands between the Manager and the agents, and who dials whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

PORT_NAME: Final = "localhost"
"""Name by which everybody dials everybody: all are on loopback."""


@dataclass(frozen=True, slots=True)
class Between:
    """A Proxy Manager of a demo.

    Attributes:
        name: Of its definition, and of its machine.
        group: Group of its machine: decides by which cell it and what stands above it get in touch.
        preset: That cell.
        above: Name of the proxy above it; empty for the Manager.
    """

    name: str
    group: str
    preset: str
    above: str = ""

    @property
    def is_visited(self) -> bool:
        """Whether what stands above dials."""
        return self.preset in {"Pull by visit", "Push over the Manager's connection"}


@dataclass(frozen=True, slots=True)
class Topology:
    """Who stands where.

    Attributes:
        proxies: From the Manager outwards.
        behind: Group of agents → the proxy that they are behind; the Manager for those that are not there.
    """

    proxies: tuple[Between, ...] = ()
    behind: Mapping[str, str] = field(default_factory=dict)

    def path(self, group: str) -> list[str]:
        """Return the proxies between the Manager and the agents of a group, from above."""
        known, found = {one.name: one for one in self.proxies}, list[str]()
        at = self.behind.get(group, "")
        while at:
            found.insert(0, at)
            at = known[at].above
        return found

    def given(self, name: str) -> list[str]:
        """Return the groups that a proxy speaks for: of its agents, and of what stands below it."""
        below = [one.group for one in self.proxies if one.above == name or self._is_below(one, name)]
        return below + [group for group in self.behind if name in self.path(group)]

    def _is_below(self, one: Between, name: str) -> bool:
        known = {other.name: other for other in self.proxies}
        while one.above:
            if one.above == name:
                return True
            one = known[one.above]
        return False

    def definitions(self, ports: Mapping[str, int], heartbeat: int) -> str:
        """Return the definitions of its proxies, as YAML; ``ports`` are those on which they listen."""
        return "".join(
            _PROXY.format(
                name=one.name,
                group=one.group,
                preset=one.preset,
                heartbeat=heartbeat,
                given=", ".join(self.given(one.name)),
                host=PORT_NAME,
                port=ports[one.name],
            )
            for one in self.proxies
        )


_PROXY = """\
---
apiVersion: popham/v1
kind: Group
metadata: {{name: {group}}}
spec:
  parent: fleet
  inheritance: {{communication: false}}
  communication: {{preset: "{preset}", heartbeat: {heartbeat}s}}
---
apiVersion: popham/v1
kind: Proxy
metadata: {{name: {name}}}
spec: {{groups: [{given}], names: [{host}], port: {port}}}
"""

DIRECT: Final = Topology()
"""Every agent and the Manager reach each other."""
PROXY: Final = Topology(
    proxies=(Between("dock", "docks", "Push"), Between("pier", "piers", "Pull by visit")),
    behind=MappingProxyType({"web": "dock", "vaults": "dock", "tills": "pier", "gates": "pier"}),
)
"""Two proxies, by different cells above; behind each an agent that dials it, and one that it dials."""
CHAIN: Final = Topology(
    proxies=(Between("dock", "docks", "Push"), Between("pier", "piers", "Pull by heartbeat", above="dock")),
    behind=MappingProxyType({"web": "pier", "vaults": "pier", "tills": "pier", "gates": "pier"}),
)
"""A proxy behind a proxy, and all agents behind that."""
TOPOLOGIES: Final[Mapping[str, Topology]] = MappingProxyType(
    {"direct": DIRECT, "proxy": PROXY, "chain": CHAIN}
)
"""Name → topology."""
