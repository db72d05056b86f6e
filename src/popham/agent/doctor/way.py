"""The way to one server, part by part: name, route, port, TLS, pin, life, clock, and whether it knows this machine.

Rules:

1. Each part is tried once the one before works; what is not tried says why.
2. Nothing is asked that changes anything, here or there: no round is made, which would disturb that of the agent.
   A body that nobody names is asked for instead: *there is none* is told to those only whom the Manager knows.
3. It is the way that the agent goes: through the web proxy of its configuration, and through none of the environment.
   Then name, route and port are the web proxy's.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from popham.agent.doctor.finding import Finding, Outcome, fail, failed, ok, skip, warn
from popham.agent.doctor.identity import SKEW, show_moment
from popham.agent.doctor.probes import Address, Probes
from popham.agent.doctor.tunnel import CHECK, TunnelError, read_web_proxy
from popham.downstream.enroll import CA_PATH
from popham.errors import LinkError, PophamError
from popham.net.dialer import AiohttpDialer
from popham.net.failure import explain, read_date
from popham.net.seam import Limits
from popham.net.tls import client_context, unverified_context
from popham.trust.issuer import find_anchor

T = TypeVar("T")
ADDRESSES = 8
"""Addresses of one host that are tried."""
LIFE = "/livez"
NOBODYS = f"/v1/content/sha256/{'0' * 64}"
"""A body that no bundle names."""
_LIMIT = 512 * 1024
_SOON = 7 * 86400.0
"""Seconds before its end at which somebody should look after a certificate."""
_RENEWED = 86400.0
"""Likewise of a Proxy Manager's, which is an agent's: it lives for days only, and is renewed by itself."""
_LOG = "See the Manager's log, and that it is the right one"
_AFTER_PORT = ("tls", "pin", "livez", "identity")
_CLOSED = "Check that a firewall lets this port through, and that the Manager runs and listens on it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What this machine believes and shows.

    Attributes:
        ca: The fleet's authority, PEM.
        pin: SHA-256 of its public key, as the join string says.
        own: Makes the context that shows this machine's certificate; None where it has none that serves.
    """

    ca: bytes
    pin: str
    own: Callable[[], ssl.SSLContext] | None


class Way:
    """Tries the way to one server."""

    def __init__(self, url: str, credentials: Credentials, probes: Probes, *, http_proxy: str = "") -> None:
        """Take what is needed; nothing is opened yet. ``http_proxy`` is the web proxy on the way; empty for none."""
        parts = urlsplit(url)
        self._url = url
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._http_proxy, self._proxy = http_proxy, read_web_proxy(http_proxy)
        first = self._proxy
        self._first = (first.host, first.port) if first else (self._host, self._port)  # who is connected to
        self._behind = (CHECK, *_AFTER_PORT) if first else _AFTER_PORT
        self._credentials = credentials
        self._probes = probes

    async def examine(self) -> list[Finding]:
        """Return what came of each part."""
        found, addresses = await self._find_name()
        if not addresses:
            return [*found, *self._skip("its name leads nowhere", "route", "port", *self._behind)]
        found += self._find_route(addresses)
        tried, reached = await self._connect(addresses)
        found += tried
        if reached is None:
            return [*found, *self._skip("there is no connection", *self._behind)]
        if self._proxy is not None:
            found.append(await self._proxy.examine(reached, self._url, seconds=self._probes.seconds))
            if found[-1].outcome is Outcome.FAILED:
                return [*found, *self._skip("the web proxy does not lead there", *_AFTER_PORT)]
        tls = await self._shake_hands(reached)
        found.append(tls)
        trusted = tls.outcome is not Outcome.FAILED
        found.append(await self._compare_pin(trusted=trusted))
        if not trusted:
            return [*found, *self._skip("who answers cannot be trusted", "livez", "identity")]
        return [*found, *await self._ask_life(), await self._ask_identity()]

    def _skip(self, why: str, *checks: str) -> list[Finding]:
        return [skip(check, f"not tried, since {why}", server=self._url) for check in checks]

    # To the port.

    async def _find_name(self) -> tuple[list[Finding], list[Address]]:
        (host, port), url = self._first, self._url
        step = f"Check the name, and this machine's resolver: getent ahosts {host}"
        try:
            addresses = await self._probes.ask(url, lambda: self._probes.resolve(host, port))
        except TimeoutError:
            text = f"the resolver does not answer for {host} within {self._probes.seconds:g} s"
            return [fail("name", text, step, server=url)], []
        except OSError as error:
            again = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            why = "no resolver answers" if again else "there is no such name"
            return [fail("name", f"{host} is not found: {why}", step, server=url)], []
        named = ", ".join(address.host for address in addresses[:ADDRESSES])
        text = f"{host} is {named}" if named != host else f"{host} is an address"
        text += f"; it is the web proxy on the way to {self._host}" if self._proxy else ""
        return [ok("name", text, server=url)], addresses[:ADDRESSES]

    def _find_route(self, addresses: list[Address]) -> list[Finding]:
        """Return from where packets to the server leave; nothing is sent."""
        ways, wrong = [], []
        for address in addresses:
            try:
                with socket.socket(address.family, socket.SOCK_DGRAM) as probe:
                    probe.connect((address.host, self._first[1]))
                    ways.append(f"{address.host} from {probe.getsockname()[0]}")
            except OSError as error:
                wrong.append(f"{address.host}: {error.strerror or error}")
        if not ways:
            text = f"there is none to {self._first[0]} ({'; '.join(wrong)})"
            return [fail("route", text, "Check this machine's network: ip route", server=self._url)]
        return [ok("route", f"packets go to {', '.join(ways)}", server=self._url)]

    async def _connect(self, addresses: list[Address]) -> tuple[list[Finding], Address | None]:
        """Return how the port answers at each address, and the first at which it does."""
        tried = await asyncio.gather(*(self._connect_to(address) for address in addresses))
        reached = [address for address, (error, _) in zip(addresses, tried, strict=True) if error is None]
        wrong = [error for error, _ in tried if error is not None]
        if not reached:
            text = "; ".join(dict.fromkeys(error.problem for error in wrong))
            return [fail("port", text, wrong[0].hint or _CLOSED, server=self._url)], None
        took = next(took for error, took in tried if error is None)
        text = f"port {self._first[1]} of {reached[0].host} answers in {took * 1000:.0f} ms"
        if wrong:
            text += f"; {'; '.join(error.problem for error in wrong)}"
            step = "Mend that address, or take it out of the name: each connection may wait for it"
            return [warn("port", text, step, server=self._url)], reached[0]
        return [ok("port", text, server=self._url)], reached[0]

    async def _connect_to(self, address: Address) -> tuple[LinkError | None, float]:
        loop = asyncio.get_running_loop()
        port = self._first[1]
        where = f"[{address.host}]:{port}" if ":" in address.host else f"{address.host}:{port}"
        begun = loop.time()
        try:
            async with asyncio.timeout(self._probes.seconds):
                _, writer = await asyncio.open_connection(address.host, port)
        except TimeoutError as error:
            found = explain(error, where, seconds=self._probes.seconds)
            found.hint = _CLOSED
            return found, 0.0
        except OSError as error:
            return explain(error, where, seconds=self._probes.seconds), 0.0
        took = loop.time() - begun
        writer.transport.abort()
        return None, took

    # Inside TLS.

    async def _shake_hands(self, address: Address) -> Finding:
        url, seconds = self._url, self._probes.seconds
        context = client_context(self._credentials.ca.decode())
        try:
            async with asyncio.timeout(seconds):
                writer = await self._open_tls(address, context)
        except TimeoutError:
            text = f"what accepts the connection says nothing within {seconds:g} s"
            step = "Check the port; a firewall, or what stands before a Manager, may accept in its place"
            return fail("tls", text, step, server=url)
        except TunnelError as error:
            text = f"the web proxy led there before, and does not any more ({error})"
            return fail("tls", text, "See the web proxy's log", server=url)
        except OSError as error:
            found = explain(error, f"{self._host}:{self._port}", seconds=seconds)
            return failed("tls", found, _LOG, server=url)
        shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
        version, certificate = shown.version(), shown.getpeercert() or {}
        writer.transport.abort()
        until = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        text = (
            f"{version}; its certificate is for {self._host}, of this fleet's CA, until {show_moment(until)}"
        )
        # A Proxy Manager's names its machine as an agent's does.
        renewed = any(name[0] == "URI" for name in certificate.get("subjectAltName", ()))
        if until - self._probes.clock.now() < (_RENEWED if renewed else _SOON):
            return warn("tls", text, "Tell the Manager's administrator that it ends soon", server=url)
        return ok("tls", text, server=url)

    async def _open_tls(self, address: Address, context: ssl.SSLContext) -> asyncio.StreamWriter:
        """Return a connection on which the server was trusted. Raises OSError, TunnelError."""
        if self._proxy is None:
            _, writer = await asyncio.open_connection(
                address.host, self._port, ssl=context, server_hostname=self._host
            )
            return writer
        _, writer = await self._proxy.open(address, self._host, self._port)
        try:
            await writer.start_tls(context, server_hostname=self._host)
        except BaseException:
            writer.transport.abort()
            raise
        return writer

    async def _compare_pin(self, *, trusted: bool) -> Finding:
        """Return whether who answers has the CA that the join string names.

        It is asked for also where TLS trusts nobody, as at enrollment: what comes is compared, and else not believed.
        """
        context = self._context() if trusted else unverified_context()
        try:
            pem, _ = await self._fetch(CA_PATH, context)
            find_anchor(pem, self._credentials.pin)
        except PophamError as error:
            return failed("pin", error, _LOG, server=self._url)
        return ok("pin", "its CA is the one that the join string names", server=self._url)

    async def _ask_life(self) -> list[Finding]:
        """Return whether it serves, and how its clock stands to this one."""
        before = self._probes.clock.now()
        try:
            _, date = await self._fetch(LIFE, self._context())
        except LinkError as error:
            return [failed("livez", error, _LOG, server=self._url)]
        alive = ok("livez", "the Manager serves", server=self._url)
        said = read_date(date)
        if said is None:
            return [alive, skip("clock", "it does not say what time it is", server=self._url)]
        skew = said - (before + self._probes.clock.now()) / 2
        if abs(skew) > SKEW:
            text = f"this machine's is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the Manager's"
            return [alive, warn("clock", text, "Set the one that is wrong: timedatectl", server=self._url)]
        return [alive, ok("clock", "this machine's and the Manager's agree", server=self._url)]

    async def _ask_identity(self) -> Finding:
        url, own = self._url, self._credentials.own
        if own is None:
            return skip(
                "identity", "not tried, since this machine has no certificate that serves", server=url
            )
        try:
            await self._fetch(NOBODYS, own())
        except LinkError as error:
            if error.status == 404 and "(not_found.content)" in error.problem:
                return ok("identity", "the Manager knows this machine's certificate", server=url)
            if error.code == "link.busy":
                return warn("identity", error.problem, "Try again later", server=url)
            return failed("identity", error, _LOG, server=url)
        except (PophamError, OSError) as error:
            text = f"this machine's certificate cannot be shown: {error}"
            return fail("identity", text, "See what is said of certificate and disk", server=url)
        return fail("identity", "what answers is no Manager", "Check the address", server=url)

    def _context(self) -> ssl.SSLContext:
        return client_context(self._credentials.ca.decode())

    async def _fetch(self, path: str, context: ssl.SSLContext) -> tuple[bytes, str]:
        """Return a body and the header ``Date``. Raises LinkError."""
        seconds = self._probes.seconds
        dialer = AiohttpDialer(
            self._url, context=context, limits=Limits(body_time=seconds), http_proxy=self._http_proxy
        )
        try:
            return await _within(seconds, dialer.where, dialer.fetch(path, limit=_LIMIT)), dialer.date
        finally:
            await dialer.aclose()


async def _within(seconds: float, where: str, work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise explain(error, where, seconds=seconds) from error


_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def check_proxies(probes: Probes, http_proxy: str = "") -> Finding:
    """Return what web proxy the agent uses, and whether the environment names one, which it does not; no password is shown."""
    used = read_web_proxy(http_proxy)
    how = f"the agent dials through {used.where}" if used else "the agent dials directly"
    named = [name for name in probes.environ if name.lower() in _PROXIES and probes.environ[name]]
    if not named:
        return ok("web proxy", f"{how}, by 'http_proxy'" if used else "the environment names none")
    return ok("web proxy", f"{', '.join(sorted(named))} is set and not used: {how}")
