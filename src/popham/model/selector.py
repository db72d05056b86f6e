"""Selectors: which agents are meant, by their labels; one syntax in commands, API and definitions.

``env=prod``, ``env!=prod``, ``role in (web,db)``, ``role notin (web,db)``, ``gpu`` (has the label),
``!gpu`` (has it not); several, separated by commas, mean all of them.  A value with a space, comma, bracket,
``=``, ``!`` or quote stands in quotes, ``site="New York"``, and a backslash there before a quote or itself.

Rules:

1. An operator's label wins over the agent's own of the same name.
2. ``!=`` and ``notin`` also hold where there is no such label.

Source: the syntax of Kubernetes' label selectors, which people know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from popham.errors import DefinitionError
from popham.model.names import show

SELECTOR_MAX = 1024
"""Characters of one selector."""
LABELS_MAX = 64
LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")
LABEL_VALUE = re.compile(r"[^\x00-\x1f\x7f]{0,256}")
_KEY_HINT = "Use letters, digits, '.', '_', '/' or '-', at most 63 of them; begin with a letter or digit"
_BARE = r'[^\s,()=!"]'
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\["\\])*"'
_PLAIN = re.compile(rf"{_BARE}{{1,256}}")
_ITEM = re.compile(rf"\s*(?P<value>{_QUOTED}|{_BARE}{{1,256}})\s*(?:,|(?P<last>$))")
_HINT = (
    "Write env=prod, env!=prod, role in (web,db), role notin (web,db), gpu or !gpu, separated by commas, "
    'and quotes around other values: site="New York"'
)
_PART = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<lacks>[^\s,()=!]+)"
    r"|(?P<key>[^\s,()=!]+)\s*(?:(?P<sign>==|=|!=)\s*"
    rf"(?P<value>{_QUOTED}|{_BARE}*)"
    rf"|\s(?P<word>[A-Za-z]+)\s*\((?P<values>(?:[^()\"]|{_QUOTED})*)\))?)\s*(?:,|$)"
)


class Operator(StrEnum):
    """What is asked of one label."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One part of a selector."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether ``labels`` are as required."""
        if self.operator is Operator.EXISTS:
            return self.key in labels
        if self.operator is Operator.ABSENT:
            return self.key not in labels
        return (labels.get(self.key) in self.values) is (self.operator is Operator.IN)


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its parts; without any, everybody."""

    parts: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether an agent with ``labels`` is meant."""
        return all(part.holds(labels) for part in self.parts)

    def __str__(self) -> str:
        """Return it as people write it."""
        return ",".join(map(_show, self.parts))


def parse_selector(text: str) -> Selector:
    """Return the selector that ``text`` writes; an empty one means everybody.

    Raises:
        DefinitionError: ``definition.selector``: it is none.
    """
    if len(text) > SELECTOR_MAX:
        raise DefinitionError("selector", f"a selector has more than {SELECTOR_MAX} characters", _HINT)
    parts: list[Requirement] = []
    at = 0
    while text[at:].strip():
        found = _PART.match(text, at)
        if found is None or found.end() == at:
            raise DefinitionError(
                "selector", f"{show(text[at:].strip())} in a selector is not understood", _HINT
            )
        parts.append(_requirement(found))
        at = found.end()
        if not text[at:].strip() and text.rstrip().endswith(","):
            raise DefinitionError("selector", f"the selector {show(text)} ends with a comma", _HINT)
    return Selector(tuple(parts))


def _requirement(found: re.Match[str]) -> Requirement:
    key = found["lacks"] or found["key"]
    if not LABEL_KEY.fullmatch(key):
        raise DefinitionError("selector", f"{show(key)} cannot be the name of a label", _KEY_HINT)
    if found["absent"]:
        return Requirement(key, Operator.ABSENT)
    if found["sign"]:
        operator = Operator.NOT_IN if found["sign"] == "!=" else Operator.IN
        return Requirement(key, operator, frozenset({_unquote(found["value"])}))
    if found["word"]:
        word = found["word"].lower()
        if word not in {Operator.IN, Operator.NOT_IN}:
            raise DefinitionError("selector", f"a selector has no operator {show(word)}", _HINT)
        return Requirement(key, Operator(word), _read_values(found["values"]))
    return Requirement(key, Operator.EXISTS)


def _read_values(text: str) -> frozenset[str]:
    """Return the values of a list, which stood in brackets."""
    values: set[str] = set()
    at = 0
    while found := _ITEM.match(text, at):
        values.add(_unquote(found["value"]))
        at = found.end()
        if found["last"] is not None:
            return frozenset(values)
    raise DefinitionError("selector", f"{show(text)} in a selector is no list of values", _HINT)


def _unquote(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word


def _quote(value: str) -> str:
    """Return a value as it stands in a selector: in quotes, if it could not be read otherwise."""
    if _PLAIN.fullmatch(value):
        return value
    inner = re.sub(r'(["\\])', r"\\\1", value)
    return f'"{inner}"'


def _show(part: Requirement) -> str:
    if part.operator is Operator.EXISTS:
        return part.key
    if part.operator is Operator.ABSENT:
        return f"!{part.key}"
    if len(part.values) == 1:
        sign = "=" if part.operator is Operator.IN else "!="
        return f"{part.key}{sign}{_quote(next(iter(part.values)))}"
    return f"{part.key} {part.operator} ({','.join(map(_quote, sorted(part.values)))})"


def merge_labels(own: Mapping[str, str], operators: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that hold: the agent's own, and the operators' over them."""
    return {**own, **operators}


def read_label_changes(words: list[str]) -> dict[str, str | None]:
    """Return label → value, or None to take it away, of words such as ``env=prod`` and ``env-``.

    Raises:
        DefinitionError: ``definition.labels``: a word is neither.
    """
    found: dict[str, str | None] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign and word.endswith("-"):
            key = word[:-1]
        if not sign and not word.endswith("-"):
            problem = f"{show(word)} is no label"
            raise DefinitionError("labels", problem, "Write env=prod to set one, env- to take it away")
        found[key] = value if sign else None
    check_label_changes(found)
    return found


def check_label_changes(changes: Mapping[str, str | None]) -> None:
    """Refuse labels that could not be written, or would disturb whoever reads them.

    Raises:
        DefinitionError: ``definition.labels``: a name or a text is wrong.
    """
    for key, value in changes.items():
        if not LABEL_KEY.fullmatch(key):
            raise DefinitionError("labels", f"{show(key)} cannot be the name of a label", _KEY_HINT)
        if value is not None and not LABEL_VALUE.fullmatch(value):
            problem = f"label {key}: {show(value)} cannot be its text"
            raise DefinitionError("labels", problem, "Use one line of at most 256 characters")
