"""A service on a Unix socket, and a visitor that comes to it through CGI."""

import asyncio
import contextlib
import gzip
import os
import random

from popham.downstream import cgi
from popham.downstream.service import VisitService
from popham.net.seam import Limits, Response
from popham.net.visited import VisitListener

from .visitors import Scene


@contextlib.asynccontextmanager
async def through_cgi(folder):
    """Yield a scene, and what asks its service through CGI and believes the answer."""
    scene = Scene()
    scene.service = service = VisitService(scene.world, clock=scene.clock)
    scene.visitor = scene.visits(scene.director)
    listener = VisitListener(service, context=None, limits=Limits(), clock=scene.clock, rng=random.Random(1))
    await listener.start_unix(folder / "visit.sock")

    async def ask(*args, **kwargs):
        request = scene.visitor.request(*args, **kwargs)
        answer = await asyncio.to_thread(carry, request, folder / "visit.sock")
        scene.visitor.believe(request, answer)
        return answer

    try:
        yield scene, ask
    finally:
        await listener.stop()
        await service.aclose()


def carry(request, path):
    """Return the answer to a request, as a web server gets it."""
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    environ |= {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/SQC",
        "PATH_INFO": "/v1/visit",
        "QUERY_STRING": request.raw_query,
        "CONTENT_LENGTH": str(len(request.body)),
        "HTTP_ACCEPT_ENCODING": "gzip",
    }
    source, sink = os.pipe()
    try:
        os.write(sink, request.body)
        found = cgi.carry(environ, source, str(path), cgi.time.monotonic() + 30.0)
    finally:
        os.close(source)
        os.close(sink)
    head, _, content = found.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return Response(status=int(status.split()[1]), headers=headers, body=content)
