"""Definitions on this machine: a file, a folder of them, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from popham.errors import DefinitionError

SUFFIXES = (".yaml", ".yml")
MAX_FILES = 1000
"""Files of one apply."""
MAX_BYTES = 12 * 1024 * 1024
"""Bytes of all files of one apply together; the API takes no more."""
STDIN = "-"


def read_definitions(names: Sequence[str], *, limit: int = MAX_BYTES) -> list[tuple[str, str]]:
    """Return (name, text) of every definition file that ``names`` stand for, in a stable order.

    Args:
        names: Files, folders (all ``.yaml`` and ``.yml`` below, except what is
            hidden or a link to a folder), or ``-``.
        limit: Bytes of all files together.

    Raises:
        DefinitionError: One cannot be read, is no text, or all are too much.
    """
    found: dict[str, str] = {}
    size = 0
    for name in names:
        for path in _paths(name):
            data = _read(path, limit - size)
            size += len(data)
            found[path] = _decode(path, data)
            if len(found) > MAX_FILES:
                raise DefinitionError(
                    "too_many", f"there are more than {MAX_FILES} files", "Apply them in parts"
                )
    return list(found.items())


def _paths(name: str) -> Iterator[str]:
    path = Path(name)
    if name == STDIN or not path.is_dir():
        yield name
        return
    some = False
    for found in _below(path):
        some = True
        yield str(found)
    if not some:
        problem = "the folder has no definitions"
        raise DefinitionError("empty", problem, "Their names end in .yaml or .yml", source=name)


def _below(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise _unreadable(str(folder), error) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _below(entry)
        elif entry.suffix in SUFFIXES:
            yield entry


def _read(name: str, limit: int) -> bytes:
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise _unreadable(name, error) from error
    if len(data) > limit:
        problem = "with this file the definitions are too large"
        raise DefinitionError("too_large", problem, "Apply them in parts", source=name)
    return data


def _decode(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DefinitionError(
            "encoding", "the file is not UTF-8", "Save it as UTF-8", source=name, line=line
        ) from error


def _unreadable(name: str, error: OSError) -> DefinitionError:
    problem = f"it cannot be read: {error.strerror or error}"
    return DefinitionError("file", problem, "Check the name given with -f", source=name)
