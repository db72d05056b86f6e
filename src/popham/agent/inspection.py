"""Whether what was placed on this machine is still as it was placed.

Looks and compares by the applier's own record; writes nothing.

1. A content is read only where its file's signature is another than when it last was as placed, unless
   the whole is looked at.
2. A file that may be changed on the machine only has to be there.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from popham import posix
from popham.agent.placed import MAX_FORMER, Placed, PlacedFile, PlacedFolder, PlacedRecord
from popham.agent.types.wanted import fits_status
from popham.model.names import digest

_SETTLED: Final = 2.0
"""Seconds after which a change of a file shows in its times: file systems count in ticks."""
_OTHER: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EINVAL})
"""What opening a path says where something else stands there; whatever else it says is no drift."""
_Signature = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look found.

    Attributes:
        change: The placement that brought what was looked at.
        differing: Paths that are not as they were placed, sorted.
        places: Directory → names in it that are looked at.
    """

    change: str = ""
    differing: tuple[str, ...] = ()
    places: Mapping[Path, frozenset[str]] = field(default_factory=dict)


class Inspection:
    """Looks at what a record says, again and again.

    Args:
        record: What was placed.
        now: Returns the time that files are stamped with, in unix seconds.
    """

    def __init__(self, record: PlacedRecord, now: Callable[[], float] = time.time) -> None:
        self._record = record
        self._now = now
        self._known: dict[str, tuple[PlacedFile, _Signature]] = {}

    def look(self, *, whole: bool) -> Seen:
        """Look at everything.

        Args:
            whole: Read every content, whatever the signatures say.

        Raises:
            StateError: The record is damaged.
            OSError: Something cannot be looked at.
        """
        placed = self._record.load()
        known, self._known = {} if whole else self._known, {}
        differing: list[str] = []
        places = _places(placed)
        for folder, names in places.items():
            try:
                with posix.Folder.open(folder) as opened:
                    differing += [
                        str(folder / name) for name in names if not self._fits(opened, name, placed, known)
                    ]
            except OSError as error:
                if error.errno not in _OTHER:
                    raise
                differing += [str(folder / name) for name in names]
        return Seen(change=placed.change, differing=tuple(sorted(differing)), places=places)

    def _fits(
        self,
        folder: posix.Folder,
        name: str,
        placed: Placed,
        known: Mapping[str, tuple[PlacedFile, _Signature]],
    ) -> bool:
        path, held = str(folder.path / name), folder.status(name)
        file = placed.files.get(path)
        if held is None or file is None:
            return held is not None and _folder_fits(held, placed.folders[path])
        if not file.locked:
            return True
        if not _status_fits(held, file):
            return False
        signature = (held.st_dev, held.st_ino, held.st_size, held.st_mtime_ns, held.st_ctime_ns)
        if known.get(path) != (file, signature) and not _content_fits(folder, name, file):
            return False
        if abs(self._now() - held.st_ctime) > _SETTLED:
            self._known[path] = file, signature
        return True


def _places(placed: Placed) -> dict[Path, frozenset[str]]:
    """Return the directories with something of a policy in them, and its names there."""
    found: dict[Path, set[str]] = {}
    wanted = [path for path, folder in placed.folders.items() if folder.policy]
    for path in map(Path, (*placed.files, *wanted)):
        found.setdefault(path.parent, set()).add(path.name)
    return {folder: frozenset(names) for folder, names in sorted(found.items())}


def _folder_fits(held: os.stat_result, folder: PlacedFolder) -> bool:
    wanted = folder.placed
    return stat.S_ISDIR(held.st_mode) and fits_status(held, wanted.mode, wanted.uid, wanted.gid)


def _status_fits(held: os.stat_result, file: PlacedFile) -> bool:
    if not stat.S_ISREG(held.st_mode) or file.length not in {None, held.st_size}:
        return False
    return file.mode is None or fits_status(held, file.mode, file.uid, file.gid)


def _content_fits(folder: posix.Folder, name: str, file: PlacedFile) -> bool:
    limit = MAX_FORMER if file.length is None else file.length
    try:
        return digest(folder.read(name, limit + 1)) == file.sha256
    except OSError as error:
        if error.errno not in _OTHER:
            raise
        return False
