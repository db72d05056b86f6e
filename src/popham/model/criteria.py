"""Location criteria: what must hold of a machine's surroundings, as all, any and not over plain conditions.

They stand signed in the bundle and are evaluated on the agent, so that a laptop
changes location without a Manager.  Evaluation is pure: the agent gathers a
:class:`Surroundings`, whatever :func:`needs` asks for.

Rules:

1. What could not be found out does not hold; ``not`` of it does not hold either.
2. Everything is bounded where it is read: :mod:`popham.model.criteria_form`.

Source: design, location criteria; Symantec Endpoint Protection's location awareness.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final


class Kind(StrEnum):
    """What a condition looks at."""

    ADDRESS = "address"
    """An address of the machine is in this range, IPv4 or IPv6."""
    GATEWAY = "gateway"
    """The address of a default gateway, or a range with it."""
    DNS_SUFFIX = "dns_suffix"
    """A search domain of the resolver, or of the host name, is this one or below it."""
    DNS_SERVER = "dns_server"
    """The address of a resolver, or a range with it."""
    DNS_NAME = "dns_name"
    """This name resolves; ``NAME=RANGE``: to an address in the range."""
    INTERFACE = "interface"
    """An interface of this type is up: ethernet, wireless, mobile, vpn, loopback; or of this name."""
    REACHABLE = "reachable"
    """``HOST:PORT`` takes a TCP connection."""
    MANAGER = "manager"
    """``reachable`` or ``unreachable``: whether the last round succeeded."""
    HOST_NAME = "host_name"
    """The host name, with ``*`` and ``?``."""
    ENVIRONMENT = "environment"
    """``NAME`` is set for the agent, or ``NAME=VALUE``, with ``*`` and ``?`` in the value."""
    FILE = "file"
    """This absolute path exists."""


INTERFACES = ("ethernet", "wireless", "mobile", "vpn", "loopback")
RANGES = frozenset({Kind.ADDRESS, Kind.GATEWAY, Kind.DNS_SERVER})
"""Kinds whose value is an address or a range of them."""
PERMITTED = frozenset({Kind.DNS_NAME, Kind.REACHABLE, Kind.ENVIRONMENT, Kind.FILE})
"""Kinds that a machine looks at only where its own configuration permits it."""
_Number = tuple[int, int]
"""An address: its version and its number."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing to look at."""

    kind: Kind
    value: str

    def as_dict(self) -> dict[str, Any]:
        """Return the condition as it stands in a bundle."""
        return {str(self.kind): self.value}

    def describe(self) -> str:
        """Return it in words: ``address 10.0.0.0/8``."""
        return f"{self.kind.replace('_', ' ')} {self.value}"


class Rule(StrEnum):
    """How parts are put together."""

    ALL = "all"
    ANY = "any"
    NOT = "not"


@dataclass(frozen=True, slots=True)
class Combination:
    """Criteria put together; ``not`` has one part."""

    rule: Rule
    parts: tuple[Criterion, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the combination as it stands in a bundle."""
        inner = [part.as_dict() for part in self.parts]
        return {str(self.rule): inner[0] if self.rule is Rule.NOT else inner}

    def describe(self) -> str:
        """Return it in words."""
        if self.rule is Rule.NOT:
            return f"not ({self.parts[0].describe()})"
        word = " and " if self.rule is Rule.ALL else " or "
        return "(" + word.join(part.describe() for part in self.parts) + ")"


Criterion = Condition | Combination


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a machine sees around it; None stands for *could not be found out*.

    Conditions that it may not look at, or does not, are ``unseen``: nothing is known of them.

    Attributes:
        addresses, gateways, dns_servers: IP addresses as text.
        dns_suffixes: In lower case, without dots around them.
        interfaces: Name → type, of those that are up.
        names: Name → the addresses it resolves to; empty if it does not.
        reachable: ``HOST:PORT`` → whether it took a connection.
        manager: Whether the last round succeeded; None before the first.
        environment: Variables of the agent's process.
        files: Path → whether it exists.
        unseen: What was not looked at, whatever the other fields say.
    """

    addresses: Sequence[str] = ()
    gateways: Sequence[str] = ()
    dns_servers: Sequence[str] = ()
    dns_suffixes: Sequence[str] = ()
    interfaces: Mapping[str, str] = field(default_factory=dict)
    host_name: str = ""
    names: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    reachable: Mapping[str, bool | None] = field(default_factory=dict)
    manager: bool | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bool | None] = field(default_factory=dict)
    unseen: frozenset[Condition] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What some criteria ask to be looked up beyond what is at hand."""

    names: frozenset[str] = frozenset()
    reachable: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    manager: bool = False


def needs(criteria: Iterable[Criterion]) -> Needs:
    """Return what has to be looked up before ``criteria`` can be evaluated."""
    conditions = [condition for criterion in criteria for condition in walk(criterion)]
    values = {
        kind: frozenset(condition.value for condition in conditions if condition.kind is kind)
        for kind in Kind
    }
    return Needs(
        names=frozenset(value.partition("=")[0] for value in values[Kind.DNS_NAME]),
        reachable=values[Kind.REACHABLE],
        files=values[Kind.FILE],
        manager=bool(values[Kind.MANAGER]),
    )


def walk(criterion: Criterion) -> Iterator[Condition]:
    """Yield the conditions of ``criterion``, in the order written."""
    if isinstance(criterion, Condition):
        yield criterion
        return
    for part in criterion.parts:
        yield from walk(part)


def hangs_on_manager(criterion: Criterion) -> bool:
    """Return whether the reachability of the Manager alone can decide: the whole fleet would flip with it.

    A condition that every machine fulfils, such as a range of all addresses, counts as absent.
    """
    found = _deciding(criterion)
    if found is None:
        return False
    if all(condition.kind is Kind.MANAGER for condition in walk(found)):
        return True
    return any(_decides(found, reachable=reachable) for reachable in (True, False))


def _deciding(criterion: Criterion) -> Criterion | None:
    """Return ``criterion`` without the conditions that every machine fulfils; None if nothing is left."""
    if isinstance(criterion, Condition):
        if criterion.kind is Kind.HOST_NAME:
            return criterion if criterion.value.strip("*") else None
        covers = criterion.kind in RANGES and _range(criterion.value)[1] == 0
        return None if covers else criterion
    parts = tuple(part for part in map(_deciding, criterion.parts) if part is not None)
    return Combination(criterion.rule, parts) if parts else None


def _decides(criterion: Criterion, *, reachable: bool) -> bool | None:
    """Return whether ``criterion`` holds when nothing is known but this; None if that is not enough."""
    if isinstance(criterion, Condition):
        return (criterion.value == "reachable") is reachable if criterion.kind is Kind.MANAGER else None
    return _combine(criterion.rule, [_decides(part, reachable=reachable) for part in criterion.parts])


def _combine(rule: Rule, values: Sequence[bool | None]) -> bool | None:
    """Return all, any or not of ``values``, where None stands for either."""
    if rule is Rule.NOT:
        return None if values[0] is None else not values[0]
    decisive = rule is Rule.ANY
    if decisive in values:
        return decisive
    return None if None in values else not decisive


def evaluate(criterion: Criterion, around: Surroundings) -> tuple[bool | None, tuple[str, ...]]:
    """Return whether ``criterion`` holds (None: it could not be found out), and the conditions that decided it."""
    if isinstance(criterion, Condition):
        if criterion in around.unseen:
            return None, ()
        found = _CONDITIONS[criterion.kind](criterion.value, around)
        return found, (criterion.describe(),) if found else ()
    results = [evaluate(part, around) for part in criterion.parts]
    held = _combine(criterion.rule, [part for part, _ in results])
    if not held:
        return held, ()
    if criterion.rule is Rule.NOT:
        return held, (criterion.describe(),)
    if criterion.rule is Rule.ANY:
        return held, next(why for part, why in results if part)
    return held, tuple(word for _, why in results for word in why)


def in_range(text: str, addresses: Sequence[str]) -> bool:
    """Return whether one of ``addresses`` is in the range ``text``."""
    version, mask, number = _range(text)
    return any(one == version and held & mask == number for one, held in _numbers(tuple(addresses)))


# One look asks for the same few addresses again and again, and each look for the same ranges: parsing them
# each time would keep the event loop for a second.


@lru_cache(maxsize=1024)
def _range(text: str) -> tuple[int, int, int]:
    """Return version, mask and number of a range."""
    network = ipaddress.ip_network(text, strict=False)
    return network.version, int(network.netmask), int(network.network_address)


@lru_cache(maxsize=64)
def _numbers(addresses: tuple[str, ...]) -> tuple[_Number, ...]:
    """Return what ``addresses`` are as numbers; IPv4 within IPv6 is IPv4."""
    found = [read_address(address) for address in addresses]
    return tuple((one.version, int(one)) for one in found)


def read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address without its zone; IPv4 within IPv6 is IPv4.

    Raises:
        ValueError: It is none.
    """
    found = ipaddress.ip_address(text.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _is_up(value: str, around: Surroundings) -> bool:
    names = {*around.interfaces, *around.interfaces.values()}
    return value.lower() in {name.lower() for name in names}


def _suffix(value: str, around: Surroundings) -> bool:
    wanted = value.strip(".").lower()
    known = [suffix.strip(".").lower() for suffix in around.dns_suffixes]
    return any(suffix == wanted or suffix.endswith(f".{wanted}") for suffix in known)


def _resolves(value: str, around: Surroundings) -> bool | None:
    name, _, wanted = value.partition("=")
    found = around.names.get(name)
    if found is None:
        return None
    return in_range(wanted, found) if wanted else bool(found)


def _manager(value: str, around: Surroundings) -> bool | None:
    return None if around.manager is None else around.manager is (value == "reachable")


def _variable(value: str, around: Surroundings) -> bool:
    name, equals, wanted = value.partition("=")
    held = around.environment.get(name)
    return held is not None and (not equals or is_like(held, wanted))


def is_like(text: str, pattern: str) -> bool:
    """Return whether ``text`` is like ``pattern``, in which ``*`` and ``?`` stand for others, and nothing else."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


_CONDITIONS: Final[Mapping[Kind, Callable[[str, Surroundings], bool | None]]] = MappingProxyType(
    {
        Kind.ADDRESS: lambda value, around: in_range(value, around.addresses),
        Kind.GATEWAY: lambda value, around: in_range(value, around.gateways),
        Kind.DNS_SERVER: lambda value, around: in_range(value, around.dns_servers),
        Kind.DNS_SUFFIX: _suffix,
        Kind.DNS_NAME: _resolves,
        Kind.INTERFACE: _is_up,
        Kind.REACHABLE: lambda value, around: around.reachable.get(value),
        Kind.MANAGER: _manager,
        Kind.HOST_NAME: lambda value, around: is_like(around.host_name.lower(), value.lower()),
        Kind.ENVIRONMENT: _variable,
        Kind.FILE: lambda value, around: around.files.get(value),
    }
)
