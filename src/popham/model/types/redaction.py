"""Bodies as they may be shown: without their secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from popham.model.names import canonical
from popham.model.schema import Place
from popham.model.types.registry import TYPES

HIDDEN: Final = "(secret)"
CHANGED: Final = "(secret, changed)"


def redact(kind: str, body: Mapping[str, Any], against: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return ``body`` with every secret replaced by :data:`HIDDEN`.

    No digest takes the place of a secret: short ones could be guessed from it.

    Args:
        kind: The policy's type; of an unknown one everything is secret.
        body: A body in normal form.
        against: The body it is compared with, if any: a secret that this one does not have is :data:`CHANGED`.
    """
    if kind not in TYPES:
        return dict.fromkeys(body, HIDDEN)
    # By their form, so that many secrets cost no more than their number.
    known = set(map(canonical, secret_values(kind, against))) if against is not None else None
    hidden = {
        place: HIDDEN if known is None or canonical(_at(body, place)) in known else CHANGED
        for place in TYPES[kind].secrets(body)
    }
    found: dict[str, Any] = _replace(body, (), hidden)
    return found


def secret_values(kind: str, body: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the secrets of a body, for those who must keep them out of a text."""
    if kind in TYPES:
        yield from (_at(body, place) for place in TYPES[kind].secrets(body))


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
