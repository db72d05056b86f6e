"""By which way data goes now: the cell of data, and what there is of it.

Rules:

1. Data has the cell of orders, or one of its own; where it has the orders', it follows what the driver does.
2. A link carries data whose cell is the orders'; other data only where the end opened it that is to open
   connections for data.
3. Who is to be visited for data dials by itself when visits do not come, as for orders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from popham.errors import LinkError
from popham.link.visits import Visits
from popham.link.ways import Ways
from popham.model.communication import CommunicationSettings, Mode
from popham.net.seam import Dialer as Transport
from popham.opamp.schema.opamp.v1.opamp_pb2 import CustomMessage

_FAULTS: Final = 500
"""Statuses from here on are a server's own faults; those below say that it is there."""


class End(Protocol):
    """What knows the settings in force; :class:`popham.agent.end.AgentEnd` is one.

    Attributes:
        serving: Whether this end's service is there to be visited.
        fallback: Code of why this end pulls although it is to hold a link; empty if it does not.
        retry_window: Seconds from which upstream wants the first retry drawn; 0 while it has named none.
    """

    serving: bool
    fallback: str
    retry_window: float

    @property
    def uid(self) -> bytes:
        """instance_uid, 16 bytes."""
        ...

    @property
    def settings(self) -> CommunicationSettings:
        """The communication settings in force."""
        ...

    def beside(self, message: CustomMessage) -> bytes:
        """Return a message that says ``message`` alone."""
        ...


class Contact(Protocol):
    """What keeps in touch; :class:`popham.link.driver.Driver` is one."""

    @property
    def dials(self) -> bool:
        """Whether this end dials now."""
        ...

    @property
    def held(self) -> bool:
        """Whether a link is held."""
        ...

    @property
    def is_served(self) -> bool:
        """Whether upstream opened the link that is held."""
        ...

    async def say(self, message: bytes) -> None:
        """Say something over the link that is held. Raises LinkError."""
        ...


class DataWay:
    """The ways of one agent's data.

    Attributes:
        linked: Whether upstream said how far it is over the link that is held; before, nothing is sent over it.
    """

    def __init__(self, end: End, contact: Contact, ways: Ways) -> None:
        """Ask these; nothing is opened before it is used."""
        self.linked = False
        self._end = end
        self._contact = contact
        self._ways = ways
        self._visits = Visits()

    def begin(self) -> None:
        """Take note that the process starts: visits are waited for as if one had just been."""
        self._visits.begin(self._as_visited(), asyncio.get_running_loop().time())

    def visited(self) -> None:
        """Take note that a visitor asked for data."""
        self._visits.note(asyncio.get_running_loop().time())

    def _as_visited(self) -> CommunicationSettings:
        settings = self._end.settings
        return replace(settings, dialer=settings.data.dialer if settings.data else settings.dialer)

    @property
    def dials(self) -> bool:
        """Whether this end opens the connections for data."""
        settings = self._end.settings
        if settings.data is None:
            return self._contact.dials
        now, serving = asyncio.get_running_loop().time(), self._end.serving
        return self._visits.left(self._as_visited(), now, serving=serving) <= 0

    @property
    def pulls(self) -> bool:
        """Whether data waits for the next round, visit or heartbeat."""
        settings = self._end.settings
        if settings.data is not None:
            return settings.data.mode is Mode.PULL
        return bool(self._end.fallback) or settings.mode is Mode.PULL

    @property
    def beats(self) -> bool:
        """Whether data that waits for a heartbeat has to count them itself: nobody makes rounds."""
        return self.pulls and (self._contact.held or not self._contact.dials)

    @property
    def link(self) -> bool:
        """Whether data may be said over the link that is held."""
        if not (self._contact.held and self.linked):
            return False
        return self._end.settings.data is None or self._contact.is_served is not self.dials

    @property
    def asks(self) -> bool:
        """Whether upstream can be told to ask for data, beside the link that it opened."""
        return self.link and self._contact.is_served

    async def say(self, message: CustomMessage) -> None:
        """Say something of streams over the link. Raises LinkError."""
        await self._contact.say(self._end.beside(message))

    async def request(self, make: Callable[[Transport], Awaitable[bytes]]) -> bytes:
        """Return the answer to a request that this end makes; where nobody else dials, servers are chosen here.

        Raises:
            LinkError: There is none.
        """
        if self._contact.dials:
            return await make(self._ways.dial())
        better = self._ways.better()
        if better is not None:
            try:
                answer = await make(better)
            except LinkError:
                self._ways.tried(works=False)
            else:
                self._ways.tried(works=True)
                return answer
        try:
            answer = await make(self._ways.dial())
        except LinkError as error:
            if not 400 <= error.status < _FAULTS:
                self._ways.failed(refused=error.retry_after is not None)
            raise
        self._ways.succeeded()
        return answer
