"""What came of trying one thing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from popham.errors import PophamError


class Outcome(StrEnum):
    """How it stands."""

    OK = "ok"
    WARNING = "warning"
    """It works, or may work, and somebody should look at it."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It was not tried; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. It never holds a secret (SEC-53).

    Attributes:
        check: What was tried, such as ``disk`` or ``port``; one word or two, stable.
        outcome: How it stands.
        text: One sentence.
        step: What to do next, where it is not well; empty otherwise.
        server: URL of the server it is about; empty for the machine itself.
    """

    check: str
    outcome: Outcome
    text: str
    step: str = ""
    server: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "check": self.check,
            "outcome": str(self.outcome),
            "text": self.text,
            "next": self.step,
            "server": self.server,
        }


def ok(check: str, text: str, *, server: str = "") -> Finding:
    """Return that something is well."""
    return Finding(check, Outcome.OK, text, server=server)


def warn(check: str, text: str, step: str, *, server: str = "") -> Finding:
    """Return that somebody should look at something."""
    return Finding(check, Outcome.WARNING, text, step, server)


def fail(check: str, text: str, step: str, *, server: str = "") -> Finding:
    """Return that something is not well."""
    return Finding(check, Outcome.FAILED, text, step, server)


def skip(check: str, text: str, *, server: str = "") -> Finding:
    """Return that something was not tried, and why."""
    return Finding(check, Outcome.SKIPPED, text, server=server)


def failed(check: str, error: PophamError, otherwise: str, *, server: str = "") -> Finding:
    """Return that something is not well, in the words of an error; ``otherwise`` is the step where it names none."""
    return fail(check, f"{error.problem} ({error.code})", error.hint or otherwise, server=server)


def is_well(findings: Iterable[Finding]) -> bool:
    """Return whether nothing failed."""
    return all(one.outcome is not Outcome.FAILED for one in findings)
