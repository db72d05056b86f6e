"""What policies of type ``collect`` may say, and what holds where they are silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from popham.model.duration import show_duration
from popham.model.names import NAME
from popham.model.types.collect_pattern import PATTERN_MAX
from popham.model.types.collect_thresholds import THRESHOLD
from popham.model.types.commands import COMMAND_SCHEMA

INTERVAL: Final = 60.0
PROBE_INTERVAL: Final = 60.0
PROBE_TIMEOUT: Final = 5.0
COMMAND_INTERVAL: Final = 300.0
"""Seconds that hold where a policy is silent."""
RECORDS: Final = 30_000
BYTES: Final = 256 * 1024**2
AGE: Final = 72 * 3600.0
"""What a machine keeps of each stream until it is upstream. Source: features F.D2, 30,000 records."""
ENTRIES_MAX: Final = 64
"""Entries of one list of a policy."""
ENCODINGS: Final = (
    "utf-8",
    "utf-16le",
    "utf-16be",
    "iso-8859-1",
    "iso-8859-15",
    "windows-1252",
    "shift_jis",
    "euc_jp",
    "gb18030",
    "big5",
)
"""Encodings of logs; in all of them the end of a line can be told from the middle of a character."""
PROBES: Final = ("http", "tcp", "dns", "ping")
"""Keys of a probe of which it has exactly one."""
STREAMS: Final = ("events", "summary", "metrics", "logs")

_NAME: Final = {"type": "string", "pattern": f"^{NAME.pattern}$"}
_WORD: Final = r"[^\x00-\x1f\x7f]{1,255}"
_HOST: Final = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_][A-Za-z0-9_.-]{0,252})"


def _duration(said: str, default: float | None, least: float, most: float) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": ["string", "number"],
        "pattern": r"^[0-9]{1,9}(?:\.[0-9]{1,9})?[smhd]$",
        "minimum": least,
        "maximum": most,
        "description": f"{said}, {show_duration(least)} to {show_duration(most)}",
    }
    return schema if default is None else schema | {"default": show_duration(default)}


def _size(said: str, least: int, most: int) -> dict[str, Any]:
    return {
        "type": ["string", "integer"],
        "pattern": r"^[0-9]{1,9}(?:B|KiB|MiB|GiB)$",
        "minimum": least,
        "maximum": most,
        "description": said,
    }


def _object(properties: Mapping[str, Any], *required: str, **further: Any) -> dict[str, Any]:
    needed = {"required": list(required)} if required else {}
    return {"type": "object", "additionalProperties": False, "properties": properties} | needed | further


def _list(items: Mapping[str, Any], said: str, least: int = 0) -> dict[str, Any]:
    held = {"type": "array", "items": items, "description": said}
    return held | {"minItems": least} if least else held


_FLAG: Final = {"type": "boolean", "default": False}
_WORDS: Final = {"type": "string", "pattern": f"^{_WORD}$"}
_GLOB: Final = {"type": "string", "pattern": r"^/[^\x00-\x1f\x7f]{1,1023}$"}


def _chosen(what: str, metrics: str) -> dict[str, Any]:
    """Return the schema of metrics of which some may be chosen: true, false, or which."""
    choice = {
        "include": _list(_WORDS, f"only these {what}, with `*` and `?`"),
        "exclude": _list(_WORDS, f"none of these {what}"),
    }
    return _object(choice, description=metrics, default=False) | {"type": ["boolean", "object"]}


_METRICS: Final = _object(
    {
        "cpu": _FLAG | {"description": "`system.cpu.time`, `.utilization`, `.logical.count`"},
        "load": _FLAG | {"description": "`system.cpu.load_average.1m`, `.5m`, `.15m`"},
        "memory": _FLAG
        | {
            "description": "`system.memory.usage`, `.utilization`, `.limit`, `system.paging.usage`, `.utilization`"
        },
        "filesystem": _chosen("mount points", "`system.filesystem.usage`, `.utilization`, `.limit`"),
        "disk": _chosen("devices", "`system.disk.io`, `.operations`, `.io_time`"),
        "network": _chosen(
            "interfaces", "`system.network.io`, `.packet.count`, `.packet.dropped`, `.errors`"
        ),
        "processes": _list(
            _object(
                {
                    "name": _NAME | {"description": "what these processes are called in the metrics"},
                    "match": _WORDS | {"description": "name of their program, with `*` and `?`"},
                },
                "name",
                "match",
            ),
            "`system.process.count`, `process.cpu.utilization`, `process.memory.usage` of chosen processes, "
            "each sort of them together",
        ),
    },
    description="metrics of the machine; what is not named is not looked at",
)
_LOG: Final = _object(
    {
        "name": _NAME | {"description": "the attribute `popham.source` of each line"},
        "paths": _list(
            _GLOB,
            "absolute paths, with `*`, `?` and `[…]` in their parts, and `**` for parts of any number",
            least=1,
        ),
        "exclude": _list(_GLOB, "paths that are left out, written alike"),
        "encoding": {
            "enum": list(ENCODINGS),
            "default": "utf-8",
            "description": "what does not fit it is U+FFFD",
        },
        "multiline": _object(
            {
                "start": {
                    "type": "string",
                    "maxLength": PATTERN_MAX,
                    "description": "a regular expression that fits the beginning of each first line",
                }
            },
            "start",
            description="several lines are one record",
        ),
        "from": {
            "enum": ["end", "beginning"],
            "default": "end",
            "description": "where a file is begun that is there when the policy comes; later ones are read whole",
        },
        "attributes": {
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": 1024},
            "description": "attributes of each record",
        },
    },
    "name",
    "paths",
)
_PROBE: Final = _object(
    {
        "name": _NAME | {"description": "the attribute `popham.source` of what it finds"},
        "http": {
            "type": "string",
            "pattern": rf"^https?://{_HOST}(?::[0-9]{{1,5}})?(?:[/?][!-~]{{0,2000}})?$",
            "description": "a URL that is to answer a GET with a status below 400; redirects are not followed",
        },
        "tcp": {
            "type": "string",
            "pattern": rf"^{_HOST}:[0-9]{{1,5}}$",
            "description": "`HOST:PORT` that is to take a connection",
        },
        "dns": {"type": "string", "pattern": rf"^{_HOST}$", "description": "a name that is to resolve"},
        "ping": {
            "type": "string",
            "pattern": rf"^(?:{_HOST}|[0-9A-Fa-f:]{{2,45}})$",
            "description": "a host that is to answer an ICMP echo",
        },
        "interval": _duration("how often", PROBE_INTERVAL, 1, 86_400),
        "timeout": _duration("how long it may take", PROBE_TIMEOUT, 0.1, 60),
        "expect": _object(
            {
                "status": {
                    "type": "integer",
                    "minimum": 100,
                    "maximum": 599,
                    "description": "of `http`: the one status that is right",
                },
                "contains": {
                    "type": "string",
                    "maxLength": 1024,
                    "description": "of `http`: text in the first 64 KiB of the answer",
                },
                "address": {
                    "type": "string",
                    "maxLength": 64,
                    "description": "of `dns`: an address, or a range, that one of the addresses is in",
                },
            },
            description="what is right, beyond an answer",
        ),
    },
    "name",
)
_COMMAND: Final = _object(
    {
        "name": _NAME | {"description": "the attribute `popham.source` of what it prints"},
        "command": COMMAND_SCHEMA | {"description": "name of a command"},
        "interval": _duration("how often", COMMAND_INTERVAL, 1, 86_400),
        "into": {
            "enum": ["logs", "metrics"],
            "default": "logs",
            "description": "each line that it prints is a record of `logs`, or the number on its first line is "
            "`popham.command.value`",
        },
    },
    "name",
    "command",
)
SCHEMA: Final[Mapping[str, Any]] = _object(
    {
        "interval": _duration("how often metrics are looked at", INTERVAL, 1, 86_400),
        "summary": _object(
            {"interval": _duration("how often", INTERVAL, 1, 86_400)},
            description="key metrics for the summary; `false` for none",
            default=True,
        )
        | {"type": ["boolean", "object"]},
        "metrics": _METRICS,
        "logs": _list(_LOG, "files whose lines are brought"),
        "probes": _list(_PROBE, "services that are asked whether they answer"),
        "commands": _list(_COMMAND, "commands of the machine that are run on a schedule"),
        "thresholds": _list(THRESHOLD, "values from which on something is a warning or an error"),
        "limits": _object(
            {
                "records": {
                    "type": "integer",
                    "minimum": 100,
                    "maximum": 100_000_000,
                    "default": RECORDS,
                    "description": "records of one stream",
                },
                "bytes": _size("bytes of one stream on disk, `1MiB` to `64GiB`", 1024**2, 64 * 1024**3)
                | {"default": "256MiB"},
                "age": _duration("age of a record", AGE, 60, 90 * 86_400),
            },
            description="what the machine keeps of what is not upstream yet; the oldest beyond it is dropped, "
            "and counted",
        ),
        "bandwidth": _size("bytes a second, at most, that are sent, `1KiB` to `1GiB`", 1024, 1024**3),
        "upload": _object(
            {
                stream: {
                    "enum": ["on", "off"],
                    "default": "on",
                    "description": f"whether `{stream}` are sent",
                }
                for stream in STREAMS
            },
            description="what is not sent stays on the machine, within `limits`",
        ),
    }
)
"""JSON Schema of a policy's ``spec``; numbers are seconds and bytes."""
