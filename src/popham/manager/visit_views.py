"""What people see of visits: when, where, and why one failed."""

from __future__ import annotations

from dataclasses import dataclass

from popham.upstream.sighting import Sight
from popham.upstream.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitView:
    """How an agent is visited.

    Attributes:
        url: Where; without passwords.
        http_proxy: Web proxy on the way, without its password; empty for none.
        definition: Name of the definition that says so; empty if the agent itself does.
        mode: pull for visits, push for a link that the Manager holds.
        interval: Seconds from one visit to the next.
        last: Of the last visit that succeeded, or sign of life on the held link; None for never.
        next: Of the next attempt; None while a link is held or a visit is under way.
        since: Since when it is as it is now; None before the first attempt.
        failures: Attempts in a row that failed.
        code, problem, hint: Why the last one did; empty if it did not.
    """

    url: str
    http_proxy: str
    definition: str
    mode: str
    interval: float
    last: float | None = None
    next: float | None = None
    since: float | None = None
    failures: int = 0
    code: str = ""
    problem: str = ""
    hint: str = ""


def view_visit(target: Target, sight: Sight | None, definition: str) -> VisitView:
    """Return the view of one agent's visits; ``sight`` None before the schedule has it."""
    error = sight.error if sight else None
    return VisitView(
        url=target.place.url,
        http_proxy=_without_password(target.place.http_proxy),
        definition=definition,
        mode=str(target.mode),
        interval=target.interval,
        last=sight.last if sight else None,
        next=sight.next if sight else None,
        since=sight.since if sight else None,
        failures=sight.failures if sight else 0,
        code=error.code if error else "",
        problem=error.problem if error else "",
        hint=error.hint if error else "",
    )


def _without_password(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"
