"""Which files globs mean: found by a walk that looks at a bounded number of names."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from popham.agent.collect.tail.source import Source

LOOKED: Final = 20_000
"""Names that one search looks at, at most."""
FILES: Final = 512
"""Files that are followed at once, at most: each has a descriptor, and a process has 1,024 of them."""
FOLDERS: Final = 64
"""Directories that are looked at between searches, at most."""
DEEP: Final = 64
"""Directories below each other that a search goes into, at most."""
PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4")
"""Endings of files that rotation has packed: their lines were read before."""
Key = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        files: Path and source of each file; of one with several names, the first.
        over: How many were left aside, or 1 if names were: there were too many.
        folders: When the directories changed in which was looked; nothing is new as long as none does.
    """

    files: dict[Key, tuple[str, Source]]
    over: int
    folders: dict[str, int]


class _Budget:
    """Counts names down, and notes where was looked."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.folders: dict[str, int] = {}

    def note(self, folder: str) -> None:
        """Note that a change of this directory matters."""
        if folder not in self.folders and len(self.folders) < FOLDERS:
            self.folders[folder] = changed_at(folder)

    def names(self, folder: str) -> list[os.DirEntry[str]]:
        """Return what is in a directory, in order; nothing where that cannot be said."""
        self.note(folder)
        entries = []
        try:
            with os.scandir(folder or "/") as found:
                for entry in found:
                    if self.left <= 0:
                        break
                    self.left -= 1
                    entries.append(entry)
        except OSError:
            return []
        return sorted(entries, key=lambda entry: entry.name)


def find_files(sources: Sequence[Source], *, most: int = FILES, looked: int = LOOKED) -> Found:
    """Return the regular files that ``sources`` mean; a file that two mean is the first one's."""
    files: dict[Key, tuple[str, Source]] = {}
    budget, aside = _Budget(looked), set[Key]()
    for source in sources:
        excluded = [_parts(glob) for glob in source.exclude]
        for path in (path for glob in source.paths for path in _expand("", _parts(glob), budget)):
            if path.endswith(PACKED) or any(_fits(_parts(path), glob) for glob in excluded):
                continue
            key = _key_of(path)
            if key is None or key in files:
                continue
            if len(files) < most:
                files[key] = path, source
            else:
                aside.add(key)
    return Found(files, len(aside) or int(budget.left <= 0), budget.folders)


def changed_at(folder: str) -> int:
    """Return when names in a directory changed, in nanoseconds; 0 if there is none."""
    try:
        return os.stat(folder or "/").st_mtime_ns  # noqa: PTH116  # a Path for each look costs more than the look
    except OSError:
        return 0


def find_moved(folder: str, inodes: frozenset[int], *, looked: int = LOOKED) -> Iterator[tuple[Key, str]]:
    """Yield the files of a directory that have one of these inodes: what rotation has given another name."""
    for entry in _Budget(looked).names(folder):
        if entry.inode() in inodes and (key := _key_of(entry.path)) is not None:
            yield key, entry.path


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[1:])


def _key_of(path: str) -> Key | None:
    """Return what a path leads to; None unless that is a regular file."""
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path for each of thousands of names costs more than the look
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _expand(folder: str, parts: Sequence[str], budget: _Budget) -> Iterator[str]:
    """Yield the paths under ``folder`` that a glob means; what is literal is not looked for."""
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _expand(folder, rest, budget)
        for entry in budget.names(folder):
            # Links to directories may lead anywhere, and around.
            if entry.name.startswith(".") or entry.path.count("/") > DEEP:
                continue
            if _is_folder(entry, follow=False):
                yield from _expand(entry.path, parts, budget)
    elif not any(sign in part for sign in "*?["):
        budget.note(folder)
        yield from _expand(f"{folder}/{part}", rest, budget)
    else:
        for entry in budget.names(folder):
            if _same(entry.name, part) and (not rest or _is_folder(entry, follow=True)):
                yield from _expand(entry.path, rest, budget)


def _is_folder(entry: os.DirEntry[str], *, follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False  # a link to itself, or one that leads where nobody may look


def _fits(parts: Sequence[str], glob: Sequence[str]) -> bool:
    places = {0}  # of parts, up to which the glob may have come
    for sign in glob:
        if sign == "**":
            places = set(range(min(places), len(parts) + 1))
        else:
            places = {at + 1 for at in places if at < len(parts) and _same(parts[at], sign)}
        if not places:
            return False
    return len(parts) in places


def _same(name: str, part: str) -> bool:
    """Return whether a name fits a part; one that begins with a dot is hidden from signs."""
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
