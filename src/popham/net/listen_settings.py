"""How a listener of agents is configured: where it is, what it bears, and who may come."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated

import msgspec

from popham.errors import ConfigError
from popham.net.peers import Peers
from popham.net.seam import Limits

ROUNDS_PART, ROUNDS_LEAST = 0.05, 8
"""Connections that links leave free for rounds: part of all, and number."""
_ANY = "::"


class LimitsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the agents' listener.

    Attributes:
        message: Bytes of one message after decompression.
        connections: Open connections in all; what the process may open is a bound too.
        rounds_per_second: Rounds and upgrades admitted in a second; 0 for no limit.
        links_per_second: TLS handshakes begun in a second; 0 for as many as the loop bears.
        links: Held links in all; 0 for as many as ``connections`` allows.
        keepalive: Seconds between pings on a held link; two silent ones close it.
        messages_per_second: Messages of one connection; 0 for no limit.
        bytes_per_second: Bytes of one connection; 0 for no limit.
        links_per_identity: Held links of one agent, and HTTP connections likewise.
        strangers_per_address: Connections of one address that were not admitted yet; 0 for half of all.
        failures_per_second: Bad tokens and broken handshakes of one address; 0 for no limit.
    """

    message: Annotated[int, msgspec.Meta(ge=64 * 1024, le=64 * 1024 * 1024)] = 4 * 1024 * 1024
    connections: Annotated[int, msgspec.Meta(ge=16, le=1_000_000)] = 19_000
    rounds_per_second: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    links_per_second: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    links: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    keepalive: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 45.0
    messages_per_second: Annotated[float, msgspec.Meta(ge=0)] = 100.0
    bytes_per_second: Annotated[float, msgspec.Meta(ge=0)] = 2.0 * 1024 * 1024
    links_per_identity: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 2
    strangers_per_address: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    failures_per_second: Annotated[float, msgspec.Meta(ge=0)] = 10.0

    def bounds(self) -> Limits:
        """Return the limits of the listener."""
        own = msgspec.structs.asdict(self)
        del own["links"]  # how many are held is not the listener's matter
        return Limits(**own)

    def held(self) -> int:
        """Return how many links may be held: a part of the connections is kept for rounds."""
        most = self.connections - max(ROUNDS_LEAST, round(self.connections * ROUNDS_PART))
        return min(self.links, most) if self.links else most


class PeersSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which addresses agents may connect.

    Attributes:
        allow: Ranges of addresses; none for every address.
        deny: Ranges that may not, also of those allowed.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def read(self) -> Peers:
        """Return who may connect.

        Raises:
            ConfigError: ``config.peers``: a range is none.
        """
        return Peers(self.allow, self.deny)


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen. ``hosts`` has both families where one address stands for all."""

    hosts: tuple[str, ...]
    port: int

    @classmethod
    def parse(cls, text: str, key: str) -> Address:
        """Return the address in ``text``: ``HOST:PORT``, an IPv6 address in brackets.

        Raises:
            ConfigError: ``config.address``.
        """
        host, _, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        try:
            number = int(port)
            host = str(ipaddress.ip_address(bare)) if bare != "localhost" else bare
        except ValueError:
            number = -1
        if not 0 <= number <= 65535 or not bare:
            hint = "Write address and port: '[::]:4320', '0.0.0.0:4320' or '127.0.0.1:4320'"
            raise ConfigError("address", f"{key}: {text!r} is no address to listen on", hint)
        return cls(("::", "0.0.0.0") if host == _ANY else (host,), number)  # noqa: S104  # asked for
