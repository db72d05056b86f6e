"""Directories in force: those that policies want, and those that were made for what lies below.

Pure of effects but for looking: what is to be done goes into the plan.

1. A directory that was there gets the wanted mode and owner, and back what it had when nothing wants it any more.
2. A directory that was made goes when nothing needs it any more, if it is empty.
3. What somebody changed since, or what this machine no longer permits to touch, is left as it is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from popham import posix
from popham.agent.journal import FOLDER_MODE, FolderChange
from popham.agent.permission import Permission
from popham.agent.placed import FolderStatus, PlacedFolder
from popham.agent.types.wanted import WantedPolicy, fits_status
from popham.errors import PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlan:
    """What is to be done about directories, and what will be in force.

    Attributes:
        left: Paths that somebody changed, or that are out of reach by now, so they are left.
    """

    changes: tuple[FolderChange, ...]
    gone: tuple[str, ...]
    in_force: dict[str, PlacedFolder]
    left: tuple[str, ...]


def plan_folders(
    policies: Iterable[WantedPolicy], before: Mapping[str, PlacedFolder], permission: Permission
) -> FolderPlan:
    """Return what is to be done so that the directories of ``policies`` hold, and no others.

    Args:
        policies: All policies, checked.
        before: Path → directory in force until now.
        permission: What this machine permits today.

    Raises:
        OSError: A directory cannot be looked at.
    """
    policies = list(policies)
    found: dict[str, PlacedFolder] = {}
    changes: list[FolderChange] = []
    for policy in policies:
        for folder in policy.folders:
            path = folder.place.path
            placed = FolderStatus(mode=folder.mode, uid=folder.uid, gid=folder.gid)
            former = before[str(path)].former if str(path) in before else _look(path)
            found[str(path)] = PlacedFolder(policy=policy.name, placed=placed, former=former)
            if not folder.fits():
                changes.append(FolderChange(path=path, mode=folder.mode, uid=folder.uid, gid=folder.gid))
    made = PlacedFolder(policy="", placed=FolderStatus(mode=FOLDER_MODE), former=None)
    for place in (place for policy in policies for place in policy.places):
        for parent in (place.folder, *place.folder.parents):
            known = before.get(str(parent))
            if str(parent) in found or not parent.is_relative_to(place.root):
                continue
            if not parent.exists():
                found[str(parent)] = made
            elif known is not None and known.former is None:
                # It was made by a policy, and keeps the mode it has while something lies in it.
                found[str(parent)] = PlacedFolder(policy="", placed=known.placed, former=None)
    back, gone, left = _take_back(found, before, permission)
    return FolderPlan(changes=(*changes, *back), gone=gone, in_force=found, left=left)


def _take_back(
    found: Mapping[str, PlacedFolder], before: Mapping[str, PlacedFolder], permission: Permission
) -> tuple[list[FolderChange], tuple[str, ...], tuple[str, ...]]:
    """Return what gives directories back what they had, which ones go, and which are left."""
    changes: list[FolderChange] = []
    gone: list[str] = []
    left: list[str] = []
    root = posix.may_give_files()
    for path, held in before.items():
        if path in found or not os.path.lexists(path):
            continue
        former = held.former
        if not _is_ours(Path(path), held.placed, permission):
            left.append(path)
        elif former is None:
            gone.append(path)
        elif _look(Path(path)) != former:
            owner = (former.uid, former.gid) if root else (None, None)
            changes.append(FolderChange(path=Path(path), mode=former.mode, uid=owner[0], gid=owner[1]))
    return changes, tuple(sorted(gone, key=lambda path: (-path.count("/"), path))), tuple(left)


def _is_ours(path: Path, placed: FolderStatus, permission: Permission) -> bool:
    """Return whether a directory is as it was placed, and may be touched today."""
    try:
        return permission.find_again(str(path), folder=True).path == path and _as_placed(path, placed)
    except (PolicyError, OSError):
        return False


def _look(path: Path) -> FolderStatus | None:
    """Return mode and owner of a directory, None if there is none."""
    held = _status(path)
    if held is None:
        return None
    return FolderStatus(mode=stat.S_IMODE(held.st_mode), uid=held.st_uid, gid=held.st_gid)


def _as_placed(path: Path, placed: FolderStatus) -> bool:
    held = _status(path)
    return held is not None and fits_status(held, placed.mode, placed.uid, placed.gid)


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a directory, None if there is none."""
    try:
        held = path.stat(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return held if stat.S_ISDIR(held.st_mode) else None
