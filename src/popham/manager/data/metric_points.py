"""The data points of one metric of OTLP as rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from popham.manager.data.rows import Origin, PointRow
from popham.manager.data.values import as_json, corrected, encode, first_of
from popham.manager.data.wire_walk import find

_DELTA: Final = 1
"""``AGGREGATION_TEMPORALITY_DELTA``."""
_NO_VALUE: Final = 1
"""Flag of a point that says that there is no value."""
_KINDS: Final = {
    "gauge": 5,
    "sum": 7,
    "histogram": 9,
    "exponential_histogram": 10,
    "summary": 11,
}
"""Kind of a metric → number of its field."""


def count_points(metric: Any) -> int:
    """Return how many data points a ``Metric`` has."""
    kind = metric.WhichOneof("data")
    return len(getattr(metric, kind).data_points) if kind else 0


def walk_points(metric: memoryview) -> int:
    """Return how many data points the bytes of a metric have, which need not be sound.

    Raises:
        BrokenError: They are no message.
    """
    return sum(sum(1 for _ in find(data, 1)) for kind in _KINDS.values() for data in find(metric, kind))


def read_metric(origin: Origin, metric: Any, resource: str) -> Iterator[PointRow]:
    """Yield the points of a ``Metric``; ``origin`` is that of the first."""
    data = metric.WhichOneof("data")
    if not data:
        return
    body = getattr(metric, data)
    delta = getattr(body, "aggregation_temporality", 0) == _DELTA
    kind = "counter" if data == "sum" and body.is_monotonic else data.removesuffix("_histogram")
    for number, point in enumerate(body.data_points):
        time = first_of(point.time_unix_nano, origin.written)
        value, detail = _value(point, data)
        yield PointRow(
            uid=origin.uid,
            epoch=origin.epoch,
            offset=origin.offset + number,
            received=origin.received,
            skew=origin.skew,
            at=corrected(time, origin.skew, origin.received),
            time=time,
            start=first_of(point.start_time_unix_nano),
            name=metric.name,
            unit=metric.unit,
            kind=kind,
            delta=delta,
            value=value,
            detail=detail,
            attributes=as_json(point.attributes),
            resource=resource,
            way=origin.way,
        )


def _value(point: Any, data: str) -> tuple[float | None, str]:
    """Return the value of a point, and the JSON of what is not in one number."""
    if point.flags & _NO_VALUE:
        return None, ""
    if data in {"gauge", "sum"}:
        kind = point.WhichOneof("value")
        return _number(getattr(point, kind)) if kind else (None, "")
    value, word = _number(point.sum)
    detail = {"count": point.count, **({"sum": str(point.sum)} if word else {}), **_MORE[data](point)}
    return value, encode(detail)


def _number(value: float) -> tuple[float | None, str]:
    """Return a number; one that is not finite would spoil every sum, and stands in the detail as a word."""
    return (float(value), "") if math.isfinite(value) else (None, encode({"value": value}))


def _histogram(point: Any) -> dict[str, Any]:
    return {"bounds": list(point.explicit_bounds), "buckets": list(point.bucket_counts), **_ends(point)}


def _exponential(point: Any) -> dict[str, Any]:
    return {
        "scale": point.scale,
        "zero": point.zero_count,
        "positive": {"offset": point.positive.offset, "buckets": list(point.positive.bucket_counts)},
        "negative": {"offset": point.negative.offset, "buckets": list(point.negative.bucket_counts)},
        **_ends(point),
    }


def _summary(point: Any) -> dict[str, Any]:
    return {"quantiles": [[held.quantile, held.value] for held in point.quantile_values]}


def _ends(point: Any) -> dict[str, Any]:
    return {key: getattr(point, key) for key in ("min", "max") if point.HasField(key)}


_MORE: Final = {
    "histogram": _histogram,
    "exponential_histogram": _exponential,
    "summary": _summary,
}
