"""How a Manager's process is configured: where it keeps its state, and where it listens."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from popham.config import load
from popham.errors import ConfigError, DefinitionError
from popham.manager.alerts.settings import AlertsSettings
from popham.manager.data.settings import DataSettings
from popham.manager.intake.limits import Limits as IntakeLimits
from popham.manager.publishing import ASK_ABOVE
from popham.model.types.collect import check_collect
from popham.model.types.collect_schema import ENTRIES_MAX
from popham.net.peers import Peers
from popham.net.seam import Limits
from popham.net.visit_place import parse_proxy

DEFAULT_FILE = Path("/etc/popham/manager.toml")
DEFAULT_STATE = "/var/lib/popham/manager"
FILE = "manager.toml"
"""Name of the configuration that ``popham init`` leaves in the state directory."""
ROUNDS_PART, ROUNDS_LEAST = 0.05, 8
"""Connections that links leave free for rounds: part of all, and number."""
_ANY = "::"


class Listen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a Manager listens.

    Attributes:
        agents: Address and port for agents; port 0 takes a free one.
        people: Address and port for people and programs.
    """

    agents: str = "[::]:4320"
    people: str = "[::]:8443"


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


class PublishSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a change reaches by itself.

    Attributes:
        ask_above: Agents; a change that gives more of them new content is refused unless it says whether a
            few have it first, or all at once. 0 for no limit.
    """

    ask_above: Annotated[int, msgspec.Meta(ge=0)] = ASK_ABOVE


class VisitsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How agents are visited.

    Attributes:
        enabled: Whether this Manager dials agents at all.
        concurrency: Visits at once; half as many more of agents whose last visit failed.
        http_proxy: Web proxy on the way to agents whose definition names none; empty for none.
        agentlist: Absolute path of an agentlist.cfg that is followed as it changes; empty for none.
    """

    enabled: bool = True
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 128
    http_proxy: str = ""
    agentlist: str = ""

    def __post_init__(self) -> None:
        """Refuse a path that depends on where the process was started, and a web proxy that is none."""
        try:
            parse_proxy(self.http_proxy)
        except ConfigError as error:
            raise ValueError(f"http_proxy: {error.problem}; {error.hint}") from None
        if self.agentlist and not Path(self.agentlist).is_absolute():
            raise ValueError("agentlist: write the whole path, from the root")


class IntakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the data of agents may use, until it is derived.

    Attributes:
        keep: Seconds that segments are kept after everything was derived from them.
        bytes: Bytes of all segments; over that, agents keep what they have.
        reserve: Bytes of the disk that are left free.
        bytes_per_second: Bytes in a second of one agent; 0 for no limit.
    """

    keep: Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)] = 86_400.0
    bytes: Annotated[int, msgspec.Meta(ge=256 * 1024**2)] = 16 * 1024**3
    reserve: Annotated[int, msgspec.Meta(ge=0)] = 64 * 1024**2
    bytes_per_second: Annotated[float, msgspec.Meta(ge=0)] = 4.0 * 1024**2

    def bounds(self) -> IntakeLimits:
        """Return the limits of the intake."""
        return IntakeLimits(**msgspec.structs.asdict(self))


class ManagerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one Manager.

    Attributes:
        state: The state directory.
        database: URL of a PostgreSQL database; empty for SQLite in the state directory.
        urls: Where agents reach this Manager, best first; they stand in join strings.
        listen: Where it listens.
        limits: Bounds of the agents' listener.
        peers: From which addresses agents may connect.
        publish: How far a change reaches by itself.
        visits: How agents are visited.
        intake: What the data of agents may use.
        data: How much of it is kept.
        alerts: When something is wrong with an agent, and who is told.
        probes: Services that this Manager asks itself, each as a policy of type ``collect`` writes it.
    """

    state: str = DEFAULT_STATE
    database: str = ""
    urls: tuple[str, ...] = ()
    listen: Listen = Listen()
    limits: LimitsSettings = LimitsSettings()
    peers: PeersSettings = PeersSettings()
    publish: PublishSettings = PublishSettings()
    visits: VisitsSettings = VisitsSettings()
    intake: IntakeSettings = IntakeSettings()
    data: DataSettings = DataSettings()
    alerts: AlertsSettings = AlertsSettings()
    probes: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(max_length=ENTRIES_MAX)] = ()

    def __post_init__(self) -> None:
        """Refuse probes that no policy could have."""
        try:
            check_collect({"probes": list(self.probes)})
        except DefinitionError as error:
            raise ValueError(f"{error.problem}; {error.hint}") from None


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


def load_settings(
    path: Path | None, *, state: str | None, env: Mapping[str, str], overrides: Mapping[str, Any]
) -> tuple[ManagerSettings, Path | None]:
    """Return the settings and the file they came from.

    Without ``path`` it is the one in the state directory that was named, else
    ``/etc/popham/manager.toml``.

    Raises:
        ConfigError: A source is wrong.
    """
    found = path
    if found is None and state is not None:
        found = Path(state) / FILE
    elif found is None:
        found = DEFAULT_FILE if DEFAULT_FILE.exists() else Path(DEFAULT_STATE) / FILE
    merged = {"state": state, **overrides}
    settings = load(ManagerSettings, path=found, env=env, overrides=merged, must_exist=path is not None)
    return settings, found
