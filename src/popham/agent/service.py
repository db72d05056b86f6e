"""The agent's HTTP service: off until somebody on this machine starts it, while the agent runs.

Rules:

1. Nobody but this machine's own people starts, stops or enables it; no Manager can.
2. Where it cannot listen, the reason is a sentence in its status; the agent goes on without it.
3. What it needs is imported at its first start: an agent that is not visited does not hold it in memory.
4. Its configuration is read anew at each start, so that another port needs no restart of the agent.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from popham.agent.chain import chain_files
from popham.agent.occupant import who_listens, who_serves
from popham.agent.service_settings import ServiceSettings
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import ConfigError, PophamError
from popham.net.route import VISIT
from popham.net.seam import Limits
from popham.net.tls import service_context, show_certificate
from popham.trust.identity import make_self_signed

if TYPE_CHECKING:
    from popham.downstream.service import VisitService
    from popham.downstream.visited import Visited
    from popham.net.visited import VisitListener

_log = logging.getLogger(__name__)
ENABLED: Final = "service-enabled"
"""File in the state directory, there while the service is enabled."""
AT_FIRST, RETRY = 1.0, 30.0
"""Seconds until an enabled service that could not listen tries again: at first, doubled each time, and at most.

The port of an agent that ended a moment ago may still be taken.
"""
STOP_TIME = 5.0
"""Seconds that people wait for a stop, at most; who is being answered then is let finish."""
CONNECTIONS = 32
"""Connections of one service: one visitor has few, and behind a web server all come from one address."""
SOCKET_MODE = 0o660


class AgentService:
    """Starts and stops the service of one agent.

    Attributes:
        address: Where it listens, as in ``https://*:23440`` or ``unix``; empty while it is off.
    """

    def __init__(
        self,
        state: AgentState,
        folder: Path,
        *,
        read: Callable[[], ServiceSettings],
        world: Visited,
        clock: Clock,
        rng: random.Random,
        told: Callable[[str], None] = lambda _address: None,
    ) -> None:
        """Keep what is needed; nothing listens before :meth:`run` or :meth:`start`.

        Args:
            state: Has certificate and key, and whether it is enabled.
            folder: The agent's state directory.
            read: Returns the settings as they are now. May raise ConfigError.
            world: Whoever is visited.
            clock: Wall time.
            rng: For the listener.
            told: Told each new :attr:`address`.
        """
        self.address = ""
        self._state = state
        self._folder = folder
        self._read = read
        self._world = world
        self._clock = clock
        self._rng = rng
        self._told = told
        self._lock = asyncio.Lock()
        self._service: VisitService | None = None
        self._listener: VisitListener | None = None
        self._context: ssl.SSLContext | None = None
        self._settings: ServiceSettings | None = None
        self._since: float | None = None
        self._problem: PophamError | None = None
        self._wanted = False
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def enabled(self) -> bool:
        """Whether it starts with the agent."""
        return is_enabled(self._state)

    async def run(self) -> None:
        """Start it if it is enabled, until it listens; end it when this is cancelled."""
        try:
            self._wanted, wait = self.enabled, AT_FIRST
            while self._wanted and self._listener is None:
                try:
                    await self.start()
                except PophamError as error:
                    _log.warning("the service is off, and is tried again: %s", error)
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, RETRY)
            await asyncio.get_running_loop().create_future()
        finally:
            await self._end()

    async def do(self, word: str) -> dict[str, Any]:
        """Do what the machine's people ask for, a word of :data:`WORDS`, and return the status.

        Raises:
            PophamError: It cannot be done; the service is as it was.
        """
        await WORDS[word](self)
        return self.describe()

    async def start(self) -> None:
        """Listen, if it does not yet.

        Raises:
            ConfigError: ``config.listen``: the port or the socket is taken; the sentence says by whom, if that is known.
        """
        async with self._lock:
            if self._listener is not None:
                return
            self._wanted = True
            try:
                await self._start(self._read())
            except PophamError as error:
                self._problem = error
                raise
            self._problem = None

    async def stop(self) -> None:
        """Listen no more; what is worked on goes on."""
        async with self._lock:
            self._wanted = False
            self._problem = None
            await self._stop()

    async def enable(self) -> None:
        """Have it start with the agent from now on. Raises StateError."""
        enable(self._state, on=True)

    async def disable(self) -> None:
        """Have it stay off when the agent starts. Raises StateError."""
        enable(self._state, on=False)

    async def look(self) -> None:
        """Change nothing."""

    def renewed(self) -> None:
        """Show the agent's new certificate from the next handshake on."""
        context, certificate = self._context, self._state.certificate()
        if context is not None and certificate is not None:
            try:
                self._with_files(certificate, lambda *files: show_certificate(context, *files))
            except PophamError as error:
                # The former one is shown until the service is started again.
                _log.warning("the service does not show the new certificate: %s", error)
                self._problem = error

    # Listening.

    async def _start(self, settings: ServiceSettings) -> None:
        from popham.net.visited import VisitListener

        port = settings.listens_on
        context = self._make_context() if port is not None and settings.tls else None
        service = self._serve()
        listener = VisitListener(
            service,
            context=context,
            limits=Limits(connections=CONNECTIONS, strangers_per_address=CONNECTIONS),
            clock=self._clock,
            rng=self._rng,
            peers=settings.peers,
            heeds=service.heeds,
        )
        try:
            if port is not None:
                await _open_port(listener, settings.addresses, port)
            if settings.socket is not None:
                await _open_socket(listener, settings.socket, settings.socket_group or "")
        except BaseException:
            await listener.stop()
            raise
        self._listener, self._context, self._settings = listener, context, settings
        self._since = self._clock.now()
        self._tell(settings.text)

    def _serve(self) -> VisitService:
        if self._service is None:
            from popham.downstream.service import VisitService

            self._service = VisitService(self._world, clock=self._clock)
        return self._service

    def _make_context(self) -> ssl.SSLContext:
        # Before it belongs to a fleet there is no other than one of its own; requests are signed anyway.
        certificate = self._state.certificate() or make_self_signed(
            self._state.identity_key(), self._state.uid
        )
        found: ssl.SSLContext = self._with_files(certificate, service_context)
        return found

    def _with_files(self, certificate: bytes, use: Callable[[Path, Path], Any]) -> Any:
        def work() -> Any:
            with chain_files(self._folder, certificate, self._state.identity_key().pem) as files:
                return use(*files)

        return self._state.room.with_room(work)

    async def _stop(self) -> None:
        listener, self._listener = self._listener, None
        self._context = self._settings = self._since = None
        if listener is None:
            return
        self._tell("")
        _log.info("the service is off")
        ending = asyncio.create_task(self._close(listener), name="end of the service's listener")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        # Nobody comes in any more; who is being answered is let finish.
        await asyncio.wait({ending}, timeout=STOP_TIME)

    async def _close(self, listener: VisitListener) -> None:
        if self._service is not None:
            await self._service.close_links()
        await listener.stop()

    async def _end(self) -> None:
        await self._stop()
        for ending in self._ending:
            ending.cancel()
        if self._service is not None:
            await self._service.aclose()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _tell(self, address: str) -> None:
        self.address = address
        if address:
            _log.info("the service listens: %s", address)
        self._told(address)

    # What people are told.

    def describe(self) -> dict[str, Any]:
        """Return everything as plain data; times are unix seconds, None where unknown."""
        settings, problem = self._settings, self._problem
        if settings is None:
            try:
                settings = self._read()
            except ConfigError as error:
                problem = problem or error
        found = describe_off(self._state, settings)
        found |= {"on": self._listener is not None, "address": self.address, "since": self._since}
        if problem is not None:
            found["problem"] = problem.as_dict()
        service = self._service
        if service is not None:
            found["held"] = service.held
            found["visitor"] = _fields(service.visitor)
            found["refused"] = _fields(service.refused)
        found["next"] = say_next(found)
        return found


WORDS: Mapping[str, Callable[[AgentService], Awaitable[None]]] = MappingProxyType(
    {
        "service": AgentService.look,
        "service-start": AgentService.start,
        "service-stop": AgentService.stop,
        "service-enable": AgentService.enable,
        "service-disable": AgentService.disable,
    }
)
"""Word of the agent's door → what it does."""


def is_enabled(state: AgentState) -> bool:
    """Return whether the service starts with the agent."""
    return state.room.read(ENABLED, 64) is not None


def enable(state: AgentState, *, on: bool) -> None:
    """Have the service start with the agent, or not. Raises StateError if that cannot be kept."""
    if on:
        state.room.write(ENABLED, b"the service starts with the agent\n")
    else:
        state.room.remove(ENABLED)


def describe_off(state: AgentState, settings: ServiceSettings | None) -> dict[str, Any]:
    """Return what is known of a service that is off, also of an agent that does not run."""
    found: dict[str, Any] = {
        "on": False,
        "enabled": is_enabled(state),
        "address": "",
        "path": VISIT,
        "since": None,
        "held": False,
        "visitor": None,
        "refused": None,
        "problem": None,
    }
    if settings is not None:
        port = settings.listens_on
        hosts = list(settings.addresses) if port is not None else []
        found |= {"port": port, "hosts": hosts, "socket": settings.socket, "tls": settings.tls}
    found["next"] = say_next(found)
    return found


def say_next(found: Mapping[str, Any]) -> str:
    """Return what to do next, as a sentence."""
    if found["problem"]:
        return f"{found['problem']['hint'] or 'Correct that'}, then: popham agent service start"
    if not found["on"]:
        first = "Start it now with 'popham agent service start'"
        return (
            first if found["enabled"] else f"{first}, and with each start of the agent by '… service enable'"
        )
    if not found["enabled"]:
        return "It ends with the agent; 'popham agent service enable' keeps it on"
    if found["visitor"] is None:
        return "Have the Manager visit it: give its address there, in an Agent definition"
    return ""


def _fields(record: Any) -> dict[str, Any] | None:
    return None if record is None else {name: getattr(record, name) for name in record.__slots__}


async def _open_port(listener: VisitListener, hosts: tuple[str, ...], port: int) -> None:
    try:
        await listener.start(hosts, port)
    except ConfigError as error:
        who = who_listens(port)
        if not who:
            raise
        problem = f"port {port} is taken by {who}"
        hint = "Stop that, or set another 'port' under [service] in agent.toml"
        raise ConfigError("listen", problem, hint) from error


async def _open_socket(listener: VisitListener, path: str, group: str) -> None:
    who = who_serves(path)
    if who is not None:
        problem = f"the socket {path} is taken{f' by {who}' if who else ''}"
        raise ConfigError(
            "listen", problem, "Stop that, or set another 'socket' under [service] in agent.toml"
        )
    await listener.start_unix(Path(path), group=group, mode=SOCKET_MODE)
