"""The reference of visits: aiohttp posting to the same services, without a signature, a schedule or a state.

``python -m bench.unsigned PORT COUNT FLIGHTS KEEP [CA]``: for each line on standard input everybody is asked once,
and the answer is the CPU time that it took, in seconds.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import Iterator

import aiohttp

from bench.visited import address_of
from popham.net.route import PROTOBUF, VISIT
from popham.net.visit_tls import visit_context


async def ask(session: aiohttp.ClientSession, urls: Iterator[str]) -> None:
    """Ask one after the other."""
    for url in urls:
        async with session.post(url, data=b"", headers={"Content-Type": PROTOBUF}) as response:
            body = await response.read()
            if response.status != 200 or not body:
                raise SystemExit(f"{url} answered {response.status}")


async def main() -> None:
    """Ask until standard input ends."""
    port, count, flights, keep = (int(word) for word in sys.argv[1:5])
    ca = sys.argv[5] if len(sys.argv) > 5 else ""
    context = visit_context("agent", ca) if ca else None
    scheme = "https" if isinstance(context, ssl.SSLContext) else "http"
    connector = aiohttp.TCPConnector(
        limit=0, ssl=context or False, force_close=not keep, **({"keepalive_timeout": 600.0} if keep else {})
    )
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        while await asyncio.to_thread(sys.stdin.readline):
            spent = time.process_time()
            urls = iter([f"{scheme}://{address_of(number)}:{port}{VISIT}" for number in range(count)])
            async with asyncio.TaskGroup() as group:
                for _ in range(flights):
                    group.create_task(ask(session, urls))
            print(time.process_time() - spent, flush=True)


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
