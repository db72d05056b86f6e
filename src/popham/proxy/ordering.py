"""Operations below a proxy: orders as they were told, offered to agents, and signed results on their way up.

Rules:

1. A proxy decides nothing: an order is offered while it is told, until its agent says that it began, or what came of it.
2. A result goes up until the other end says that it is durable there; only then is it named to the agent, which repeats
   it until then.  So nothing has to be durable here.
3. OpAMP's own command has no answer, so it is said once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from popham.errors import LinkError
from popham.model.fleet import AgentKind
from popham.model.operation import DOCUMENTS
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.calls import Calls
from popham.trust.operation import open_result
from popham.trust.verify import check_blob
from popham.upstream.orders import HEARD, Order, Orders
from popham.upstream.outputs import no_output
from popham.upstream.record import Record

RESULTS_MAX: Final = 32
"""Operations of one agent whose results wait here; it repeats what was not taken."""
AGENTS_MAX: Final = 100_000
"""Agents of which something of operations is remembered."""
_OUTPUT_PATIENCE: Final = 30.0


@dataclass(slots=True)
class _Told:
    """What is remembered of one agent.

    Attributes:
        results: Nonce → revision and envelope of the newest result that is on its way up.
        fresh: Nonces of those that were not said yet, or that the agent said again.
        turn: Those among them that are being said, each with its revision.
        heard: Nonce → revision that is durable above; the newest.
        offered: Nonces of documents that went to it, and were not said yet.
        saying: Those among them that are being said.
        restart: Nonce that OpAMP's own command said last.
        began: Whether its agent described itself since: it began anew, and that was not heard above yet.
    """

    results: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    fresh: dict[str, None] = field(default_factory=dict)
    turn: dict[str, int] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    offered: dict[str, None] = field(default_factory=dict)
    saying: dict[str, None] = field(default_factory=dict)
    restart: str = ""
    began: bool = False

    @property
    def empty(self) -> bool:
        return not (self.results or self.heard or self.offered or self.saying or self.restart)


class ProxyOrdering:
    """What is ordered of the agents of one proxy.

    Attributes:
        on_said: Told an agent of which something is to go up. Must not wait.
    """

    def __init__(self, calls: Calls) -> None:
        """Know of no order; outputs go up by ``calls``."""
        self._calls = calls
        self._told: dict[bytes, _Told] = {}
        self._bringing: set[str] = set()
        self.on_said: Callable[[Record], None] = lambda _record: None

    # What a hub asks: popham.upstream.orders.Ordering.

    def told(self, record: Record, nonces: Sequence[str]) -> None:
        """Take note that documents are on their way to an agent."""
        told = self._of(record)
        if told is None:
            return
        if record.kind is AgentKind.STOCK:
            told.restart = nonces[0]
            if record.orders is not None:
                # It is looked at until the agent describes itself, as one does that begins.
                record.orders.followed, record.orders.described = True, False
        if len(told.offered) < RESULTS_MAX:
            told.offered.update(dict.fromkeys(nonces))
            self.on_said(record)

    def hear(self, record: Record, results: Sequence[bytes]) -> None:
        """Take note of results, which are not durable here, so nothing has to be waited for.

        Raises:
            TrustError: One is not signed by this agent, or too large; then nothing was taken note of.
        """
        opened = [open_result(one, public_der=record.public_key, uid=record.uid) for one in results]
        told = self._of(record)
        if told is None:
            return
        for result, envelope in zip(opened, results, strict=True):
            if told.heard.get(result.nonce, 0) >= result.revision:
                self._name(record, [f"{result.nonce}:{result.revision}"])
                continue
            known = told.results.get(result.nonce)
            if known is None and len(told.results) >= RESULTS_MAX:
                continue
            if known is None or known[0] < result.revision:
                told.results[result.nonce] = (result.revision, envelope)
            told.fresh[result.nonce] = None
            if record.orders is not None:
                record.orders.open.pop(result.nonce, None)
                self._tidy(record)
        if told.fresh:
            self.on_said(record)

    def reported(self, record: Record) -> None:
        """Take note of a stock agent that described itself after it was told to restart: that has to be said above."""
        orders, told = record.orders, self._told.get(record.key)
        if told is None or orders is None or not (orders.followed and orders.described):
            return
        orders.followed = orders.described = False
        told.began = True
        self._tidy(record)
        self.on_said(record)

    def began(self, key: bytes) -> bool:
        """Return whether an agent began anew, as it was told, and that was not heard above yet."""
        told = self._told.get(key)
        return told is not None and told.began

    def lacks_outputs(self, record: Record) -> Sequence[str]:
        """Return digests of outputs of this agent that are wanted above."""
        return tuple(record.orders.want_outputs) if record.orders is not None else ()

    async def take_output(self, record: Record, sha256: str, body: bytes) -> None:
        """Hand an output on; returns once it is durable above.

        Raises:
            NotFoundError: ``not_found.output``: nobody wants it.
            TrustError: ``trust.blob``: it is not what its name says.
            LinkError: ``link.timeout``, ``link.busy``: it cannot be handed on now.
        """
        if sha256 not in self.lacks_outputs(record):
            raise no_output()
        check_blob(body, sha256, len(body))
        if sha256 in self._bringing:
            raise LinkError("busy", "this output is being handed on", "Nothing: it is tried again")
        self._bringing.add(sha256)
        try:
            call = wire.OutputCall(sha256=sha256, body=body).SerializeToString()
            await self._calls.call("output", record.key, call, record.address, _OUTPUT_PATIENCE)
        finally:
            self._bringing.discard(sha256)
        if record.orders is not None:
            record.orders.want_outputs.pop(sha256, None)
            self._tidy(record)

    # What is told from above.

    def note(self, record: Record, told: wire.AgentTold) -> bool:
        """Take what was told of an agent's operations; return whether there is something new to say to it."""
        known = self._told.get(record.key)
        if known is not None:
            self._note_heard(known, told.heard)
            known.restart = known.restart if told.restart else ""
        said = known or _Told()
        orders = record.orders or Orders()
        before = set(orders.open)
        orders.open = {
            one.nonce: orders.open.get(one.nonce) or Order(one.nonce, bytes, one.envelope)
            for one in told.orders
            if one.nonce not in said.results and one.nonce not in said.heard
        }
        orders.want_outputs = dict.fromkeys(told.want_outputs[:HEARD])
        fresh = bool(set(orders.open) - before) or bool(told.heard)
        if told.restart != said.restart and told.restart:
            orders.restart, fresh = told.restart, True
        elif not told.restart:
            orders.restart = ""
        record.orders = orders
        self._name(record, told.heard)
        self._tidy(record)
        return fresh and record.orders is not None

    def forget(self, key: bytes) -> None:
        """Forget an agent, which is not at this proxy any more."""
        self._told.pop(key, None)

    # What goes up.

    def say(self, record: Record) -> tuple[list[bytes], list[str]]:
        """Return results of an agent that are not durable above, and nonces that were offered; a few of each."""
        told = self._told.get(record.key)
        if told is None:
            return [], []
        told.turn = {nonce: told.results[nonce][0] for nonce in tuple(told.fresh)[:DOCUMENTS]}
        told.saying |= told.offered
        told.offered = {}
        return [told.results[nonce][1] for nonce in told.turn], list(told.saying)

    def heard(self, key: bytes) -> bool:
        """Take note that what was said of an agent has arrived; return whether more waits to be said."""
        told = self._told.get(key)
        if told is None:
            return False
        for nonce, revision in told.turn.items():
            if told.results.get(nonce, (0, b""))[0] <= revision:
                told.fresh.pop(nonce, None)  # else there is a newer one, which was not said yet
        told.saying, told.turn, told.began = {}, {}, False
        if told.empty:
            del self._told[key]
        return bool(told.fresh or told.offered)

    def lost(self, key: bytes) -> None:
        """Take note that it may not have."""
        told = self._told.get(key)
        if told is not None:
            told.offered, told.saying, told.turn = told.saying | told.offered, {}, {}

    def again(self, key: bytes) -> None:
        """Say everything of an agent again: the other end knows nothing."""
        self.lost(key)
        told = self._told.get(key)
        if told is not None:
            told.fresh = dict.fromkeys(told.results)

    def _note_heard(self, known: _Told, heard: Sequence[str]) -> None:
        for text in heard:
            nonce, _, said = text.partition(":")
            revision = int(said) if said.isdecimal() and len(said) < 20 else 0
            waiting = known.results.get(nonce)
            if waiting is not None and waiting[0] <= revision:
                del known.results[nonce]
                known.fresh.pop(nonce, None)
                known.turn.pop(nonce, None)
            known.heard[nonce] = max(revision, known.heard.pop(nonce, 0))
        while len(known.heard) > 2 * RESULTS_MAX:
            del known.heard[next(iter(known.heard))]

    def _name(self, record: Record, heard: Sequence[str]) -> None:
        """Have results named to their agent as heard."""
        if not heard:
            return
        if record.orders is None:
            record.orders = Orders()
        record.settled = None
        record.orders.heard.extend(text for text in heard if text not in record.orders.heard)

    @staticmethod
    def _tidy(record: Record) -> None:
        record.settled = None
        if record.orders is not None and record.orders.empty:
            record.orders = None

    def _of(self, record: Record) -> _Told | None:
        found = self._told.get(record.key)
        if found is None and len(self._told) < AGENTS_MAX:
            found = self._told[record.key] = _Told()
        return found
