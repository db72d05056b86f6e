"""One process of lean agents: takes orders as JSON lines on standard input, answers on standard output."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from popham.testing.load.fleet import OPENERS, Fleet, Tally, Target
from popham.testing.load.identity import LoadIdentity, load_identities
from popham.testing.load.joining import Joiner


class Worker:
    """Does what it is ordered, one order after another."""

    def __init__(self) -> None:
        """Begin without agents."""
        self._fleet: Fleet | None = None
        self._target: Target | None = None
        self._identities: list[LoadIdentity] = []
        self._joiner: Joiner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._orders: Mapping[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
            "begin": self._begin,
            "join": self._join,
            "hold": self._hold,
            "beat": self._beat,
            "pull": self._pull,
            "look": self._look,
            "fresh": self._fresh,
        }

    async def obey(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one order and return what came of it."""
        return await self._orders[str(order["do"])](order)

    @property
    def fleet(self) -> Fleet:
        """The agents; made when they are first needed."""
        if self._fleet is None:
            if self._target is None:
                raise LookupError("the first order is 'begin'")
            self._fleet = Fleet(self._target, self._identities, random.Random())  # noqa: S311  # no secret
        return self._fleet

    async def _begin(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Take a target, and agents from a file."""
        self._target = Target(**order["target"])
        if order.get("file"):
            share = {name: order[name] for name in ("first", "step", "count")}
            self._identities = load_identities(Path(order["file"]), **share)
        return {"agents": len(self._identities)}

    async def _join(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to join by a join string; 'look' tells how far it is."""
        self._joiner = Joiner(str(order["join"]), self._identities)
        self._tasks.append(asyncio.ensure_future(self._joiner.join(int(order["count"]))))
        return {}

    async def _hold(self, order: Mapping[str, Any]) -> dict[str, Any]:
        self.fleet.hold(float(order["heartbeat"]), int(order.get("openers", OPENERS)))
        return {}

    async def _pull(self, order: Mapping[str, Any]) -> dict[str, Any]:
        self._tasks.append(asyncio.ensure_future(self.fleet.pull(float(order["heartbeat"]))))
        return {}

    async def _beat(self, order: Mapping[str, Any]) -> dict[str, Any]:
        await self.fleet.beat(
            float(order["seconds"]), keep=bool(order["keep"]), flights=int(order["flights"])
        )
        return await self._look(order)

    async def _fresh(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to count anew, from a time on the machine's monotonic clock if it is named."""
        self.fleet.tally = Tally(since=float(order.get("since", 0.0)))
        return {}

    async def _look(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Tell what was seen so far."""
        del order
        for task in self._tasks:
            if task.done() and task.exception() is not None:
                return {"error": str(task.exception())}
        joined = self._joiner.joined if self._joiner else len(self._identities)
        if self._fleet is None:
            return {"joined": joined, "held": 0}
        tally = self._fleet.tally
        return {
            "joined": joined,
            "held": len(self._fleet.held),
            "opened": tally.opened,
            "failed": dict(tally.failed),
            "offers": tally.offers,
            "asked": tally.asked,
            "applied": tally.applied,
            "first": tally.first,
            "last": tally.last,
            "last_applied": tally.last_applied,
            "opening": tally.opening.encode(),
            "rounds": tally.rounds.encode(),
            "told": tally.told.encode(),
        }

    async def close(self) -> None:
        """Cut every link and end what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._fleet is not None:
            await self._fleet.close()


async def serve() -> None:
    """Obey orders until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    worker = Worker()
    try:
        while line := await reader.readline():
            answer = await worker.obey(json.loads(line))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        await worker.close()


def main() -> None:
    """Run the process."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
