"""Looks at what is around this machine, for the criteria of its locations.

Rules:

1. Everything has an end: 2 s for a name, a connection or a file, 5 s for all of them.
2. Nothing blocks the event loop; what the kernel and small local files say is read at once.
3. Only what the criteria ask for is looked up beyond that.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeVar

from popham.agent.netlink import Link, Network, NetworkWatch, read_network
from popham.model.criteria import Needs, Surroundings
from popham.net.lookups import Lookups

T = TypeVar("T")
BOUND: Final = 2.0
"""Seconds that a name, a connection or a file may take."""
BOUND_OF_ALL: Final = 5.0
"""Seconds that all of them may take."""
_AT_ONCE: Final = 16
"""Connections and names looked up at once."""
_SMALL: Final = 64 * 1024
_RESOLV: Final = "etc/resolv.conf"
_STUBS: Final = {
    "127.0.0.53": "run/systemd/resolve/resolv.conf",
    "127.0.0.1": "run/NetworkManager/no-stub-resolv.conf",
    "127.0.1.1": "run/NetworkManager/no-stub-resolv.conf",
}
"""Resolvers on the machine itself → where the ones behind them stand."""
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_ETHERNET, _PPP, _RAWIP, _LOOPBACK, _NO_HARDWARE = 1, 512, 519, 772, 65534
"""ARPHRD numbers. Source: linux/if_arp.h."""
_TUNNELS: Final = frozenset(
    {"wireguard", "tun", "tap", "xfrm", "vti", "vti6", "gre", "ip6gre", "ipip", "sit", "ip6tnl", "ipsec"}
)
_NO_CABLE: Final = frozenset({"bridge", "dummy", "ifb", "nlmon", "veth", "vxlan", "geneve", "vrf"})
"""Kinds of interface that no network is reached by alone; they count by their names only."""
OTHER: Final = "other"


class Watch(Protocol):
    """Hears of changes of the network until it is closed."""

    def close(self) -> None:
        """Hear no more."""
        ...


class Host(Protocol):
    """A machine to look around from; :class:`Machine` is the real one."""

    async def look(self, wanted: Needs) -> Surroundings:
        """Return what is around, within seconds; ``manager`` is for the caller to say."""
        ...

    def watch(self, changed: Callable[[], None]) -> Watch | None:
        """Call ``changed`` at each change of the network; None where only looking again tells."""
        ...


class Machine:
    """This machine."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        root: Path = Path("/"),
        read: Callable[[], Network | None] = read_network,
        resolve: Callable[[str], tuple[str, ...]] | None = None,
    ) -> None:
        """Look around from here.

        Args:
            environment: Variables of the agent's process.
            root: Where ``etc``, ``run`` and ``sys`` are.
            read: Asks the kernel.
            resolve: Blocking: name → addresses, empty if there is no such name; raises OSError.
        """
        self._environment = environment
        self._root = root
        self._read = read
        self._resolve = resolve or resolve_name
        self._lookups = Lookups()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def watch(self, changed: Callable[[], None]) -> Watch | None:
        """Call ``changed`` at each change of the network; None where only looking again tells."""
        return NetworkWatch.open(changed)

    async def look(self, wanted: Needs) -> Surroundings:
        """Return what is around; ``manager`` is for the caller to say."""
        async with asyncio.TaskGroup() as group:
            names = group.create_task(self._each(wanted.names, self._name))
            reachable = group.create_task(self._each(wanted.reachable, self._connects))
            files = group.create_task(self._each(wanted.files, self._file))
        network = self._read()
        links, addresses, gateways = self._describe(network) if network else ({}, _own_addresses(), ())
        name = socket.gethostname()
        servers, suffixes = self._resolver()
        domain = name.partition(".")[2]
        return Surroundings(
            addresses=addresses,
            gateways=gateways,
            dns_servers=servers,
            dns_suffixes=(*suffixes, domain) if domain else suffixes,
            interfaces=links,
            host_name=name,
            names=names.result(),
            reachable=reachable.result(),
            environment=self._environment,
            files=files.result(),
        )

    def _describe(self, network: Network) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
        """Return the interfaces that are up, their addresses, and the gateways."""
        up = {link.index: link for link in network.links if link.up}
        links = {link.name: self._type(link) for link in up.values()}
        held = (address for index, address in network.addresses if index in up)
        return links, tuple(one for one in held if not _is_loopback(one)), network.routers

    def _type(self, link: Link) -> str:
        """Return the type of an interface: one of ``model.criteria.INTERFACES``, or other."""
        if link.hardware == _LOOPBACK:
            return "loopback"
        folder = self._root / "sys/class/net" / link.name
        said = _read_small(folder / "uevent")
        if "DEVTYPE=wlan" in said or (folder / "phy80211").exists() or (folder / "wireless").exists():
            return "wireless"
        if "DEVTYPE=wwan" in said or link.hardware in {_RAWIP, _PPP}:
            return "mobile"
        if link.kind in _TUNNELS or link.hardware == _NO_HARDWARE:
            return "vpn"
        # Inside a container the only interface is one end of a pair that belongs to nothing else there.
        if link.hardware != _ETHERNET or (link.kind in _NO_CABLE and (link.kind != "veth" or link.member)):
            return OTHER
        return "ethernet"

    def _resolver(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the resolvers and search domains; behind a stub on this machine, those it asks."""
        servers, suffixes = _parse_resolv(_read_small(self._root / _RESOLV))
        stubs = {_STUBS.get(server) for server in servers}
        if len(stubs) == 1 and None not in stubs:
            behind, more = _parse_resolv(_read_small(self._root / str(stubs.pop())))
            return behind or servers, suffixes or more
        return servers, suffixes

    async def _each(
        self, keys: Iterable[str], look: Callable[[str], Awaitable[T | None]]
    ) -> dict[str, T | None]:
        """Return what ``look`` finds for each key, several at once; None for what was not found in time."""
        ordered = sorted(keys)
        if not ordered:
            return {}

        async def one(key: str) -> T | None:
            async with self._turns:
                return await look(key)

        tasks = [asyncio.ensure_future(one(key)) for key in ordered]
        try:
            await asyncio.wait(tasks, timeout=BOUND_OF_ALL)
        finally:
            late = [task for task in tasks if not task.done()]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return {
            key: None if task.cancelled() else task.result() for key, task in zip(ordered, tasks, strict=True)
        }

    async def _name(self, name: str) -> tuple[str, ...] | None:
        return await self._lookups.ask(f"name {name}", lambda: self._resolve(name), seconds=BOUND)

    async def _file(self, path: str) -> bool | None:
        return await self._lookups.ask(f"file {path}", lambda: _exists(path), seconds=BOUND)

    async def _connects(self, where: str) -> bool:
        """Return whether ``HOST:PORT`` takes a connection within the bound, finding its name included."""
        host, _, port = where.rpartition(":")
        host = host.strip("[]")
        try:
            async with asyncio.timeout(BOUND):
                addresses = (host,) if _is_address(host) else await self._name(host)
                for address in addresses or ():
                    if await _takes(address, int(port)):
                        return True
        except (TimeoutError, ValueError):
            return False
        return False


async def _takes(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def resolve_name(name: str) -> tuple[str, ...]:
    """Return the addresses of a name, empty if there is no such name. Blocks.

    Raises:
        OSError: Nobody could say.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in _NO_SUCH_NAME:
            return ()
        raise
    except UnicodeError:
        return ()
    return tuple(dict.fromkeys(str(item[4][0]) for item in found))


def _exists(path: str) -> bool:
    """Return whether something is there. Raises OSError if that is hidden."""
    try:
        Path(path).stat()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return False
        raise
    return True


def _own_addresses() -> tuple[str, ...]:
    """Return the addresses that this machine would dial from, where the kernel does not list them."""
    found = []
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Nothing is sent: connecting a datagram socket only chooses the way.
            probe.connect((target, 9))
            found.append(str(probe.getsockname()[0]))
    return tuple(found)


def _parse_resolv(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the resolvers and the search domains of a ``resolv.conf``; the last list of domains counts."""
    servers, suffixes = [], []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].startswith(("#", ";")):
            continue
        if words[0] == "nameserver" and _is_address(words[1]):
            servers.append(words[1])
        if words[0] in {"search", "domain"}:
            suffixes = [word.strip(".").lower() for word in words[1:] if word.strip(".")]
    return tuple(servers), tuple(suffixes)


def _read_small(path: Path) -> str:
    """Return the beginning of a local text file, empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_SMALL).decode("utf-8", "replace")
    except OSError:
        return ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
