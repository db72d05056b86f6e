"""Bodies as they may be shown: without their secrets."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Final

from popham.model.names import canonical
from popham.model.schema import Place
from popham.model.types.registry import TYPES

HIDDEN: Final = "(secret)"
CHANGED: Final = "(secret, changed)"
_TELLING: Final = 4
"""Characters from which on a secret is looked for by its value; shorter ones stand everywhere."""
Marked = tuple[str, Mapping[str, Any]]
"""The type and the body of a revision."""


def redact(
    kind: str,
    body: Mapping[str, Any],
    against: Mapping[str, Any] | None = None,
    marks: Sequence[Marked] = (),
) -> dict[str, Any]:
    """Return ``body`` with every secret replaced by :data:`HIDDEN`.

    No digest takes the place of a secret: short ones could be guessed from it.

    Args:
        kind: The policy's type; of an unknown one everything is secret.
        body: A body in normal form.
        against: The body it is compared with, if any: a secret that this one does not have is :data:`CHANGED`.
        marks: Other revisions of the policy: what one of them calls secret is secret here as well.
    """
    if kind not in TYPES:
        return dict.fromkeys(body, HIDDEN)
    # By their form, so that many secrets cost no more than their number.
    known: set[bytes] | None = None
    if against is not None:
        known = {canonical(_at(against, place)) for place in _places(kind, against, [*marks, (kind, body)])}
        marks = [*marks, (kind, against)]
    hidden = {
        place: HIDDEN if known is None or canonical(_at(body, place)) in known else CHANGED
        for place in _places(kind, body, marks)
    }
    found: dict[str, Any] = _replace(body, (), hidden)
    return found


def _places(kind: str, body: Mapping[str, Any], marks: Sequence[Marked]) -> Iterator[Place]:
    """Yield where a body holds secrets, its own and those that others make of its values; some twice."""
    ours = TYPES[kind]
    yield from ours.secrets(body)
    values: set[str] = set()
    for other_kind, other in marks:
        if other_kind == kind:
            yield from ours.secrets(ours.marks(body, other))
        values.update(value for value in secret_values(other_kind, other) if isinstance(value, str))
    values = {value for value in values if len(value) >= _TELLING}
    if values:
        yield from _holding(body, values, ())


def _holding(value: Any, values: Container[str], place: Place) -> Iterator[Place]:
    """Yield where one of ``values`` stands, whatever is around it."""
    if isinstance(value, str):
        if value in values:
            yield place
        return
    held = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, below in held:
        yield from _holding(below, values, (*place, key))


def secret_values(kind: str, body: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the secrets of a body, for those who must keep them out of a text."""
    if kind in TYPES:
        yield from (_at(body, place) for place in TYPES[kind].secrets(body))


def has_secret(kind: str, body: Mapping[str, Any]) -> bool:
    """Return whether a body holds a secret; of an unknown type every body does."""
    return kind not in TYPES or next(iter(TYPES[kind].secrets(body)), None) is not None


def _at(body: Any, place: Place) -> Any:
    for key in place:
        body = body[key]
    return body


def _replace(value: Any, place: Place, hidden: Mapping[Place, str]) -> Any:
    if place in hidden:
        return hidden[place]
    if isinstance(value, Mapping):
        return {key: _replace(held, (*place, key), hidden) for key, held in value.items()}
    if isinstance(value, list):
        return [_replace(held, (*place, number), hidden) for number, held in enumerate(value)]
    return value
