"""Text with places that each machine fills for itself: ``{{ facts.host_name }}``, ``{{ labels.env }}``.

No expressions, no conditions, no loops: what can be written here can neither
run nor read anything.

1. A place is ``facts.`` or ``labels.`` and a name; ``{{ "{{" }}`` stands for two braces.
2. Any other ``{{`` is refused when the template is read, not when it is filled.
3. A name that a machine does not have, and a value that is not one line of text, fill nothing: the whole fails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SOURCES: Final = ("facts", "labels")
MAX_RENDERED: Final = 16 * 1024 * 1024
"""Bytes of one filled template."""
_OPEN: Final = "{{"
_PLACE: Final = re.compile(
    r'\{\{[ \t]*(?:(?P<source>facts|labels)\.(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]{0,254})|"\{\{")[ \t]*\}\}'
)


@dataclass(frozen=True, slots=True)
class Name:
    """A place to fill: ``facts`` or ``labels``, and a name there."""

    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it was read: text, and places between it."""

    parts: tuple[str | Name, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        Raises:
            ValueError: A ``{{`` begins nothing that is known; the sentence names its line.
        """
        parts: list[str | Name] = []
        begin = 0
        while (at := text.find(_OPEN, begin)) >= 0:
            found = _PLACE.match(text, at)
            if found is None:
                line = text.count("\n", 0, at) + 1
                begun = text[at : at + 40].split("\n", 1)[0]
                raise ValueError(f"line {line} of the template: {begun!r} is no place to fill")
            if at > begin:
                parts.append(text[begin:at])
            parts.append(Name(found["source"], found["name"]) if found["source"] else _OPEN)
            begin = found.end()
        if begin < len(text):
            parts.append(text[begin:])
        return cls(tuple(parts))

    @property
    def names(self) -> frozenset[Name]:
        """The places that are filled."""
        return frozenset(part for part in self.parts if isinstance(part, Name))

    def render(self, values: Mapping[str, Mapping[str, str]]) -> str:
        """Return the text with every place filled.

        Args:
            values: ``facts`` and ``labels`` → name → value.

        Raises:
            LookupError: A name is not known; the sentence names it and the known ones.
            ValueError: A value is not one line of text, or the whole is too large.
        """
        filled: list[str] = []
        size = 0
        for part in self.parts:
            text = part if isinstance(part, str) else _find(part, values)
            size += len(text) if text.isascii() else len(text.encode())
            if size > MAX_RENDERED:
                raise ValueError(f"it has more than {MAX_RENDERED} bytes once it is filled")
            filled.append(text)
        return "".join(filled)


def name_facts(facts: Mapping[str, str]) -> dict[str, str]:
    """Return facts by the names they have in templates: ``host.name`` is ``host_name``."""
    return {name.replace(".", "_"): value for name, value in facts.items()}


def _find(place: Name, values: Mapping[str, Mapping[str, str]]) -> str:
    known = values.get(place.source, {})
    if place.name not in known:
        names = ", ".join(sorted(known)[:50]) or "none"
        what = place.source.removesuffix("s")
        raise LookupError(f"this machine has no {what} {place.name!r}; it has: {names}")
    value = known[place.name]
    if not value.isprintable():
        raise ValueError(f"{place.source}.{place.name} is not one line of printable text on this machine")
    return value
