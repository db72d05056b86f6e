"""The agent's process: enrolls if it still has to, then keeps in touch until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import platform
import random
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from popham import __version__
from popham.agent.apply import Applier
from popham.agent.credentials import Credentials
from popham.agent.end import AgentEnd
from popham.agent.enforcer import Enforcer
from popham.agent.joining import Joining
from popham.agent.local import LocalDoor
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.agent.status import Status
from popham.clock import Clock
from popham.errors import StateError
from popham.link.driver import Driver
from popham.net.dialer import AiohttpDialer, Servers
from popham.net.seam import Dialer, Limits
from popham.net.tls import client_context
from popham.statedir import StateDir
from popham.trust.identity import load_certificate, read_identity
from popham.trust.tuf import TrustedTuf

_log = logging.getLogger(__name__)
KIND: Final = "agent"
_GOODBYE = 5.0
"""Seconds to say goodbye and end."""
_STALE = 1
"""Dialers kept that are no longer dialled with: a link may still be held by one."""


@asynccontextmanager
async def open_agent(
    settings: AgentSettings, source: Path, clock: Clock, rng: random.Random
) -> AsyncIterator[Agent]:
    """Open an agent's state directory, and close it at the end.

    Raises:
        StateError: It cannot be used, or another process uses it.
    """
    with StateDir.open(Path(settings.state), KIND, create=False) as state:
        yield Agent(settings, source, state, clock, rng)


class Agent:
    """One machine's agent, enrolled or not yet."""

    def __init__(
        self, settings: AgentSettings, source: Path, state_dir: StateDir, clock: Clock, rng: random.Random
    ) -> None:
        """Read what is kept; :meth:`run` begins.

        Args:
            settings: What this machine permits.
            source: The file they came from, for hints.
            state_dir: The locked state directory.
            clock: Wall time.
            rng: Draws jitter.
        """
        self._settings = settings
        self._source = source
        self._dir = state_dir
        self._clock = clock
        self._rng = rng
        self.state = AgentState(state_dir)
        self.status = Status(self.state, clock)
        self._dialer: Dialer | None = None
        self._stale: list[Dialer] = []
        self._closing: set[asyncio.Future[None]] = set()
        self._servers: Servers | None = None

    async def run(self, ready: asyncio.Event, stopping: asyncio.Event) -> None:
        """Keep this machine on its orders until ``stopping`` is set.

        Raises:
            StateError: It never began to enroll, or what it keeps is damaged.
        """
        self._servers = Servers(self._join_urls(), self._rng)
        door = LocalDoor(self._settings.socket_path, self.status)
        await door.open()
        ready.set()
        try:
            joining = Joining(self.state, self._clock, self._settings, self.status.say)
            if self.state.certificate() is None and not await joining.wait(door.news, stopping):
                return
            await self._serve(door, stopping)
        finally:
            await door.close()
            await self._close_dialers()

    def _join_urls(self) -> tuple[str, ...]:
        join = self.state.join()
        if join is None:
            raise StateError(
                "not_enrolled", "this machine has not joined a fleet", "Run 'popham agent enroll JOIN' first"
            )
        return tuple(join.urls)

    async def _serve(self, door: LocalDoor, stopping: asyncio.Event) -> None:
        documents = self.state.documents()
        if documents is None:
            raise StateError("not_enrolled", "this machine has no trust documents", "Enroll it again")
        tuf = TrustedTuf.from_bytes(documents.root, documents.targets)
        applier = Applier(self._settings, self._dir.path("applier"), source=self._source)
        self._dir.path("applier").mkdir(mode=0o700, exist_ok=True)
        await applier.recover()
        enforcer = Enforcer(self.state, applier, tuf, self._clock, door.news.set)
        credentials = Credentials(self.state, self._clock, self._rng.random, self._renewed)
        end = AgentEnd(
            self.state,
            enforcer,
            credentials,
            facts=find_facts(),
            fetch=self._fetch,
            version=__version__,
            news=door.news,
        )
        door.check_in = end.check_in
        driver = Driver(end, self._dial, draw=self._rng.random, said=self._said)
        self.status.attend(end, lambda: driver.link_wait)
        driving = asyncio.ensure_future(driver.run())
        stop: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
        ends: set[asyncio.Future[Any]] = {driving, stop}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            driver.stop()
            async with asyncio.timeout(_GOODBYE):
                await driving
        except TimeoutError:
            _log.warning("ended without goodbye")
        finally:
            driving.cancel()
            stop.cancel()
            await asyncio.gather(driving, stop, return_exceptions=True)

    # Ways to the upstream.

    def _dial(self) -> Dialer:
        """Return the transport to the upstream of choice, made anew after a renewal or a failure."""
        servers = self._need_servers()
        if self._dialer is None:
            self._dialer = self._make_dialer(servers.current)
        return self._dialer

    def _make_dialer(self, url: str) -> Dialer:
        join, certificate = self.state.join(), self.state.certificate()
        if join is None or certificate is None:
            raise StateError("not_enrolled", "this machine has no certificate yet")
        key = self.state.identity_key().pem
        # The standard library reads a client's key from files only; this one is seen by nobody else.
        with tempfile.TemporaryDirectory(dir=self._dir.root, prefix=".tmp-") as folder:
            (Path(folder) / "cert.pem").write_bytes(certificate)
            (Path(folder) / "key.pem").touch(mode=0o600)
            (Path(folder) / "key.pem").write_bytes(key)
            files = (Path(folder) / "cert.pem", Path(folder) / "key.pem")
            # An expired certificate is not shown; it serves, in a message, for renewal only.
            expired = read_identity(load_certificate(certificate)).not_after <= self._clock.now()
            context = client_context(join.ca.decode(), *((None, None) if expired else files))
        uid = uuid.UUID(self.state.uid).bytes
        return AiohttpDialer(url, context=context, limits=Limits(), instance_uid=uid)

    def _need_servers(self) -> Servers:
        if self._servers is None:
            self._servers = Servers(self._join_urls(), self._rng)
        return self._servers

    def _renewed(self) -> None:
        """Show the new certificate from the next connection on; a held link stays."""
        _log.info("the certificate was renewed")
        self._drop_dialer()

    def _drop_dialer(self) -> None:
        if self._dialer is not None:
            self._stale.append(self._dialer)
            self._dialer = None
        while len(self._stale) > _STALE:
            self._close_later(self._stale.pop(0))

    def _close_later(self, dialer: Dialer) -> None:
        task = asyncio.ensure_future(dialer.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_dialers(self) -> None:
        self._drop_dialer()
        for dialer in self._stale:
            await dialer.aclose()
        self._stale.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _said(self, text: str, wait: float | None) -> None:
        """Note what the driver says; after a failure the next attempt goes to the next server."""
        servers = self._need_servers()
        if text and wait is not None:
            # A new dialer also shows what certificate there is now, or none once that has expired.
            servers.failed()
            self._drop_dialer()
            while self._stale:
                self._close_later(self._stale.pop())
        elif not text:
            servers.succeeded()
        self.status.say(text, wait)

    async def _fetch(self, sha256: str, limit: int) -> bytes:
        return await self._dial().fetch(f"/v1/content/sha256/{sha256}", limit=limit)


def find_facts() -> dict[str, str]:
    """Return what is told of this machine, under OpenTelemetry's names."""
    return {
        "host.name": socket.gethostname(),
        "host.arch": platform.machine(),
        "os.type": platform.system().lower(),
        "os.version": platform.release(),
    }
