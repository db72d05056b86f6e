"""Items of the summary: which value of which part of a machine, and which of them a window shows.

An *item* is a metric by its OpenTelemetry name, a *resource* that part of the machine which it is about: a mount point,
a direction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

CPU: Final = "system.cpu.utilization"
MEMORY: Final = "system.memory.utilization"
FILESYSTEM: Final = "system.filesystem.utilization"
"""Of the fullest filesystem, whichever that is."""
LOAD: Final = "system.cpu.load_average.1m"
NETWORK: Final = "popham.network.rate"
SHOWN: Final = 600.0
"""Seconds before the newest of all values from which key metrics are taken."""
_TOGETHER: Final = 1.0
"""Seconds within which values of one item were sampled together."""
_RESOURCE_MAX: Final = 256


class Point(NamedTuple):
    """One value.

    Attributes:
        item: Name of the metric.
        resource: Which of them; empty for the only one.
        at: When it was, unix nanoseconds, corrected for skew.
        value: The value.
        unit: As in UCUM.
    """

    item: str
    resource: str
    at: int
    value: float
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


NUMBERS: Final = KeyMetrics._fields[:-1]
"""The key metrics that are numbers."""


@lru_cache(maxsize=4096)
def resource_of(attributes: str) -> str:
    """Return what names the part of a machine among attributes, as JSON: their values, in the order of their names."""
    found: dict[str, Any] = json.loads(attributes)
    return " ".join(str(found[key]) for key in sorted(found))[:_RESOURCE_MAX]


Held = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Item → resource → its newest value, as the body of a summary's row has it."""


def key_metrics(held: Held, newest: float) -> KeyMetrics:
    """Return the key metrics of a summary, whose newest value is of then (unix seconds)."""
    filesystems, rates = _now(held, FILESYSTEM, newest), _now(held, NETWORK, newest)
    mount, share = max(filesystems.items(), key=lambda pair: pair[1], default=("", None))
    return KeyMetrics(
        cpu=_now(held, CPU, newest).get(""),
        memory=_now(held, MEMORY, newest).get(""),
        filesystem=share,
        load=_now(held, LOAD, newest).get(""),
        network=sum(rates.values()) if rates else None,
        mount=mount,
    )


def _now(held: Held, item: str, newest: float) -> dict[str, float]:
    """Return resource → value of an item, as it was sampled last: what was not sampled then is there no more."""
    resources = held.get(item, {})
    last = max((one["at"] for one in resources.values()), default=0.0)
    if last < newest - SHOWN:
        return {}
    return {name: one["value"] for name, one in resources.items() if one["at"] >= last - _TOGETHER}
