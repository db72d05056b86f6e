"""What location criteria may make this machine look at: what its own configuration permits, and so much of it.

Rules:

1. Names, connections, variables and files are looked at only where ``[location]`` permits it. Addresses,
   gateways, resolvers, search domains, interfaces and the host name need no permission.
2. What is not permitted, or is beyond what one look can do, is unknown: neither it nor ``not`` of it holds.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from popham.errors import ConfigError
from popham.model.criteria import PERMITTED, Condition, Kind, Needs, is_like, needs, read_address, walk
from popham.model.location import PROBES_MAX, LocationRules

_PROBES: Final = frozenset({Kind.DNS_NAME, Kind.REACHABLE, Kind.FILE})
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATTERN: Final = re.compile(r"[A-Za-z0-9_.*?-]{1,255}")
_NUMERIC: Final = re.compile(r"[0-9.*?]+")
"""What a person writes who means addresses by a pattern: refused, as a name may look like that too."""
_Texts = Annotated[tuple[str, ...], msgspec.Meta(max_length=256)]
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class LocationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What location criteria may look at; nothing of it by default.

    Attributes:
        environment: Names of variables of the agent's process.
        files: Absolute paths of files, and of directories with what is below them.
        reachable: ``HOST:PORT``: a name with ``*`` and ``?``, or a range of addresses; ``*`` for any port.
        names: Names that may be looked up, with ``*`` and ``?``.
    """

    environment: _Texts = ()
    files: _Texts = ()
    reachable: _Texts = ()
    names: _Texts = ()


def check_location(settings: LocationSettings, where: str) -> None:
    """Refuse what would permit nothing, or something else than was meant; paths are checked by the caller.

    Raises:
        ConfigError: A name, a pattern or a target cannot be used.
    """
    for name in settings.environment:
        if not _VARIABLE.fullmatch(name):
            raise _wrong(f"{where}: location.environment: {name!r} is no name of a variable", 'Write "SITE"')
    for pattern in settings.names:
        if not _PATTERN.fullmatch(pattern):
            raise _wrong(f"{where}: location.names: {pattern!r} is no name", 'Write "*.corp.example"')
    for text in settings.reachable:
        try:
            Targets.read(text)
        except ValueError as error:
            hint = 'Write "*.corp.example:443", "10.0.0.0/8:443" or "intranet.example:*"'
            raise _wrong(f"{where}: location.reachable: {text!r} is no target", hint) from error


def _wrong(problem: str, hint: str) -> ConfigError:
    return ConfigError("location", problem, hint)


@dataclass(frozen=True, slots=True)
class Targets:
    """Hosts by a pattern of their names or a range of their addresses, and a port; 0 for any."""

    hosts: str | _Network
    port: int

    @classmethod
    def read(cls, text: str) -> Targets:
        """Return the targets of a setting. Raises ValueError if it is none."""
        host, _, port = text.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        number = 0 if port == "*" else int(port) if port.isascii() and port.isdigit() else -1
        if not 0 <= number < 65_536 or port == "0":
            raise ValueError(text)
        if host != "*" and (":" in host or "/" in host or _NUMERIC.fullmatch(host)):
            return cls(ipaddress.ip_network(host, strict=False), number)
        if not _PATTERN.fullmatch(host):
            raise ValueError(text)
        return cls(host, number)

    def hold(self, host: str, port: int) -> bool:
        """Return whether this is one of them: an address by a range only, but for ``*``."""
        if self.port not in {0, port}:
            return False
        if self.hosts == "*":
            return True
        try:
            address = read_address(host)
        except ValueError:
            return isinstance(self.hosts, str) and _is_named(host, self.hosts)
        return not isinstance(self.hosts, str) and address in self.hosts


def _is_named(name: str, pattern: str) -> bool:
    return is_like(name.rstrip(".").lower(), pattern.rstrip(".").lower())


@dataclass(frozen=True, slots=True)
class Outlook:
    """What some rules have a machine look at.

    Attributes:
        wanted: What is to be looked up.
        unseen: Conditions that are not looked at.
    """

    wanted: Needs
    unseen: frozenset[Condition]

    @property
    def refused(self) -> tuple[str, ...]:
        """The unseen conditions in words."""
        return tuple(sorted(condition.describe() for condition in self.unseen))


class Sight:
    """What this machine permits location criteria to look at."""

    def __init__(self, settings: LocationSettings) -> None:
        """Take checked settings."""
        self._variables = frozenset(settings.environment)
        self._files = settings.files
        self._names = settings.names
        self._targets = tuple(Targets.read(text) for text in settings.reachable)
        self._kinds: Mapping[Kind, Callable[[str], bool]] = MappingProxyType(
            {
                Kind.ENVIRONMENT: lambda value: value.partition("=")[0] in self._variables,
                Kind.FILE: self._allows_file,
                Kind.REACHABLE: self._allows_target,
                Kind.DNS_NAME: self._allows_name,
            }
        )

    def allows(self, condition: Condition) -> bool:
        """Return whether ``condition`` may be looked at."""
        return condition.kind not in PERMITTED or self._kinds[condition.kind](condition.value)

    def choose(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that may be looked at."""
        return {name: environment[name] for name in sorted(self._variables & environment.keys())}

    def _allows_file(self, path: str) -> bool:
        # A path with '..' may leave a directory by a symbolic link before it comes back.
        if posixpath.normpath(path) != path:
            return False
        return any(path == known or path.startswith(known.rstrip("/") + "/") for known in self._files)

    def _allows_target(self, target: str) -> bool:
        host, _, port = target.rpartition(":")
        return any(known.hold(host.strip("[]"), int(port)) for known in self._targets)

    def _allows_name(self, value: str) -> bool:
        name = value.partition("=")[0]
        return any(_is_named(name, pattern) for pattern in self._names)


def plan_look(rules: LocationRules, allows: Callable[[Condition], bool]) -> Outlook:
    """Return what ``rules`` have a machine look at, within what it permits and one look can do."""
    criteria = [location.when for location in rules.locations if location.when is not None]
    conditions = dict.fromkeys(condition for criterion in criteria for condition in walk(criterion))
    seen: list[Condition] = []
    probes: set[tuple[Kind, str]] = set()
    for condition in conditions:
        if not allows(condition):
            continue
        if condition.kind in _PROBES:
            # A name is looked up once, whatever it is to resolve to.
            is_name = condition.kind is Kind.DNS_NAME
            probe = condition.kind, condition.value.partition("=")[0] if is_name else condition.value
            if probe not in probes and len(probes) >= PROBES_MAX:
                continue
            probes.add(probe)
        seen.append(condition)
    return Outlook(needs(seen), frozenset(conditions) - frozenset(seen))
