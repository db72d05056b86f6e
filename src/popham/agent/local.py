"""The agent's door on its own machine: a Unix socket that only its user may open.

One JSON object per line in, one out: ``{"do": "status"}``, ``{"do": "check-in"}``, or a word about the agent's
service, such as ``{"do": "service-start"}``.  What cannot be done is answered by ``{"failure": …}``.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from popham.agent.service import WORDS
from popham.agent.status import Status
from popham.errors import ConfigError, LinkError, PophamError, StateError
from popham.posix import set_mode

_LINE = 4096
_ANSWER = 256 * 1024
_TIME = 5.0
"""Seconds one question may take, on either side."""
SERVICE_TIME = 30.0
"""Seconds that a word about the service may take: the first start imports what it needs."""


class LocalDoor:
    """Answers questions asked on this machine.

    Attributes:
        news: Set when a round is wanted; shared with the agent's end.
        check_in: What a ``check-in`` does.
        service: What a word about the agent's service does; None while there is none.
    """

    def __init__(self, path: Path, status: Status) -> None:
        """Answer at ``path`` with ``status``, once opened."""
        self.news = asyncio.Event()
        self.check_in: Callable[[], None] = self.news.set
        self.service: Callable[[str], Awaitable[dict[str, Any]]] | None = None
        self._path = path
        self._status = status
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; a socket that a dead agent left is replaced, since the state directory is locked.

        Raises:
            ConfigError: The path cannot be listened on.
        """
        try:
            self._path.unlink(missing_ok=True)
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                bound.setblocking(False)  # noqa: FBT003  # the library's form
                bound.bind(str(self._path))
                # Nobody can connect before it listens, so its mode holds from the first moment.
                set_mode(self._path, 0o600)
                self._server = await asyncio.start_unix_server(self._answer, sock=bound, limit=_LINE)
            except BaseException:
                bound.close()
                raise
        except OSError as error:
            problem = f"{self._path} cannot be listened on: {error.strerror or error}"
            raise ConfigError(
                "socket", problem, "Set 'socket' in agent.toml to a shorter path that can be written"
            ) from error

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIME):
                line = await reader.readline()
            async with asyncio.timeout(SERVICE_TIME):
                answer = await self._do(line)
            async with asyncio.timeout(_TIME):
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ValueError, OSError):
            # Whoever asks nonsense, or asks and leaves, gets no answer.
            return
        finally:
            writer.close()

    async def _do(self, line: bytes) -> dict[str, Any]:
        asked = json.loads(line)
        what = asked.get("do") if isinstance(asked, dict) else None
        if what == "status":
            return self._status.describe()
        if what == "check-in":
            self.check_in()
            return {"asked": True}
        if isinstance(what, str) and what in WORDS:
            return await self._serve(what)
        return {"error": "the agent knows 'status', 'check-in', and words about its service"}

    async def _serve(self, word: str) -> dict[str, Any]:
        if self.service is None:
            problem = "this machine does not belong to a fleet yet, so it has no service"
            hint = "Wait until it is accepted; 'popham agent status' says how it stands"
            return {"failure": StateError("not_enrolled", problem, hint).as_dict()}
        try:
            return await self.service(word)
        except PophamError as error:
            return {"failure": error.as_dict()}


async def ask(path: Path, what: str, *, seconds: float = _TIME) -> dict[str, Any]:
    """Ask the agent that runs on this machine.

    Args:
        path: Its local socket.
        what: The word.
        seconds: How long the answer may take.

    Raises:
        LinkError: ``link.no_agent``: none answers there.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(path, limit=_ANSWER)
            try:
                writer.write(json.dumps({"do": what}).encode() + b"\n")
                answer: dict[str, Any] = json.loads(await reader.readline())
            finally:
                writer.close()
            return answer
    except (OSError, ValueError, TimeoutError) as error:
        problem = f"no agent answers at {path}"
        raise LinkError(
            "no_agent", problem, "Start it with 'popham agent run', or name its --config"
        ) from error
