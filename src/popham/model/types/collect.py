"""Type ``collect``: what a machine's agent looks at, and brings back."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from popham.errors import DefinitionError
from popham.model.duration import parse_duration
from popham.model.keys import check_keys
from popham.model.lines import line_at
from popham.model.names import show
from popham.model.schema import Place, find_fault
from popham.model.size import parse_size
from popham.model.types.collect_pattern import check_pattern
from popham.model.types.collect_schema import ENTRIES_MAX, PROBES, SCHEMA
from popham.model.types.collect_thresholds import find_threshold_faults
from popham.model.types.kind import PolicyType

_LISTS: Final = ("logs", "probes", "commands", "thresholds")
_OTHERWISE: Final = MappingProxyType({"status": "http", "contains": "http", "address": "dns"})
"""What a probe may expect → the probes that can."""
_SECONDS: Final = frozenset({"interval", "timeout", "age"})
_BYTES: Final = frozenset({"bytes", "bandwidth"})
_HINT: Final = "Correct it; the reference of policies says what may stand there"
_SECONDS_HINT: Final = "Write a number and s, m, h or d: 30s, 5m, 2h, 24h"
_BYTES_HINT: Final = "Write a number and B, KiB, MiB or GiB: 64KiB, 1MiB"


def check_collect(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normal form of a policy of type ``collect``: what was said, in seconds and bytes.

    Raises:
        DefinitionError: A key is unknown, or a value is none of its kind.
    """
    _check_known(spec, SCHEMA, "a policy of type 'collect'")
    _check_form(spec, spec)
    body: dict[str, Any] = _normal(spec, "")
    # Bounds of what was text until now.
    _check_form(body, spec)
    for place, problem, hint in _faults(body):
        raise _wrong(place, problem, hint, spec)
    return body


def _check_known(value: object, schema: Mapping[str, Any], where: str) -> None:
    """Refuse unknown keys, with the nearest right one; of other faults nothing is said yet."""
    if isinstance(value, Mapping) and "properties" in schema:
        properties = schema["properties"]
        check_keys(value, properties, where)
        for key, held in value.items():
            _check_known(held, properties[key], f"{key} of {where}")
    elif isinstance(value, list) and "items" in schema:
        for held in value:
            _check_known(held, schema["items"], f"an entry of {where}")


def _check_form(held: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    fault = find_fault(held, SCHEMA)
    if fault is not None:
        place, said = fault
        key = place[-1] if place else ""
        hint = _SECONDS_HINT if key in _SECONDS else _BYTES_HINT if key in _BYTES else _HINT
        raise _wrong(place, said, hint, spec)


def _wrong(place: Place, problem: str, hint: str, spec: Mapping[str, Any]) -> DefinitionError:
    where = ".".join(map(str, place))
    return DefinitionError("collect", f"{where}: {problem}", hint, line=line_at(spec, place))


def _normal(value: Any, key: str) -> Any:
    """Return a value in seconds and bytes, where its key is one of these."""
    if isinstance(value, Mapping):
        # Keys of attributes are somebody's own.
        return {held: _normal(below, "" if key == "attributes" else held) for held, below in value.items()}
    if isinstance(value, list):
        return [_normal(one, "") for one in value]
    if key in _SECONDS:
        return parse_duration(value, key) if isinstance(value, str) else float(value)
    if key in _BYTES:
        return parse_size(value, key) if isinstance(value, str) else int(value)
    return int(value) if key in {"records", "status"} else value


# What a schema cannot say.


def _faults(body: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    """Yield places, what is wrong there, and what to do."""
    processes = body.get("metrics", {}).get("processes", [])
    for place, entries in [
        (("metrics", "processes"), processes),
        *(((key,), body.get(key, [])) for key in _LISTS),
    ]:
        if len(entries) > ENTRIES_MAX:
            yield (
                place,
                f"has {len(entries)} entries, and may have {ENTRIES_MAX}",
                "Use a policy of another group",
            )
        seen: set[str] = set()
        for number, entry in enumerate(entries):
            if entry["name"] in seen:
                yield (*place, number, "name"), f"{show(entry['name'])} stands twice", "Rename one of them"
            seen.add(entry["name"])
            for below, problem, hint in _ENTRIES.get(place[0], _no_faults)(entry):
                yield (*place, number, *below), problem, hint


def _no_faults(entry: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    del entry
    return iter(())


def _log_faults(log: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    for key in ("paths", "exclude"):
        globs = log.get(key, [])
        if len(globs) > ENTRIES_MAX:
            yield (key,), f"has {len(globs)} entries, and may have {ENTRIES_MAX}", "Use another entry of logs"
        for number, glob in enumerate(globs):
            parts = glob.split("/")[1:]
            if not all(parts) or any(
                part in {".", ".."} or ("**" in part and part != "**") for part in parts
            ):
                problem = f"{show(glob)} is no path in its shortest form"
                yield (
                    (key, number),
                    problem,
                    "Write it from '/', without '.' and '..'; '**' is a part by itself",
                )
    try:
        check_pattern(log.get("multiline", {}).get("start", ""))
    except ValueError as error:
        yield ("multiline", "start"), str(error), "Correct the regular expression, or make it simpler"
    attributes = log.get("attributes", {})
    if len(attributes) > ENTRIES_MAX or not all(
        0 < len(key) <= 255 and key.isprintable() for key in attributes
    ):
        problem = f"has more than {ENTRIES_MAX} keys, or one that is empty, too long or not printable"
        yield ("attributes",), problem, "Name attributes as OpenTelemetry does: service.name"


def _probe_faults(probe: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    named = [key for key in PROBES if key in probe]
    if len(named) != 1:
        problem = f"asks {' and '.join(named) or 'nothing'}"
        yield (), problem, f"Name one of {', '.join(PROBES)}"
        return
    kind = named[0]
    if not _good_port(kind, probe[kind]):
        yield (kind,), f"{show(probe[kind])} has no such port", "Write a port of 1 to 65535"
    for key in probe.get("expect", {}):
        if _OTHERWISE[key] != kind:
            yield ("expect", key), f"{kind} has none", f"It is for probes by {_OTHERWISE[key]}"
    address = probe.get("expect", {}).get("address")
    if address is not None and not _is_range(address):
        yield ("expect", "address"), f"{show(address)} is neither an address nor a range", "Write 10.0.0.0/8"


def _good_port(kind: str, target: str) -> bool:
    if kind == "http":
        target = target.partition("://")[2].replace("?", "/").partition("/")[0]
        target = (
            target if target.rpartition("]")[2].startswith(":") or target.count(":") == 1 else f"{target}:80"
        )
    return kind not in {"http", "tcp"} or 0 < int(target.rpartition(":")[2]) < 65_536


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


_ENTRIES: Final[Mapping[str | int, Callable[[Mapping[str, Any]], Iterator[tuple[Place, str, str]]]]] = (
    MappingProxyType({"logs": _log_faults, "probes": _probe_faults, "thresholds": find_threshold_faults})
)


def find_host(kind: str, target: str) -> str:
    """Return the host that a probe asks for, or the name that it looks up; an address without brackets."""
    if kind == "http":
        return urlsplit(target).hostname or ""
    if kind == "tcp":
        return target.rpartition(":")[0].strip("[]")
    return target.strip("[]")


def find_secrets(body: Mapping[str, Any]) -> Iterator[Place]:
    """Yield nothing: no value of such a body is a secret."""
    del body
    yield from ()


COLLECT: Final = PolicyType(
    name="collect",
    summary="What the agent looks at on its machine and brings back: metrics, lines of logs, whether services "
    "answer, what commands print.  Every key is optional; the summary is on by default.",
    schema=SCHEMA,
    further=(
        f"A list has at most {ENTRIES_MAX} entries, and each `name` stands once in it.",
        f"A probe has exactly one of {', '.join(f'`{kind}`' for kind in PROBES)}; it may expect only what that can tell.",
        "A part of a path is neither empty nor `.` nor `..`, and `**` is a part by itself.",
        (
            "`multiline.start` is tried on the first 256 characters of a line, by Python's rules without references, "
            "lookaround and flags; one that could be tried in too many ways is refused."
        ),
        "A duration may be written as a number of seconds, and a size as a number of bytes.",
    ),
    check=check_collect,
    secrets=find_secrets,
    withheld="Nothing: write no passwords into URLs and attributes.",
    commands=("commands[].command",),
    locked=tuple(SCHEMA["properties"]),
    local={
        "collect.logs": "under which directories logs may be read; anything else fails with `policy.logs`",
        "collect.probes": "which hosts may be probed; anything else fails with `policy.probe`",
        "commands": "which programs `commands` may name",
    },
    example="""\
interval: 30s
metrics:
  cpu: true
  memory: true
  filesystem: {exclude: ["/run/*"]}
  network: {include: ["eth*"]}
  processes: [{name: shop, match: "java*"}]
logs:
  - name: shop
    paths: [/var/log/shop/*.log]
    exclude: [/var/log/shop/debug*.log]
    multiline: {start: '\\d{4}-\\d{2}-\\d{2} '}
    attributes: {service.name: shop}
probes:
  - {name: shop, http: "http://localhost:8080/health", interval: 30s, expect: {status: 200, contains: ok}}
  - {name: intranet, dns: intranet.example, expect: {address: 10.0.0.0/8}}
commands:
  - {name: queue, command: queue-length, into: metrics, interval: 5m}
thresholds:
  - name: disk-full
    item: system.filesystem.utilization
    resource: "/var*"
    warning: {above: 0.8}
    error: {above: 0.9}
    hysteresis: 0.02
    samples: 2 of 3
limits: {bytes: 512MiB, age: 7d}
bandwidth: 1MiB
upload: {logs: "off"}
""",
    applier="collect",
)
"""The type ``collect``."""
