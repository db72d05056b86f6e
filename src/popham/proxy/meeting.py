"""Agents that nobody here knows are asked for above; who is asked for in vain comes again at a time of its own.

Rules:

1. An agent waits a moment for the answer, and the question goes on being asked when it had to go.
2. When it may come again is drawn from a window that grows with how many were sent away lately: a whole hall that finds
   a proxy with an empty cache must not return as one wave.
3. A machine that is no Proxy Manager any more asks nothing: its agents are better off elsewhere.
"""

from __future__ import annotations

import random
from typing import Final

from google.protobuf.message import DecodeError

from popham.clock import Clock
from popham.errors import LinkError, PophamError, TrustError
from popham.model.names import digest
from popham.net.rate import RoundRate
from popham.net.seam import Refusal, Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.calls import CALLS_MAX, PATIENCE, Calls, silent, unwrap
from popham.proxy.questions import Questions

SHORTEST: Final = 10.0
"""Seconds of the smallest window from which it is drawn when an agent may come again."""
LONGEST: Final = 300.0
"""Seconds of the largest one: a heartbeat."""
RETURNS: Final = 100.0
"""Agents that are to come again in a second; the window grows by that."""
_AWAY: Final = "this agent is not known here yet, and nothing above this proxy answers (link.timeout)"


class Meeting:
    """Asks above for agents.

    Attributes:
        closed: Why nobody is let in: this machine is no Proxy Manager any more; empty while it is one.
    """

    def __init__(self, calls: Calls, clock: Clock, rng: random.Random) -> None:
        """Ask by ``calls``; ``rng`` spreads the return of those who are sent away."""
        self.closed = ""
        self._questions = Questions(calls, clock, most=CALLS_MAX)
        self._away = RoundRate(RETURNS, clock=clock, rng=rng, longest=LONGEST, shortest=SHORTEST)

    async def ask(self, key: bytes, certificate: bytes, bearer: str, address: str) -> wire.AgentTold:
        """Return what is to be known of an agent.

        Args:
            key: Its instance_uid, 16 bytes.
            certificate: What it shows, DER or PEM; empty for none.
            bearer: Likewise, a token.
            address: Where it is.

        Raises:
            Refused: It may not be here; or nobody answered in time, then with the time to come again.
        """
        if self.closed:
            raise self._send_away(self.closed)
        body = wire.MeetCall(certificate=certificate, bearer=bearer).SerializeToString()
        name = (key, digest(certificate), digest(bearer.encode()))
        try:
            answer = await self._questions.ask(name, "meet", key, body, address=address)
            return wire.AgentTold.FromString(unwrap(silent(PATIENCE) if answer is None else answer))
        except LinkError as error:
            # Without a status it was said here, and to all who wait the same.
            asked = (error.retry_after or 0.0) if error.status else 0.0
            raise self._send_away(_AWAY, asked) from error
        except PophamError as error:
            status = 401 if isinstance(error, TrustError) else 403
            raise Refused(Refusal(status=status, body=str(error))) from error
        except DecodeError as error:
            raise self._send_away(_AWAY) from error

    def _send_away(self, why: str, asked: float = 0.0) -> Refused:
        """Return the refusal of an agent that may come again, not before the ``asked`` seconds."""
        return Refused(Refusal(status=503, retry_after=asked + self._away.send_away(), body=why))
