"""How a Manager's process is configured: where it keeps its state, and where it listens."""

from __future__ import annotations

from collections.abc import Mapping
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
from popham.net.listen_settings import LimitsSettings, PeersSettings
from popham.net.visit_place import parse_proxy

DEFAULT_FILE = Path("/etc/popham/manager.toml")
DEFAULT_STATE = "/var/lib/popham/manager"
FILE = "manager.toml"
"""Name of the configuration that ``popham init`` leaves in the state directory."""


class Listen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a Manager listens.

    Attributes:
        agents: Address and port for agents; port 0 takes a free one.
        people: Address and port for people and programs.
    """

    agents: str = "[::]:4320"
    people: str = "[::]:8443"


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
