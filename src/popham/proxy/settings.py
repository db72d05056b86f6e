"""How a Proxy Manager is configured: as the agent of its machine is, and where agents reach it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import msgspec

from popham.agent.settings import AgentSettings
from popham.agent.settings import load_settings as load_agent
from popham.net.listen_settings import Address, LimitsSettings, PeersSettings
from popham.net.peers import Peers
from popham.proxy.spool.bounds import Limits
from popham.statedir import Kind

DEFAULT_FILE: Final = Path("/etc/popham/proxy.toml")
DEFAULT_STATE: Final = "/var/lib/popham/proxy"
_MIB = 1024**2


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a Proxy Manager listens.

    Attributes:
        agents: Address and port for agents; port 0 takes a free one.
    """

    agents: str = "0.0.0.0:4320"


class RelaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept here of what is relayed.

    Attributes:
        bytes: Of the records of agents that wait to be passed on; over that, agents keep what they have.
        share: Likewise of one agent.
        age: Seconds that the oldest of an agent's records may wait; then nothing more of it is taken.
        reserve: Bytes of the disk that are left free.
        cache: Bytes of bodies of policies that are kept for agents.
    """

    bytes: Annotated[int, msgspec.Meta(ge=64 * _MIB)] = 1024 * _MIB
    share: Annotated[int, msgspec.Meta(ge=4 * _MIB)] = 64 * _MIB
    age: Annotated[float, msgspec.Meta(ge=60, le=366 * 86_400)] = 72 * 3600.0
    reserve: Annotated[int, msgspec.Meta(ge=0)] = 64 * _MIB
    cache: Annotated[int, msgspec.Meta(ge=16 * _MIB)] = 512 * _MIB

    def bounds(self) -> Limits:
        """Return what may be kept of streams."""
        return Limits(bytes=self.bytes, share=self.share, age=self.age, reserve=self.reserve)


class ProxySettings(AgentSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one Proxy Manager; what an agent's has stands in it, too.

    Attributes:
        state: The state directory.
        listen: Where it listens.
        limits: Bounds of that listener.
        peers: From which addresses agents may connect.
        relay: What is kept of what is relayed.
    """

    kind: ClassVar[Kind] = "proxy"

    state: str = DEFAULT_STATE
    listen: ListenSettings = ListenSettings()
    limits: LimitsSettings = LimitsSettings()
    peers: PeersSettings = PeersSettings()
    relay: RelaySettings = RelaySettings()

    @property
    def address(self) -> Address:
        """Where it listens for agents. Raises ConfigError ``config.address``."""
        return Address.parse(self.listen.agents, "listen.agents")


def load_settings(
    path: Path | None = DEFAULT_FILE,
    *,
    env: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    must_exist: bool = False,
) -> ProxySettings:
    """Return the settings of this machine's Proxy Manager; arguments as of an agent's.

    Raises:
        ConfigError: A source is wrong, as of an agent's; ``config.address``: agents cannot be listened for there.
            ``config.peers``: a range of addresses is none.
    """
    settings = load_agent(path, env=env, overrides=overrides, must_exist=must_exist, form=ProxySettings)
    where = str(path) if path else ProxySettings.kind
    found = (
        Address.parse(settings.listen.agents, f"{where}: listen.agents"),
        Peers(settings.peers.allow, settings.peers.deny, where=f"{where}: peers"),
    )
    del found
    return settings
