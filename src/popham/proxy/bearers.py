"""Bearer tokens of stock agents, as a proxy knows them: by digest, from whoever stands above it.

Rules:

1. Only the Manager can say whose a token is: who shows one that is not known here is asked to come again while that
   is found out.  That goes on being asked when nobody answers, as a proxy may be visited each ten minutes only.
2. What was said holds until the time that was named; of a token that serves from some addresses only, for the address
   that it was shown from, and a few minutes.
3. A token itself is never kept.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError

from popham.clock import Clock
from popham.errors import LinkError
from popham.model.registry import IdentityKind
from popham.net.seam import Refusal, Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.cache import Loaded, ProxyCache
from popham.proxy.calls import PATIENCE, Calls
from popham.proxy.questions import KEPT
from popham.upstream.book import Identity

KNOWN_MAX: Final = 4096
"""Tokens that are remembered, and likewise refusals."""
ASKED_MAX: Final = 128
"""Tokens that are asked about at once: strangers can show any, and have to leave room for what agents ask."""
NEARBY: Final = 300.0
"""Seconds that a token is believed that serves from some addresses only."""
REFUSED: Final = 30.0
"""Seconds that a token is refused without asking."""
ASKING: Final = Refusal(status=503, retry_after=1.0, body="the token is being looked up (link.timeout)")
_AWAY: Final = Refusal(status=503, retry_after=10.0, body="nothing above this proxy answers (link.timeout)")
_NOTE: Final = "bearers"


@dataclass(frozen=True, slots=True)
class _Known:
    """Whose a token is: its id and group, until when that holds, or why it is refused; ``lasts`` past this process."""

    token: str = ""
    group: str = ""
    until: float = 0.0
    refusal: Refusal | None = None
    lasts: bool = False


class Bearers:
    """Tokens of stock agents."""

    def __init__(self, cache: ProxyCache, calls: Calls, clock: Clock) -> None:
        """Know none."""
        self._cache, self._calls, self._clock = cache, calls, clock
        self._known: dict[tuple[str, str], _Known] = {}
        self._asked: dict[tuple[str, str], float] = {}  # since when
        self._senders: dict[bytes, str] = {}
        self.edition: object = object()

    def load(self, loaded: Loaded) -> None:
        """Take what the cache had."""
        try:
            kept = json.loads(loaded["notes"].get(_NOTE, b"{}"))
            for shown, (token, group, until) in kept.items():
                self._note((str(shown), ""), _Known(str(token), str(group), float(until), lasts=True))
        except (ValueError, TypeError, AttributeError):
            self._known = {}

    def identify(self, bearer: str, address: str) -> Identity:
        """Return whose token it is.

        Raises:
            Refused: It is not known here, yet or at all.
        """
        shown = sha256(bearer.encode()).hexdigest()
        now = self._clock.now()
        for key in ((shown, ""), (shown, address)):
            known = self._known.get(key)
            if known is not None and now < known.until:
                if known.refusal is not None:
                    raise Refused(known.refusal)
                return Identity(
                    caller=IdentityKind.STOCK,
                    token=known.token,
                    group=known.group,
                    until=known.until,
                    edition=self.edition,
                )
        raise Refused(ASKING if self._ask(bearer, shown, address) < PATIENCE else _AWAY)

    def token_of(self, source: bytes) -> str:
        """Return the id of the token whose own data has this uid; empty if it is none of a token."""
        return self._senders.get(source, "")

    def note(self, bearer: str, address: str, told: wire.AgentTold) -> None:
        """Take note of whose a token is, as that was told beside an agent that showed it."""
        shown, now = sha256(bearer.encode()).hexdigest(), self._clock.now()
        anywhere = told.token_until > now
        until = told.token_until if anywhere else now + NEARBY
        parts = bearer.split("_")
        token = parts[1] if len(parts) == 3 else ""
        self._note((shown, "" if anywhere else address), _Known(token, told.group, until, lasts=anywhere))
        kept = {key[0]: [one.token, one.group, one.until] for key, one in self._known.items() if one.lasts}
        self._cache.put("notes", _NOTE, json.dumps(kept).encode())

    def forget(self) -> None:
        """Ask of each token again, as somebody shows it: one may have been revoked."""
        self._known = {}
        self.edition = object()

    def _ask(self, bearer: str, shown: str, address: str) -> float:
        """Ask whose a token is; return the seconds since that was asked first, infinity if there is no room."""
        self._calls.expire()
        key, now = (shown, address), self._clock.monotonic()
        if key in self._asked:
            return now - self._asked[key]
        if len(self._asked) >= ASKED_MAX:
            return math.inf
        self._asked[key] = now
        body = wire.MeetCall(bearer=bearer).SerializeToString()
        self._calls.post("meet", b"", body, self._answered(bearer, key), address=address, seconds=KEPT)
        return 0.0

    def _answered(self, bearer: str, key: tuple[str, str]) -> Callable[[bytes | Exception], None]:
        def done(said: bytes | Exception) -> None:
            self._asked.pop(key, None)
            now = self._clock.now()
            if isinstance(said, LinkError):
                self._note(key, _Known(until=now + 1.0, refusal=_AWAY))
            elif isinstance(said, Refused):
                wait = said.refusal.retry_after or REFUSED
                self._note(key, _Known(until=now + min(wait, REFUSED), refusal=said.refusal))
            elif isinstance(said, Exception):
                refusal = Refusal(status=401, body=str(said))
                self._note(key, _Known(until=now + REFUSED, refusal=refusal))
            else:
                with suppress(DecodeError):
                    self.note(bearer, key[1], wire.AgentTold.FromString(said))

        return done

    def _note(self, key: tuple[str, str], known: _Known) -> None:
        if len(self._known) >= KNOWN_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[key] = known
        if known.token:
            self._senders[uuid.uuid5(uuid.NAMESPACE_URL, f"urn:popham:token:{known.token}").bytes] = (
                known.token
            )
