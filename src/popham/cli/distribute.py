"""``Distribute.ini`` on this machine: found below a folder of SQC, read, and what came of it in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from popham.cli.columns import count
from popham.cli.text import clean
from popham.errors import DefinitionError
from popham.model.agentlist import decode
from popham.model.distribute_ini import BESIDE_MAX, SIZE_MAX

FILE = "distribute.ini"
GROUPS = "group"
STDIN = "-"


def read_folders(names: Sequence[str], group: str) -> list[dict[str, Any]]:
    """Return what the API is told of each ``Distribute.ini`` that ``names`` stand for.

    Args:
        names: Such files, their folders, a folder of these, ``Policy_ROOT``, or ``-``.
        group: The policy distribution group, if it is not the name of the folder; of one file only.

    Raises:
        DefinitionError: One cannot be read, they are too much, or a group is missing.
    """
    paths = [path for name in names for path in _find(name)]
    if group and len(paths) > 1:
        hint = "Leave it out: each group has the name of its folder"
        raise DefinitionError(
            "distribute", f"--group names the group of one file, and there are {len(paths)}", hint
        )
    found, size = [], 0
    for path in paths:
        data = _read(path, SIZE_MAX - size)
        size += len(data)
        folder = group or ("" if path == STDIN else Path(path).resolve().parent.name)
        if not folder:
            raise DefinitionError(
                "distribute", "the file has no folder that names a group", "Name it: --group web", source=path
            )
        found.append({"folder": folder, "name": path, "text": decode(data), "beside": _beside(path)})
    return found


def tell(done: dict[str, Any]) -> Iterator[str]:
    """Yield what became of the files: changes, moves, and each group."""
    for change in done["changes"]:
        yield f"{change['kind'].lower()} {change['name']} {change['action']}"
    for move in done["moves"]:
        yield f"agent {move['agent']}: {move['before']} -> {move['after']}"
    for group in done["groups"]:
        name = f" (folder {clean(group['folder'])})" if group["folder"] != group["group"] else ""
        parts = [f"{group[key]} {word}" for key, word in _WORDS if group[key]]
        yield f"group {group['group']}{name}: {', '.join(parts) or 'no hosts'}"


def tell_problems(done: dict[str, Any]) -> Iterator[str]:
    """Yield what has no counterpart, and what is wrong."""
    for left in done["left"]:
        where = f"{left['source']}:{left['line']}" if left["line"] else left["source"]
        yield clean(f"{where}: {left['text']}: {left['why']}. {left['instead']}")
    if done["left_count"]:
        yield f"{count(done['left_count'], 'thing')} without a counterpart"
    yield from map(clean, done["findings"])
    if done["wrong"]:
        yield f"{done['wrong']} wrong; the others work"


_WORDS = (("moved", "moved"), ("here", "there already"), ("awaited", "awaited"))


def _find(name: str) -> list[str]:
    """Return the files that ``name`` stands for."""
    try:
        return list(_paths(name))
    except OSError as error:
        raise _unreadable(name, error) from error


def _paths(name: str) -> Iterator[str]:
    """Yield the files that ``name`` stands for. Raises OSError."""
    path = Path(name)
    if name == STDIN or not path.is_dir():
        yield name
        return
    inside = _entries(path)
    if FILE in inside:
        yield str(inside[FILE])
        return
    folders = _entries(inside[GROUPS]) if GROUPS in inside else inside
    some = False
    for folder in folders.values():
        if folder.is_dir() and FILE in (held := _entries(folder)):
            some = True
            yield str(held[FILE])
    if not some:
        problem = "there is no Distribute.ini in the folder, and in none of its folders"
        raise DefinitionError(
            "file", problem, "Name Policy_ROOT, its folder GROUP, or one group", source=name
        )


def _entries(folder: Path) -> dict[str, Path]:
    """Return name in lower case, as Windows compares them, → entry of a folder, sorted. Raises OSError."""
    return dict(sorted((path.name.lower(), path) for path in folder.iterdir()))


def _beside(path: str) -> list[str]:
    """Return the names of the other files in the folder of a file that lies in one."""
    if path == STDIN:
        return []
    try:
        others = [one for name, one in _entries(Path(path).resolve().parent).items() if name != FILE]
        files = [one.name[:256] for one in others if one.is_file() and one != Path(path).resolve()]
    except OSError as error:
        raise _unreadable(path, error) from error
    return files[:BESIDE_MAX]


def _read(path: str, limit: int) -> bytes:
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(path).open("rb") as stream:
                data = stream.read(limit + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > limit:
        problem = f"the files are larger than {SIZE_MAX // 2**20} MiB"
        raise DefinitionError("size", problem, "Import them in parts", source=path)
    return data


def _unreadable(path: str, error: OSError) -> DefinitionError:
    problem = f"it cannot be read: {error.strerror or error}"
    return DefinitionError("file", problem, "Name a Distribute.ini, or the folder of the groups", source=path)
