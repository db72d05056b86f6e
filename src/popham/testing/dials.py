"""An upstream's way to an agent's service in memory: the real service behind it, and made-up weather before it."""

from __future__ import annotations

from collections.abc import Callable

from popham.downstream.service import VisitService
from popham.errors import LinkError, VisitError
from popham.net.seam import Peer, Request, Response
from popham.net.signing import Asked
from popham.net.visit_failure import Spot, is_of_agent, refusal
from popham.net.visited import Accepted
from popham.net.visiting import Reply
from popham.testing.network import Lower, Network

Serves = Callable[[], VisitService | None]
"""Returns what answers at an agent's address now; None while it is off."""


class MemoryDials:
    """One agent's place; implements :class:`popham.upstream.visits.Dials`.

    Attributes:
        asked: How many requests left this end.
    """

    def __init__(self, network: Network, name: str, upstream: str, serves: Serves) -> None:
        """Dial agent ``name`` from ``upstream``."""
        self._network = network
        self._name = name
        self._upstream = upstream
        self._serves = serves
        self._spot = Spot(f"{name}:23440", "/v1/visit", secure=True, http_proxy="", port=23440)
        self.asked = 0

    async def post(self, asked: Asked) -> Reply:
        """Carry one request there and the answer back. Raises VisitError."""
        service = await self._reach()
        found = await service.answer(self._request(asked))
        return await self._back(service, found)

    async def hold(self, asked: Asked) -> tuple[Lower | None, Reply]:
        """Open a held link, or bring the answer why not. Raises VisitError."""
        service = await self._reach()
        found = await service.upgrade(self._request(asked))
        if isinstance(found, Response):
            return None, await self._back(service, found)
        head = await self._back(service, found)
        pipe = self._network.reverse(self._name, self._upstream, Peer(address=self._upstream), found.opened)
        return pipe.lower, head

    async def aclose(self) -> None:
        """Nothing is kept open."""

    async def _reach(self) -> VisitService:
        self.asked += 1
        await self._travel()
        service = self._serves()
        if service is None:
            problem, hint = f"nothing listens at {self._name}", "popham agent service start"
            raise VisitError("refused", problem, hint)
        return service

    async def _travel(self) -> None:
        """Wait as long as a message takes. Raises VisitError if it does not arrive."""
        try:
            await self._network.travel()
        except LinkError as error:
            raise VisitError("slow", f"{self._name} does not answer in time", "Try again") from error
        if not self._network.reachable(self._name, self._upstream):
            raise VisitError("unreachable", f"{self._name} cannot be reached", "Look at the network to it")

    async def _back(self, service: VisitService, found: Response | Accepted) -> Reply:
        if self._serves() is not service:
            raise VisitError("unreachable", f"{self._name} went away", "Try again")
        await self._travel()
        headers = {name.lower(): value for name, value in found.headers.items()}
        if isinstance(found, Accepted):
            return Reply(101, headers, b"")
        headers["content-type"] = found.content_type
        if is_of_agent(found.status, headers):
            return Reply(found.status, headers, found.body)
        raise refusal(self._spot, found.status, headers, found.body.decode(errors="replace"))

    def _request(self, asked: Asked) -> Request:
        return Request(
            method=asked.method,
            path="/v1/visit",
            peer=Peer(address=self._upstream),
            raw_query=asked.query,
            headers={name.lower(): value for name, value in asked.headers.items()},
            body=asked.body,
        )
