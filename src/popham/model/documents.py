"""YAML text, read with line numbers and bounds.

Text becomes plain dictionaries, lists and scalars; nothing in it can name a
class, and nothing is constructed that JSON could not hold.  The library only
splits the text into events; the tree is built here, so that each bound is
checked before the memory is used.

Rules:

1. A mapping remembers the line of each of its keys (:func:`line_of`).
2. Words mean what YAML 1.2's core schema says, with one exception: a number
   with a leading zero stays text, so that ``mode: 0644`` is what was written.
3. Duplicate keys, tags, merge keys and keys that are not text are refused.
4. What aliases repeat counts as often as it is repeated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from popham.errors import DefinitionError
from popham.model.lines import LinedDict, line_of
from popham.model.names import show

MAX_FILE = 6 * 1024 * 1024
"""Characters of one file: the largest policy body (4 MiB) and room for its indentation."""
MAX_TEXT = 12 * 1024 * 1024
"""Characters of all files of one set."""
MAX_DOCUMENTS = 1000
"""Documents of one set."""
MAX_DEPTH = 40
"""Levels of nesting."""
MAX_VALUES = 50_000
"""Scalars, lists and mappings of one set, aliases counted as often as they stand."""
MAX_ALIASES = 100
"""Aliases of one document."""
MAX_KEY = 1024
"""Characters of one key."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_ZEROS = re.compile(r"[-+]?0[0-9]+")
_BASES = {"0o": 8, "0x": 16}
_STR_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of definitions: its name, for messages only, and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: the file it stood in, its first line, and its data."""

    source: str
    line: int
    data: Any


@dataclass(slots=True)
class _Budget:
    """What is left of the bounds of one set."""

    values: int = MAX_VALUES
    documents: int = MAX_DOCUMENTS


@dataclass(slots=True)
class _Frame:
    """A list or mapping under construction. ``weight`` counts its values, itself included."""

    held: list[Any] | LinedDict
    anchor: str | None
    key: str | None = None
    weight: int = 1


@dataclass(slots=True)
class _Builder:
    """The tree of one document."""

    source: str
    budget: _Budget
    frames: list[_Frame] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    aliases: int = 0
    root: Any = None
    line: int = 1

    def open(self, held: list[Any] | LinedDict, anchor: str | None, line: int) -> None:
        """Begin a list or mapping."""
        if len(self.frames) >= MAX_DEPTH:
            raise _refuse("depth", f"nested deeper than {MAX_DEPTH} levels", "", self.source, line)
        self._spend(1, line)
        self._refuse_key(held, line)
        self.frames.append(_Frame(held, anchor))

    def close(self, line: int) -> None:
        """End the innermost list or mapping."""
        frame = self.frames.pop()
        if frame.anchor:
            self.anchors[frame.anchor] = (frame.held, frame.weight)
        self._put(frame.held, frame.weight, line)

    def scalar(self, value: Any, anchor: str | None, line: int) -> None:
        """Add a scalar."""
        self._spend(1, line)
        if anchor:
            self.anchors[anchor] = (value, 1)
        self._put(value, 1, line)

    def alias(self, name: str, line: int) -> None:
        """Add once more what the anchor ``name`` stands for."""
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise _refuse("alias", f"more than {MAX_ALIASES} aliases in one document", "", self.source, line)
        if name not in self.anchors:
            hint = "Name an anchor that stands before it, and does not contain it"
            raise _refuse("alias", f"there is no anchor {show(name)} here", hint, self.source, line)
        held, weight = self.anchors[name]
        self._spend(weight, line)
        self._refuse_key(held, line)
        self._put(held, weight, line)

    def _spend(self, weight: int, line: int) -> None:
        self.budget.values -= weight
        if self.budget.values < 0:
            problem = f"the definitions have more than {MAX_VALUES} values"
            raise _refuse("size", problem, "Apply them in smaller sets", self.source, line)

    def _refuse_key(self, held: Any, line: int) -> None:
        """Refuse a list or mapping where a key must stand."""
        frame = self.frames[-1] if self.frames else None
        waits_for_key = frame and isinstance(frame.held, LinedDict) and frame.key is None
        if waits_for_key and isinstance(held, (list, dict)):
            raise _refuse("key", "a key is a list or a mapping", "Keys are text", self.source, line)

    def _put(self, value: Any, weight: int, line: int) -> None:
        if not self.frames:
            self.root = value
            self.line = line_of(value) or line
            return
        frame = self.frames[-1]
        frame.weight += weight
        if isinstance(frame.held, list):
            frame.held.append(value)
        elif frame.key is None:
            frame.key = self._key(frame.held, value, line)
        else:
            frame.held[frame.key] = value
            frame.key = None

    def _key(self, held: LinedDict, value: Any, line: int) -> str:
        if not isinstance(value, str):
            raise _refuse(
                "key", f"the key {show(value)} is not text", "Write it in quotes", self.source, line
            )
        if len(value) > MAX_KEY:
            raise _refuse("key", f"a key is longer than {MAX_KEY} characters", "", self.source, line)
        if value == "<<":
            hint = "Write the keys out, or use an alias for a whole value"
            raise _refuse("key", "merge keys ('<<') are not read", hint, self.source, line)
        if value in held.lines:
            problem = f"the key {show(value)} stands twice, first on line {held.lines[value]}"
            raise _refuse("duplicate_key", problem, "Keep one of them", self.source, line)
        held.lines[value] = line
        return value


def read_documents(files: Sequence[SourceFile]) -> list[Document]:
    """Return all documents of all ``files``, in their order; empty documents are left out.

    Raises:
        DefinitionError: A file is no YAML, breaks one of the rules above, or
            the set is too large.
    """
    if sum(len(file.text) for file in files) > MAX_TEXT:
        problem = f"the definitions are larger than {MAX_TEXT // 2**20} MiB"
        raise DefinitionError("size", problem, "Apply them in smaller sets")
    budget = _Budget()
    return [document for file in files for document in _read(file, budget)]


def _read(file: SourceFile, budget: _Budget) -> list[Document]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    if len(file.text) > MAX_FILE:
        problem = f"the file is larger than {MAX_FILE // 2**20} MiB"
        raise _refuse("size", problem, "Split it", file.name, 1)
    try:
        return _build(file.name, YAML(typ="safe", pure=True).parse(file.text), budget)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise _refuse("yaml", f"this is no YAML: {said}", "", file.name, line) from error
    except ReaderError as error:
        line = file.text.count("\n", 0, error.position) + 1
        problem = (
            f"the character {show(file.text[error.position : error.position + 1])} may not stand in YAML"
        )
        raise _refuse("yaml", problem, "Save the file as UTF-8 text", file.name, line) from error


def _build(source: str, events: Iterable[Any], budget: _Budget) -> list[Document]:
    found: list[Document] = []
    builder = _Builder(source, budget)
    for event in events:
        line = event.start_mark.line + 1
        match type(event).__name__:
            case "DocumentStartEvent":
                builder = _Builder(source, budget)
            case "DocumentEndEvent":
                if builder.root is not None:
                    budget.documents -= 1
                    if budget.documents < 0:
                        problem = f"more than {MAX_DOCUMENTS} documents"
                        raise _refuse("size", problem, "Apply them in smaller sets", source, line)
                    found.append(Document(source, builder.line, builder.root))
            case "MappingStartEvent" | "SequenceStartEvent" as kind:
                _refuse_tag(event, source, line)
                held: list[Any] | LinedDict = LinedDict(line) if kind == "MappingStartEvent" else []
                builder.open(held, event.anchor, line)
            case "MappingEndEvent" | "SequenceEndEvent":
                builder.close(line)
            case "AliasEvent":
                builder.alias(event.anchor, line)
            case "ScalarEvent":
                builder.scalar(_scalar(event, source, line), event.anchor, line)
    return found


def _refuse_tag(event: Any, source: str, line: int) -> None:
    if event.tag not in {None, "!"}:
        raise _refuse("tag", f"the tag {show(event.tag)} is not read", "Leave it out", source, line)


def _scalar(event: Any, source: str, line: int) -> Any:
    text: str = event.value
    if event.tag != _STR_TAG:
        _refuse_tag(event, source, line)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = "the text holds half of a surrogate pair"
        raise _refuse("yaml", problem, "Write the character itself", source, line) from error
    plain = event.implicit[0] and event.tag is None
    return _plain(text, source, line) if plain else text


def _plain(text: str, source: str, line: int) -> Any:
    """Return what unquoted ``text`` means."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if len(text) > 64 or _ZEROS.fullmatch(text):
        return text
    if _INTEGER.fullmatch(text):
        number = int(text[2:], _BASES[text[:2]]) if text[:2] in _BASES else int(text)
        if -(2**63) <= number < 2**64:
            return number
    elif _FLOAT.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
    elif not _SPECIAL.fullmatch(text):
        return text
    raise _refuse(
        "number", f"the number {text} cannot be kept", "Write it in quotes if it is text", source, line
    )


def _refuse(reason: str, problem: str, hint: str, source: str, line: int) -> DefinitionError:
    return DefinitionError(reason, problem, hint, source=source, line=line)
