"""What else may answer where an agent is expected, and web proxies on the way: small servers on loopback."""

import asyncio
import base64
import contextlib
import threading

LARGE = 10 * 1024**3
"""Bytes of an answer that never ends."""
PAGE = b"<html><form>Please log in to this network</form></html>"
MEDIA = b"application/x-protobuf"


class Loop:
    """An event loop in a thread of its own; servers that are started in it end with it."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="strange servers")
        self._thread.start()
        self._servers = []
        self._writers = []

    def serve(self, talk):
        """Serve connections by ``talk(reader, writer)`` on a free port, and return the port."""

        async def run(reader, writer):
            self._writers.append(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(reader, writer)
            await abort(writer)

        async def start():
            server = await asyncio.start_server(run, "127.0.0.1", 0)
            self._servers.append(server)
            return server.sockets[0].getsockname()[1]

        return asyncio.run_coroutine_threadsafe(start(), self._loop).result(30)

    def close(self):
        """End all servers and their connections."""

        async def end():
            for server in self._servers:
                server.close()
            for writer in self._writers:
                writer.transport.abort()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # transports close in the next turn

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class Strangers:
    """Answers as its prefix says; it remembers the paths that it was asked for."""

    def __init__(self):
        self.paths = []
        self.target = ""
        self.sent = 0

    async def talk(self, reader, writer):
        """Answer one request."""
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        self.paths.append(path)
        await getattr(self, path.split("/")[1])(writer)
        await writer.drain()
        await reader.read()

    async def garbage(self, writer):
        """Say what is no HTTP."""
        writer.write(b"\x00\x01 220 mail.example ESMTP\r\n\r\n")

    async def portal(self, writer):
        """Show a login page."""
        writer.write(answer(b"200 OK", PAGE, b"text/html"))

    async def elsewhere(self, writer):
        """Redirect."""
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % self.target.encode()
        )

    async def wrong(self, writer):
        """Know no such alias."""
        writer.write(answer(b"404 Not Found", b"<h1>Not Found</h1>", b"text/html"))

    async def gone(self, writer):
        """Find nobody behind."""
        writer.write(answer(b"502 Bad Gateway", b"<h1>Bad Gateway</h1>", b"text/html"))

    async def shut(self, writer):
        """Want a password."""
        writer.write(answer(b"401 Unauthorized", b"", b"text/plain"))

    async def endless(self, writer):
        """Send 10 GiB."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (MEDIA, LARGE))
        while self.sent < LARGE:
            writer.write(bytes(65536))
            await writer.drain()
            self.sent += 65536

    async def trickle(self, writer):
        """Send one byte a second."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 600\r\n\r\n" % MEDIA)
        for _ in range(600):
            writer.write(b"\x0a")
            await writer.drain()
            await asyncio.sleep(1)


class HttpProxy:
    """A web proxy that leads on by CONNECT, for whoever has its password."""

    def __init__(self, login="", *, refuses=False):
        self.login = b"basic " + base64.b64encode(login.encode()).lower() if login else b""
        self.refuses = refuses
        self.asked = []

    async def talk(self, reader, writer):
        """Lead one connection on, or say why not."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b"\r\n")[0].decode())
        refusal = b"403 Forbidden" if self.refuses else b""
        if self.login not in head.lower():
            refusal = b"407 Proxy Authentication Required"
        if refusal:
            writer.write(answer(refusal, b"", b"text/plain"))
            await writer.drain()
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = asyncio.create_task(relay(far_reader, writer))
        try:
            await relay(reader, far_writer)
            await back
        finally:
            back.cancel()
            await abort(far_writer)


async def abort(writer):
    """Return once the connection is gone: a loop that ends before leaves a socket open."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def relay(reader, writer):
    """Carry bytes one way until they end."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


def answer(status, body, media):
    """Return a whole answer."""
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        media,
        len(body),
        body,
    )
