"""What people are shown of drafts; plain data, times in unix seconds."""

from __future__ import annotations

from dataclasses import dataclass

from popham.manager.apply_views import ApplyResult


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftDocument:
    """One document of a draft.

    Attributes:
        document: What it defines, such as ``policy/motd``.
        author: Who saved it last.
        at: When.
        edition: The edition of the draft that brought it.
        moved: Whether the object has changed since the document first came into the draft.
        text: YAML, of one draft only; empty in lists.
    """

    document: str
    author: str
    at: float
    edition: int
    moved: bool
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftChange:
    """What a call did to one document; ``action`` is added, replaced, unchanged or removed."""

    document: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftView:
    """One draft.

    Attributes:
        author: Who changed it last.
        at: When.
        edition: Names what it has now; no other draft ever has the same.
        message: What it is for.
        changes: What the call did, if it changed something.
    """

    name: str
    author: str
    at: float
    edition: int
    message: str
    documents: tuple[DraftDocument, ...]
    changes: tuple[DraftChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftPlan:
    """What the publishing of a draft would do.

    Attributes:
        edition: Of the draft that was planned.
        moved: What has changed under it, by whom and when; it is not published before a rebase.
        plan: As for an apply of its documents.
    """

    edition: int
    moved: tuple[str, ...]
    plan: ApplyResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebased:
    """What a rebase did: ``moved`` is what had changed under the draft, by whom and when."""

    edition: int
    moved: tuple[str, ...]
