"""An upstream dials: its schedule, whom it holds for, and whom changes concern; the same for whoever visits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

from popham.clock import Clock
from popham.errors import PophamError
from popham.link.visits import AWAITED, LAPSED
from popham.net.seam import Limits
from popham.upstream.book import Book
from popham.upstream.hub import Hub
from popham.upstream.kept_targets import KeptTargets
from popham.upstream.record import Record
from popham.upstream.targets import Target
from popham.upstream.visit_dials import VisitDials, find_lacking
from popham.upstream.visitor import LANE, SLOW_LANE, Visitor
from popham.upstream.visits import Dials, Signer

T = TypeVar("T", bound=KeptTargets)


class Visiting(Generic[T]):
    """Everything of an upstream that has to do with dialling agents.

    Attributes:
        enabled: Whether it visits anybody at all.
        targets: Whom it visits.
        visitor: When it does.
        dials: How it gets there.
    """

    def __init__(
        self,
        book: Book,
        hub: Hub,
        targets: T,
        dials: VisitDials,
        signer: Signer,
        documents: bytes,
        *,
        clock: Clock,
        draw: Callable[[], float],
        limits: Limits,
        enabled: bool = True,
        dial: Callable[[Target], Dials] | None = None,
        unreached: Callable[[str, PophamError], None] = lambda _uid, _error: None,
        lanes: tuple[int, int] = (LANE, SLOW_LANE),
    ) -> None:
        """Wire the parts; :meth:`run` starts them.

        Args:
            book: Who is known.
            hub: Hears what visited agents say.
            targets: Whom to visit; what changes in them is told to :attr:`visitor` from now on.
            dials: The ways there.
            signer: Signs requests.
            documents: Trust documents of the fleet, for whoever waits to be born.
            clock: Wall time, and the time of the schedule.
            draw: Random number in [0, 1).
            limits: Bounds of messages and links.
            enabled: Whether anybody is visited.
            dial: Returns the way to an agent; None for the network.
            unreached: Told the uid of an agent that could not be visited, and why.
            lanes: Visits at once; and of agents whose last visit failed.
        """
        self.enabled = enabled
        self.targets = targets
        self.dials = dials
        self._hub = hub
        self.visitor = Visitor(
            hub,
            book,
            targets,
            dial=dial or dials.dial,
            signer=signer,
            documents=documents,
            clock=clock,
            draw=draw,
            limits=limits,
            lacks=partial(find_lacking, book),
            outputs=hub.outputs,
            streams=hub.streams,
            relaying=hub.relaying,
            brought=hub.tell,
            unreached=unreached,
            lanes=lanes,
        )
        targets.changed = self.visitor.changed

    async def run(self) -> None:
        """Visit, until cancelled; where visits are not enabled, only wait."""
        if not self.enabled:
            await asyncio.get_running_loop().create_future()
        self._hub.streams.on_ready = lambda record: self.visitor.ready(self.targets.key_of(record.uid))
        self._hub.relaying.on_woken = lambda record: self.relay(record.uid)
        tasks = [asyncio.ensure_future(one) for one in self.work()]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.dials.aclose()

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs while it visits."""
        return [self.targets.run(), self.visitor.run()]

    # What changed.

    def reported(self, record: Record) -> None:
        """Take note that an agent said something new, lacks something, or has outputs that are wanted."""
        if not self.enabled:
            return
        self.targets.reported(record)
        key = self.targets.key_of(record.uid)
        if record.lacks or (record.orders is not None and record.orders.want_outputs):
            self.visitor.lacking(key)
        if record.state is not None and record.state.fallback in {AWAITED, LAPSED}:
            self.visitor.waited_for(key)

    def agent_changed(self, uid: str) -> None:
        """Take note that an administrator changed an agent; if it waits for that, it is visited soon."""
        self.targets.agent_changed(uid)
        self.hasten(uid)

    def groups_changed(self, groups: Iterable[str]) -> None:
        """Take note that groups are to have something else."""
        self.targets.groups_changed(groups)

    def relay(self, uid: str) -> bool:
        """Exchange with a Proxy Manager, over a link that this end opened, what there is; False if none is held."""
        return self.visitor.relay(self.targets.key_of(uid))

    # What people ask.

    def hasten(self, uid: str) -> bool:
        """Have an agent visited now; False if it is not to be visited."""
        key = self.targets.key_of(uid)
        # Who has just dialled is not visited any more, and whoever asked has to hear that nobody goes there.
        return self.enabled and self.targets.visits(key) and self.visitor.hasten(key)
