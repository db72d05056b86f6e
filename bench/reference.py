"""The reference: aiohttp doing the work of a heartbeat, and holding links, without anything else a Manager does.

``python -m bench.reference PORT [CERTIFICATE KEY CA]``
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import uvloop
from aiohttp import WSMsgType, web

from popham.net.route import OPAMP, PROTOBUF
from popham.net.tls import server_context
from popham.opamp.codec import parse_agent
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentConfigMap, AgentRemoteConfig, ServerToAgent

seen: dict[bytes, list[object]] = {}
"""instance_uid to time of last contact and prebuilt answer."""


def answer(body: bytes) -> bytes:
    """Find the agent, note the time, return its answer."""
    key = parse_agent(body).instance_uid
    held = seen.get(key)
    if held is None:
        held = seen[key] = [0.0, ServerToAgent(instance_uid=key, capabilities=0x67).SerializeToString()]
    held[0] = time.time()
    return held[1]  # type: ignore[return-value]  # the second is bytes


async def post(request: web.Request) -> web.Response:
    """Answer one round."""
    return web.Response(body=answer(await request.read()), content_type=PROTOBUF)


links: set[web.WebSocketResponse] = set()
"""Held links."""


async def publish() -> None:
    """Send every link the same configuration, prepared once."""
    config = AgentConfigMap()
    config.config_map[""].body = b"exporters: {debug: {verbosity: detailed}}"
    offer = AgentRemoteConfig(config=config, config_hash=os.urandom(32))
    data = b"\0" + ServerToAgent(remote_config=offer).SerializeToString()
    for number, link in enumerate(list(links)):
        await link.send_bytes(data)
        if number % 64 == 0:
            await asyncio.sleep(0)


async def hold(request: web.Request) -> web.WebSocketResponse:
    """Hold one link."""
    link = web.WebSocketResponse(autoping=True)
    await link.prepare(request)
    links.add(link)
    async for message in link:
        if message.type is WSMsgType.BINARY:
            await link.send_bytes(b"\0" + answer(message.data[1:]))
    links.discard(link)
    return link


async def main() -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app.add_routes([web.post(OPAMP, post), web.get(OPAMP, hold)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    files = [Path(name) for name in sys.argv[2:5]]
    context = server_context(*files) if files else None
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), ssl_context=context, backlog=4096).start()
    loop, wanted = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, wanted.set)
    while await wanted.wait():
        wanted.clear()
        await publish()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(main())
