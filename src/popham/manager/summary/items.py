"""Items of the summary: which value of which part of a machine, and which of them a window shows.

An *item* is a metric by its OpenTelemetry name, a *resource* that part of the machine which it is about: a mount point,
an interface.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

CPU: Final = "system.cpu.utilization"
MEMORY: Final = "system.memory.utilization"
FILESYSTEM: Final = "system.filesystem.utilization"
LOAD: Final = "system.cpu.load_average.1m"
NETWORK: Final = "system.network.io"
STALE: Final = 3.0
"""Intervals after which a value that came no more is not shown as a key metric: what it was of may be gone."""
_NAMED: Final = (
    "system.filesystem.mountpoint",
    "network.interface.name",
    "system.device",
    "process.executable.name",
)
"""Attributes that name a part of a machine, the best name first; the others of them only say more of the same part."""
_LESS: Final = frozenset({"system.filesystem.mode", "system.filesystem.type"})


class Point(NamedTuple):
    """One value.

    Attributes:
        uid: Of which agent.
        item: Name of the metric.
        resource: Which of them; empty for the only one.
        at: When it was, unix nanoseconds, corrected for skew.
        value: The value, or what has come together since ``start``.
        counts: Whether it only rises, so that its growth is what is looked at.
        start: Since when it counts, by the agent's clock, unix nanoseconds; 0 if it does not, or did not say.
        unit: As in UCUM.
    """

    uid: str
    item: str
    resource: str
    at: int
    value: float
    counts: bool
    start: int
    unit: str


class KeyMetrics(NamedTuple):
    """What a window shows of a machine; None for what is not known.

    Attributes:
        cpu: Share of all cores in use.
        memory: Share of the memory in use.
        filesystem: Share in use of the fullest filesystem.
        load: Load average of a minute.
        network: Bytes in a second, both ways, over all interfaces.
        mount: Which filesystem is the fullest; empty if that is not known.
    """

    cpu: float | None = None
    memory: float | None = None
    filesystem: float | None = None
    load: float | None = None
    network: float | None = None
    mount: str = ""


@lru_cache(maxsize=4096)
def resource_of(attributes: str) -> str:
    """Return what names the part of a machine among attributes, as JSON: ``/var``, ``eth0 receive``."""
    found: dict[str, Any] = json.loads(attributes)
    main = next((str(found[key]) for key in _NAMED if key in found), "")
    left = _LESS | set(_NAMED)
    rest = [str(found[key]) for key in sorted(found) if key not in left and not isinstance(found[key], dict)]
    return " ".join([*([main] if main else []), *rest])[:256]


Held = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Item → resource → its newest value, as the body of a summary's row has it."""


def key_metrics(held: Held, oldest: float) -> KeyMetrics:
    """Return the key metrics of a summary; values from before ``oldest`` (unix seconds) are not known any more."""
    now = {
        item: {name: one for name, one in resources.items() if one["at"] >= oldest}
        for item, resources in held.items()
    }
    fullest = max(now.get(FILESYSTEM, {}).items(), key=lambda pair: pair[1]["value"], default=("", {}))
    rates = [one.get("rate") for name, one in now.get(NETWORK, {}).items() if name.partition(" ")[0] != "lo"]
    known = [rate for rate in rates if rate is not None]
    return KeyMetrics(
        cpu=_used(now.get(CPU, {})),
        memory=_used(now.get(MEMORY, {})),
        filesystem=fullest[1].get("value"),
        load=_only(now.get(LOAD, {})),
        network=math.fsum(known) if known else None,
        mount=fullest[0],
    )


def _used(resources: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Return a share in use: that of the whole, or of the state *used*, or what is not idle."""
    for name in ("", "used"):
        if name in resources:
            return float(resources[name]["value"])
    return 1.0 - float(resources["idle"]["value"]) if "idle" in resources else None


def _only(resources: Mapping[str, Mapping[str, Any]]) -> float | None:
    return float(resources[""]["value"]) if "" in resources else None
