"""What differs between two states of an object, as text for people: without secrets, and bounded.

Secrets are found by the words that keep them out of logs (:mod:`popham.log`) and by the types of policies.
A secret that changed is a line that changed, though neither value is shown.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from popham.log import HIDDEN, redact
from popham.model.types.redaction import redact as redact_body
from popham.model.yaml_text import write_yaml

LINES_MAX = 2000
"""Lines of one difference; the rest is counted."""
_COMPARED_MAX = 20_000
"""Lines of one text that are compared; comparing takes long where nothing is alike."""
_MARK = re.compile(re.escape(HIDDEN) + "⟦[0-9]+⟧")
_HEAD = ("type", "private_to", "tests")
Object = Mapping[str, Any]
"""A definition as plain data: apiVersion, kind, metadata, spec."""


def find_difference(
    old: Object | None,
    new: Object | None,
    *,
    before: str = "before",
    after: str = "after",
    marks: Sequence[Object] = (),
) -> str:
    """Return a unified diff of two definitions as YAML, secrets hidden; empty if they are the same.

    What one of the two calls secret is hidden in both.

    Args:
        old: None if the object was not there.
        new: None if it is gone.
        before: What to call the old one.
        after: What to call the new one.
        marks: Other revisions, whose secrets are hidden as well.
    """
    if old == new:
        return ""
    seen: dict[str, int] = {}
    known = [held["spec"] for held in (old, new, *marks) if held is not None and held["kind"] == "Policy"]
    first = _lines(_hide_body(old, None, known), seen)
    second = _lines(_hide_body(new, old, known), seen)
    lines = [_MARK.sub(HIDDEN, line) for line in _compare(first, second, before, after)]
    if len(lines) > LINES_MAX:
        lines[LINES_MAX:] = [f"… ({len(lines) - LINES_MAX} more lines)"]
    return "".join(f"{line}\n" for line in lines)


def redact_spec(spec: Object, against: Object | None = None, marks: Iterable[Object] = ()) -> dict[str, Any]:
    """Return the ``spec`` of a policy without what its type calls secret.

    Args:
        spec: With its type.
        against: The spec it is compared with; a secret that this one does not have is called changed.
        marks: Specs of other revisions: what one of them calls secret is secret here as well.
    """
    others = [(held["type"], _body(held)) for held in marks]
    return {**spec, **redact_body(spec["type"], _body(spec), against, others)}


def _body(spec: Object) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in _HEAD}


def _compare(old: list[str], new: list[str], before: str, after: str) -> Iterator[str]:
    if max(len(old), len(new)) <= _COMPARED_MAX:
        return difflib.unified_diff(old, new, before, after, lineterm="")
    return iter(
        [f"--- {before}", f"+++ {after}", *(f"-{line}" for line in old), *(f"+{line}" for line in new)]
    )


def _hide_body(held: Object | None, before: Object | None, marks: Sequence[Object]) -> Object | None:
    """Return a policy without what a revision calls secret, and what is new of that; any other object as it is."""
    if held is None or held["kind"] != "Policy":
        return held
    was = (before or {}).get("spec")
    # Of another type is what was made anew after a deletion: nothing in it is at the same place.
    against = was if was is not None and was["type"] == held["spec"]["type"] else None
    return {**held, "spec": redact_spec(held["spec"], against, marks)}


def _lines(held: Object | None, seen: dict[str, int]) -> list[str]:
    """Return the lines of an object; each hidden value has a number, the same for the same value."""
    return [] if held is None else write_yaml(_number(held, redact(held), seen)).splitlines()


def _number(held: Any, hidden: Any, seen: dict[str, int]) -> Any:
    if isinstance(hidden, Mapping):
        return {key: _number(held[key], value, seen) for key, value in hidden.items()}
    if isinstance(hidden, list):
        return [_number(first, second, seen) for first, second in zip(held, hidden, strict=True)]
    if hidden == held or not isinstance(hidden, str):
        return hidden
    shown, real = hidden.split("\n"), str(held).split("\n")
    # Where lines are gone with the secret, the whole text stands for each of them.
    whole = [str(held)] * len(shown)
    return "\n".join(_marked(zip(shown, real if len(real) == len(shown) else whole, strict=True), seen))


def _marked(lines: Iterable[tuple[str, str]], seen: dict[str, int]) -> Iterator[str]:
    for shown, real in lines:
        yield shown.replace(HIDDEN, f"{HIDDEN}⟦{seen.setdefault(real, len(seen))}⟧")
