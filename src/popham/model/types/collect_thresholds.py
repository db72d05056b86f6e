"""The ``thresholds`` of a policy of type ``collect``: from which values on something is a warning or an error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from popham.errors import DefinitionError
from popham.model.names import NAME, show
from popham.model.schedule import PERIODS_MAX, read_time
from popham.model.schema import Place

SAMPLES_MAX: Final = 16
"""Samples that one threshold may look back at."""
_NUMBER: Final = {"type": "number", "minimum": -1e18, "maximum": 1e18}


def _bound(said: str) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "above": _NUMBER | {"description": "a value that is greater"},
            "below": _NUMBER | {"description": "a value that is less"},
        },
        "description": f"what is {said}: exactly one of the two",
    }


THRESHOLD: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "item"],
    "properties": {
        "name": {
            "type": "string",
            "pattern": f"^{NAME.pattern}$",
            "description": "what its alerts are known by",
        },
        "item": {
            "type": "string",
            "pattern": r"^[A-Za-z][A-Za-z0-9_.-]{0,254}$",
            "description": "a metric that is looked at here, such as `system.filesystem.utilization`",
        },
        "resource": {
            "type": "string",
            "pattern": r"^[^\x00-\x1f\x7f]{1,255}$",
            "default": "*",
            "description": "which of them, with `*` and `?`, by the value of an attribute: `/var*`. What is not "
            "in use (`free`, `idle`, …) is watched only where the last word says so: `/var* free`",
        },
        "when": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["from", "to"],
                "properties": {
                    "from": {"type": "string", "description": "`08:00`"},
                    "to": {"type": "string", "description": "`18:00`; the next day if it is not later"},
                    "days": {"type": "string", "default": "mon-sun", "description": "`mon-fri`, `sat,sun`"},
                },
            },
            "description": "times of day, the machine's own, at which it holds; always if it is left out",
        },
        "warning": _bound("a warning"),
        "error": _bound("an error"),
        "hysteresis": _NUMBER
        | {
            "minimum": 0,
            "default": 0,
            "description": "how far a value must come back beyond a bound for it to be over",
        },
        "samples": {
            "type": "string",
            "pattern": r"^[0-9]{1,2} of [0-9]{1,2}$",
            "default": "1 of 1",
            "description": f"how many of the newest samples, up to {SAMPLES_MAX}, must be so: `2 of 3`",
        },
        "text": {"type": "string", "maxLength": 1024, "description": "what people are told beside it"},
    },
}
"""Schema of one threshold."""


def read_samples(text: str) -> tuple[int, int]:
    """Return how many of how many samples ``2 of 3`` says.

    Raises:
        ValueError: Not between 1 and :data:`SAMPLES_MAX`, or more than all.
    """
    needed, of = map(int, text.split(" of "))
    if not 1 <= needed <= of <= SAMPLES_MAX:
        raise ValueError(f"{show(text)} is not between '1 of 1' and '{SAMPLES_MAX} of {SAMPLES_MAX}'")
    return needed, of


def find_threshold_faults(threshold: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    """Yield what of a threshold its schema cannot say: place, what is wrong, what to do."""
    bounds = {level: threshold[level] for level in ("warning", "error") if level in threshold}
    for level, bound in bounds.items():
        if len(bound) != 1:
            yield (level,), f"names {' and '.join(bound) or 'nothing'}", "Write {above: 0.9} or {below: 0.1}"
            return
        if not math.isfinite(next(iter(bound.values()))):
            yield (level,), "is no number", "Write {above: 0.9} or {below: 0.1}"
    if not bounds:
        yield (), "has neither 'warning' nor 'error'", "Write 'error: {above: 0.9}'"
    elif len(bounds) == 2:
        yield from _order_faults(bounds["warning"], bounds["error"])
    try:
        read_samples(threshold.get("samples", "1 of 1"))
    except ValueError as error:
        yield ("samples",), str(error), "Write '2 of 3'"
    periods = threshold.get("when", [])
    if len(periods) > PERIODS_MAX:
        yield ("when",), f"has more than {PERIODS_MAX} periods", "Put some together"
    for number, period in enumerate(periods):
        try:
            read_time(period)
        except DefinitionError as error:
            yield ("when", number), error.problem, error.hint


def _order_faults(
    warning: Mapping[str, float], error: Mapping[str, float]
) -> Iterator[tuple[Place, str, str]]:
    if warning.keys() != error.keys():
        yield ("error",), "goes another way than 'warning'", "Write 'above' in both, or 'below' in both"
    elif (error["above"] < warning["above"]) if "above" in error else (error["below"] > warning["below"]):
        yield ("error",), "comes before 'warning'", "Write the bound that is reached first under 'warning'"
