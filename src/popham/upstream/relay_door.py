"""Where relays come to a hub by requests and held links, and how the hub says that an agent came by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from popham.errors import GrantError, NotFoundError
from popham.net.route import PROTOBUF
from popham.net.seam import Answer, Refusal, Request, Response
from popham.upstream.record import Record
from popham.upstream.telling import head

if TYPE_CHECKING:
    from popham.upstream.relays import Relays


class RelayDoor:
    """Stands between a hub and its relays, which are made after it.

    Attributes:
        relays: Answers; None where no Proxy Manager is served.
        settle: Returns once it is known who is a proxy by now.
        is_settled: Returns whether that is known already.
        on_woken: Told of an agent that says, over its held link, that it has something to relay.
        on_came: Told of an agent that was behind a proxy and came by itself; its record is still as it was.
        unknown: Returns what somebody hears who is not known here, by its uid; None where nobody else would know it.
    """

    def __init__(self) -> None:
        """Serve nobody yet."""
        self.relays: Relays | None = None
        self.settle: Callable[[], Awaitable[None]] = _settled
        self.is_settled: Callable[[], bool] = lambda: True
        self.on_woken: Callable[[Record], object] = lambda _record: None
        self.on_came: Callable[[Record], None] = lambda _record: None
        self.unknown: Callable[[str], Refusal | None] = lambda _uid: None

    async def answer(self, request: Request, record: Record | None) -> Response:
        """Answer one exchange of a proxy that dials; raises as :meth:`take`."""
        answer = self.take(record, request.body)
        return Response(body=answer if isinstance(answer, bytes) else await answer, content_type=PROTOBUF)

    def take(self, record: Record | None, body: bytes) -> Answer:
        """Answer one exchange of a proxy that dials, at once if it brings nothing that has to be durable first.

        Raises:
            NotFoundError: No Proxy Manager is served here.
            GrantError: It was not accepted yet, or is no proxy.
            PophamError: As :meth:`popham.upstream.relays.Relays.answer`.
        """
        relays, proxy = self.check(record)
        return relays.take(proxy, body)

    def check(self, record: Record | None) -> tuple[Relays, Record]:
        """Return who relays, and the proxy, if there is one that may; raises as :meth:`take`, before anything is read."""
        if self.relays is None:
            raise NotFoundError("route", "nothing is relayed here")
        if record is None:
            raise GrantError("not_permitted", "this proxy was not accepted yet", "Wait until it is")
        return self.relays, record

    def woken(self, record: Record) -> bytes:
        """Answer a proxy that has something to relay; what comes of it goes on beside."""
        self.on_woken(record)
        return head(record)

    def changed(self, groups: Iterable[str]) -> None:
        """Take note that what groups are to have has changed."""
        if self.relays is not None:
            self.relays.groups_changed(groups)

    def came(self, record: Record) -> None:
        """Take note that an agent that was behind a proxy came by itself."""
        self.on_came(record)


async def _settled() -> None:
    """Return: nothing of it changes."""
