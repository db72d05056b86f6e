"""What an upstream does where it dials: visits, and links it opened itself.

Only the first word differs from an agent that dials: the upstream says it,
and says nothing in it.  Everything after is the hub's, as in every cell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from popham.errors import WireError
from popham.net.seam import Peer, Refused, Service
from popham.opamp.codec import parse_agent
from popham.upstream.directive import quiet

MAX_EXCHANGES = 8
"""Exchanges of one visit; what is left waits for the next."""


async def visit(service: Service, peer: Peer, exchange: Callable[[bytes], Awaitable[bytes]]) -> None:
    """Make one visit: hear the report, say the directive, hear the outcome.

    Args:
        service: The hub.
        peer: Who is visited; the hub decides who that is.
        exchange: Sends one message to the agent's service and returns its answer.

    Raises:
        LinkError: The agent could not be reached.
        WireError: It may not be served, or does not answer as an agent.
    """
    refusal = service.admit(peer, held=False, uid=b"")
    if refusal is not None:
        raise WireError("refused", refusal.body)
    said = b""
    for _ in range(MAX_EXCHANGES):
        heard = await exchange(said)
        key = parse_agent(heard).instance_uid
        try:
            answer = service.round(peer, heard)
            said = answer if isinstance(answer, bytes) else await answer
        except Refused as error:
            raise WireError("refused", error.refusal.body) from error
        if said == quiet(key):
            return
