"""What the service must know of the open links, whoever holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from popham.manager.visit_views import VisitView
from popham.model.status import Downtime


class Relayed(Protocol):
    """What is known of agents that are at Proxy Managers. Plain look-ups, on any thread."""

    def via(self, uid: str) -> Sequence[str]:
        """Return the uids of the proxies between an agent and this Manager, the one nearest to the Manager first."""
        ...

    def count(self, uid: str) -> int:
        """Return how many agents are at a proxy, or at those below it."""
        ...

    def own_promise(self, uid: str) -> float | None:
        """Return the seconds from one contact of an agent with its own upstream to the next; None if it is not known."""
        ...

    def promise(self, uid: str) -> float | None:
        """Return the seconds from one word of an agent here to the next; None if it is not known."""
        ...

    def unvisited(self, uid: str) -> str:
        """Return why an agent cannot be visited by the proxy that it is at: code and sentence; empty if it can."""
        ...

    def status(self, uid: str) -> Mapping[str, Any]:
        """Return how a proxy says that it stands, as it was heard last; empty before that."""
        ...


class NotRelayed:
    """Nobody is at a Proxy Manager."""

    def via(self, uid: str) -> Sequence[str]:  # noqa: ARG002  # the form of Relayed
        """Return nothing."""
        return ()

    def count(self, uid: str) -> int:  # noqa: ARG002  # the form of Relayed
        """Return 0."""
        return 0

    def own_promise(self, uid: str) -> float | None:  # noqa: ARG002  # the form of Relayed
        """Return None."""
        return None

    def promise(self, uid: str) -> float | None:  # noqa: ARG002  # the form of Relayed
        """Return None."""
        return None

    def unvisited(self, uid: str) -> str:  # noqa: ARG002  # the form of Relayed
        """Return nothing."""
        return ""

    def status(self, uid: str) -> Mapping[str, Any]:  # noqa: ARG002  # the form of Relayed
        """Return nothing."""
        return {}


class Links(Protocol):
    """The table of open links, as the service sees it.

    Nothing here waits but ``tokens_changed``.  ``connected``, ``last_contact``, ``downtimes`` and ``visit`` are
    plain look-ups, since views are computed on a thread of the store;
    the others are called on the event loop's thread only.
    """

    @property
    def relayed(self) -> Relayed:
        """What is known of agents that are at Proxy Managers."""
        ...

    def proxies_changed(self, names: Sequence[str]) -> None:
        """Take note that definitions of kind Proxy were made, changed or deleted; that is durable."""
        ...

    def connected(self, uid: str) -> bool:
        """Return whether a held link to this agent is open."""
        ...

    def check_in(self, uid: str) -> bool:
        """Ask for a round over the held link, or by a visit now; False if there is no way to ask."""
        ...

    def visit(self, uid: str) -> VisitView | None:
        """Return how an agent is visited; None if it is not."""
        ...

    def visit_of_definition(self, name: str) -> VisitView | None:
        """Return how whoever is at a definition is visited; None if nobody is."""
        ...

    def agent_changed(self, uid: str) -> None:
        """Take note that an agent was accepted, refused or revoked; the change is durable."""
        ...

    def definitions_changed(self, names: Sequence[str]) -> None:
        """Take note that definitions of kind Agent were made, changed or deleted; that is durable."""
        ...

    async def tokens_changed(self) -> None:
        """Have a token that was made or revoked, durably, hold at the agents' door before this returns."""
        ...

    def last_contact(self, uid: str) -> float | None:
        """Return the last contact, in unix seconds, where it is newer than the database; else None."""
        ...

    def downtimes(self) -> Sequence[Downtime]:
        """Return the spans in which this Manager did not serve, the oldest first."""
        ...


class NoLinks:
    """No link is open: for commands that run beside a stopped Manager, and for tests."""

    @property
    def relayed(self) -> Relayed:
        """Nobody is at a Proxy Manager."""
        return NotRelayed()

    def proxies_changed(self, names: Sequence[str]) -> None:
        """Do nothing."""

    def connected(self, uid: str) -> bool:  # noqa: ARG002  # the form of Links
        """Return False."""
        return False

    def check_in(self, uid: str) -> bool:  # noqa: ARG002  # the form of Links
        """Return False."""
        return False

    def visit(self, uid: str) -> VisitView | None:  # noqa: ARG002  # the form of Links
        """Return None."""
        return None

    def visit_of_definition(self, name: str) -> VisitView | None:  # noqa: ARG002  # the form of Links
        """Return None."""
        return None

    def agent_changed(self, uid: str) -> None:
        """Do nothing."""

    def definitions_changed(self, names: Sequence[str]) -> None:
        """Do nothing."""

    async def tokens_changed(self) -> None:
        """Do nothing."""

    def last_contact(self, uid: str) -> float | None:  # noqa: ARG002  # the form of Links
        """Return None."""
        return None

    def downtimes(self) -> Sequence[Downtime]:  # the form of Links
        """Return nothing."""
        return ()
