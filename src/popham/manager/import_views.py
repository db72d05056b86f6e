"""What people are shown of an import of Distribute.ini.

As in :mod:`popham.manager.views`, names of fields are the names in JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

from popham.manager.apply_views import Change
from popham.model.distribute_ini import Leftover


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedGroup:
    """A group that was made of a folder, and how many of its hosts are where.

    Attributes:
        group: Its name here.
        folder: Name of the folder.
        source: Name of its file.
        moved: Agents that were moved into it.
        here: Agents that were in it already.
        awaited: Hosts that are no agents yet; a rule of placement puts them there when they join.
    """

    group: str
    folder: str
    source: str
    moved: int
    here: int
    awaited: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveView:
    """An agent that was moved, and from which group into which."""

    uid: str
    agent: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionView:
    """What became of the files.

    Attributes:
        changes: Groups and rules of placement that were made, changed or deleted.
        moves: Agents that were moved; the first ones.
        findings: What is wrong, in sentences with file and line; the first ones.
        wrong: How much is wrong.
        left: What has no counterpart; the first ones.
        left_count: How much has none.
    """

    dry_run: bool
    groups: tuple[ImportedGroup, ...]
    changes: tuple[Change, ...]
    moves: tuple[MoveView, ...]
    findings: tuple[str, ...]
    wrong: int
    left: tuple[Leftover, ...]
    left_count: int
