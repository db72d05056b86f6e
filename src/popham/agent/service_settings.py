"""``[service]`` of an agent's configuration: where its service listens, once somebody on the machine starts it."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final

import msgspec

from popham.errors import ConfigError
from popham.net.peers import Peers

PORT: Final = 23440
"""Port of the service. Source: Systemwalker SQC."""
CGI_SOCKET: Final = "/run/popham/visit.sock"
"""Where ``popham agent cgi`` looks for the service, unless it is told another path."""
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # nothing listens there before somebody on the machine starts it
_HERE = ("127.0.0.1", "::1")
_Host = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the agent's service listens, and to whom.

    Attributes:
        port: TCP port; None for 23440, or for none where ``socket`` is named.
        hosts: Addresses; None for all of the machine, or for its loopback where TLS is off.
        socket: Absolute path of a Unix socket, for a web server or CGI on this machine; None for none.
        socket_group: Group that may use the socket, besides the agent's own user; None for the agent's own.
        tls: Whether the port speaks TLS; the socket never does.
        plain: Whether the port may do without TLS for other machines, too.
        allow: Ranges of addresses that may connect; everybody, if there are none.
        deny: Ranges that may not, whatever ``allow`` says.
    """

    port: _Port | None = None
    hosts: tuple[_Host, ...] | None = None
    socket: str | None = None
    socket_group: _Host | None = None
    tls: bool = True
    plain: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    @property
    def listens_on(self) -> int | None:
        """The port; None where there is a socket only."""
        return self.port or (None if self.socket else PORT)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses on which that port is."""
        if self.hosts:
            return self.hosts
        return _EVERYWHERE if self.tls or self.plain else _HERE

    @property
    def text(self) -> str:
        """Where it is reached, for people: ``https://*:23440``, ``http://127.0.0.1:8080`` or ``unix``."""
        port = self.listens_on
        if port is None:
            return "unix"
        first = "*" if set(self.addresses) & set(_EVERYWHERE) else self.addresses[0]
        host = f"[{first}]" if ":" in first else first
        return f"{'https' if self.tls else 'http'}://{host}:{port}"

    @property
    def peers(self) -> Peers:
        """The addresses that may connect. Raises ConfigError if a range is none."""
        return Peers(self.allow, self.deny, where="service")


def check_service(settings: ServiceSettings, where: str) -> None:
    """Return if these settings can be used.

    Args:
        settings: As they were read.
        where: Their file, for sentences.

    Raises:
        ConfigError: ``config.service``: other machines were to be served without TLS, or nobody. ``config.peers``.
    """
    if settings.hosts is not None and not settings.hosts:
        raise ConfigError("service", f"{where}: service.hosts names no address", "Name one, or leave it out")
    if not settings.tls and not settings.plain:
        for host in settings.addresses:
            if not _is_loopback(host):
                problem = f"{where}: service.hosts: {host!r} would be served without TLS"
                hint = "Name 127.0.0.1 and ::1 behind a web server, or set 'tls = true'; 'plain = true' if it is meant"
                raise ConfigError("service", problem, hint)
    found = settings.peers
    del found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
