"""What every filling of the seam refuses in the same words."""

from __future__ import annotations

from typing import ClassVar

from popham.errors import ConflictError, StateError
from popham.store.rows import BundleRow, RevisionRow


class OverloadError(StateError):
    """The database cannot take this now; the same call may succeed later."""

    retryable: ClassVar[bool] = True


def overloaded(problem: str) -> OverloadError:
    """Return the refusal of work that came when there was too much."""
    return OverloadError("overloaded", problem, "Try again in a moment")


def taken_revision(row: RevisionRow) -> ConflictError:
    """Return the refusal of a revision that is there already."""
    problem = f"Policy {row.name!r} has a revision {row.revision} already"
    return ConflictError("revision", problem, "Read the policy again and repeat the change")


def taken_bundle(row: BundleRow) -> ConflictError:
    """Return the refusal of a bundle whose version is taken."""
    problem = f"Group {row.group!r} has a bundle of version {row.version} already"
    return ConflictError("bundle", problem, "Use the bundle that is there")


def closed() -> StateError:
    """Return the refusal of a store that was closed."""
    return StateError("closed", "The database is closed", "Start again")
