"""Who is told of what came from above: agents in touch by the hub, those at proxies below, and the schedule of visits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from popham.proxy.chain import Chain
from popham.proxy.visiting import ProxyVisits
from popham.upstream.hub import Hub


class Beneath:
    """Implements :class:`popham.proxy.uplink.Downlink`."""

    def __init__(
        self,
        hub: Hub,
        visits: ProxyVisits,
        arrived: Callable[[], None] = lambda: None,
        *,
        chain: Chain | None = None,
    ) -> None:
        """Tell all.

        Args:
            hub: Those in touch.
            visits: Those that are visited.
            arrived: Told that groups are to have something else.
            chain: Those at proxies below; None for none.
        """
        self._chain = chain
        self._hub = hub
        self._visits = visits
        self._arrived = arrived

    def changed(self, groups: Iterable[str]) -> None:
        """Take note that groups are to have something else."""
        names = tuple(groups)
        self._hub.changed(names)
        self._visits.groups_changed(names)
        self._arrived()

    def tell(self, uid: str) -> None:
        """Tell one agent what it should be told now; where it is visited, that may be by other settings."""
        if self._chain is not None:
            self._chain.told(uid)
        self._hub.tell(uid)
        self._visits.targets.agent_changed(uid)

    def tell_orders(self, uids: Iterable[str]) -> None:
        """Tell agents what is ordered of them, in turn."""
        found = list(uids)
        if self._chain is not None:
            self._chain.told_orders(found)
        self._hub.tell_orders(found)

    def drop(self, uid: str, reason: str) -> None:
        """End an agent's link: it is not let in any more."""
        if self._chain is not None:
            self._chain.told(uid)
        self._hub.drop(uid, reason)
        self._visits.targets.agent_changed(uid)

    def check_in(self, uid: str) -> bool:
        """Have an agent asked for a round now; False if no link is held, nor anybody visited."""
        if self._hub.check_in(uid) or (self._chain is not None and self._chain.check_in(uid)):
            return True
        return self._visits.hasten(uid)
