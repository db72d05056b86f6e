"""Location criteria as people write them, and as they stand in a bundle: read and bounded."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from popham.errors import DefinitionError
from popham.model.criteria import INTERFACES, RANGES, Combination, Condition, Criterion, Kind, Rule, walk
from popham.model.lines import line_of
from popham.model.names import nearest, show

DEPTH_MAX = 6
CONDITIONS_MAX = 64
TEXT_MAX = 255
"""Bounds of one location's criteria."""
_LOWER = frozenset({Kind.DNS_SUFFIX, Kind.INTERFACE, Kind.MANAGER})


def criterion_from_dict(data: Any, *, depth: int = 0) -> Criterion:
    """Return the criterion of a bundle, or as people write it: one mapping of ``all``, ``any``, ``not`` or conditions.

    Several keys in one mapping mean all of them; a list as the value of a condition means any of them.

    Raises:
        DefinitionError: It is none, or too deep.
    """
    if not isinstance(data, Mapping) or not data:
        problem = f"when: {show(data)} is no criterion"
        raise DefinitionError(
            "criteria", problem, "Write 'address: 10.0.0.0/8', or all:, any:, not: around such conditions"
        )
    if depth > DEPTH_MAX:
        raise _too_deep(line_of(data))
    parts = [_read_part(data, str(key), value, depth) for key, value in data.items()]
    found = parts[0] if len(parts) == 1 else Combination(Rule.ALL, tuple(parts))
    if depth == 0:
        _check_size(found, line_of(data))
    return found


def _check_size(found: Criterion, line: int) -> None:
    """Refuse what would be too large in a bundle, where several keys in one mapping are one level more."""
    if sum(1 for _ in walk(found)) > CONDITIONS_MAX:
        problem = f"when: more than {CONDITIONS_MAX} conditions"
        raise DefinitionError("criteria", problem, "Use two locations", line=line)
    if _depth(found) > DEPTH_MAX:
        raise _too_deep(line)


def _depth(criterion: Criterion) -> int:
    if isinstance(criterion, Condition):
        return 0
    return 1 + max(_depth(part) for part in criterion.parts)


def _too_deep(line: int) -> DefinitionError:
    problem = f"when: criteria are nested more than {DEPTH_MAX} deep"
    return DefinitionError("criteria", problem, "Use two locations", line=line)


def _read_part(data: Mapping[str, Any], key: str, value: Any, depth: int) -> Criterion:
    line = line_of(data, key)
    if key == Rule.NOT:
        return Combination(Rule.NOT, (criterion_from_dict(value, depth=depth + 1),))
    if key in {Rule.ALL, Rule.ANY}:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            problem = f"when: {key}: {show(value)} is no list of criteria"
            raise DefinitionError(
                "criteria", problem, f"Write '{key}:' and '- address: 10.0.0.0/8' below it", line=line
            )
        return Combination(Rule(key), tuple(criterion_from_dict(item, depth=depth + 1) for item in value))
    if key not in set(Kind):
        raise DefinitionError(
            "criteria", f"when: there is no criterion {show(key)}", nearest(key, [*Kind, *Rule]), line=line
        )
    try:
        if isinstance(value, list) and value:
            return Combination(Rule.ANY, tuple(_read_condition(Kind(key), item) for item in value))
        return _read_condition(Kind(key), value)
    except DefinitionError as error:
        error.line = error.line or line
        raise


def _read_condition(kind: Kind, value: Any) -> Condition:
    text = value.strip() if isinstance(value, str) else ""
    if not 0 < len(text) <= TEXT_MAX or not text.isprintable():
        problem = f"when: {kind}: {show(value)} is no text of 1 to {TEXT_MAX} characters"
        raise DefinitionError("criteria", problem, _HINTS[kind])
    try:
        if kind in RANGES:
            text = str(ipaddress.ip_network(text, strict=False))
        form = _FORMS.get(kind)
        good = form is None or form(text)
    except ValueError:
        good = False
    if not good:
        raise DefinitionError("criteria", f"when: {kind}: {show(value)} is not understood", _HINTS[kind])
    return Condition(kind, text.lower() if kind in _LOWER else text)


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", text) is not None


def _is_resolved(text: str) -> bool:
    name, equals, wanted = text.partition("=")
    return _is_name(name) and (not equals or bool(ipaddress.ip_network(wanted, strict=False)))


def _is_target(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    number = colon and port.isascii() and port.isdigit() and 0 < int(port) < 65_536
    if not number or (":" in bare and bare == host):
        return False
    return bool(ipaddress.ip_address(bare)) if ":" in bare else _is_name(bare)


_FORMS: Final[Mapping[Kind, Callable[[str], bool]]] = MappingProxyType(
    {
        Kind.DNS_SUFFIX: lambda text: _is_name(text.strip(".")),
        Kind.DNS_NAME: _is_resolved,
        Kind.REACHABLE: _is_target,
        Kind.MANAGER: lambda text: text.lower() in {"reachable", "unreachable"},
        Kind.ENVIRONMENT: lambda text: re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(=.*)?", text) is not None,
        Kind.FILE: lambda text: text.startswith("/"),
    }
)
_RANGE = "Write an address or a range: 10.0.0.0/8, fd00::/8"
_HINTS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.ADDRESS: _RANGE,
        Kind.GATEWAY: _RANGE,
        Kind.DNS_SERVER: _RANGE,
        Kind.DNS_SUFFIX: "Write a domain: corp.example",
        Kind.DNS_NAME: "Write a name, or a name and a range: intranet.example=10.0.0.0/8",
        Kind.INTERFACE: f"Write a type ({', '.join(INTERFACES)}) or a name: wireless, eth0",
        Kind.REACHABLE: "Write a host and a port: intranet.example:443, [fd00::1]:443",
        Kind.MANAGER: "Write reachable or unreachable",
        Kind.HOST_NAME: "Write a host name, with * and ?: till-*",
        Kind.ENVIRONMENT: "Write a variable, or a variable and a value: SITE=paris",
        Kind.FILE: "Write an absolute path: /etc/site",
    }
)
