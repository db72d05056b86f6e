"""Every error that Popham raises on purpose.

One base and one family per area::

    PophamError
    ├── ConfigError        a process was configured with something unusable
    ├── DefinitionError    a definition (YAML) is wrong; carries file and line
    ├── PolicyError        a policy could not be applied on this machine
    ├── TrustError         a document, key or certificate may not be believed
    ├── EnrollmentError    an agent may not join
    ├── WireError          the other end broke the protocol
    ├── LinkError          the other end could not be reached, or went away
    │   └── VisitError     an agent that is to be visited could not be, or not by this visitor
    ├── StateError         a state directory or database cannot be used
    ├── StreamError        records of a stream cannot be kept, carried or taken as they are
    ├── OperationError     an operation cannot be ordered of an agent, or was not done
    ├── GrantError         the identity may not do this
    ├── ContentError       the agent is not given a body yet
    ├── NotFoundError      the object does not exist
    └── ConflictError      the object changed, or stands in the way

Rules:

1. Each error has a stable ``code`` of the form ``area.reason``, listed in
   ``docs/reference/errors.md``; a test compares that page with the code.
2. The problem is one sentence; the hint says what to do next.
3. Raise or handle; nothing logs an error and goes on as if it had not been.
"""

from __future__ import annotations

from typing import Any, ClassVar


class PophamError(Exception):
    """Base of every error raised on purpose.

    Attributes:
        code: Stable name, ``area.reason``.
        problem: One sentence about what is wrong.
        hint: One sentence about what to do; may be empty.
        retryable: Whether the same call may succeed later, unchanged.
    """

    area: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, reason: str, problem: str, hint: str = "") -> None:
        self.code = f"{self.area}.{reason}"
        self.problem = problem
        self.hint = hint
        super().__init__(problem)

    def __str__(self) -> str:
        """Return problem, code and hint as people read them."""
        text = f"{self.problem} ({self.code})"
        return f"{text}. {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, Any]:
        """Return the error as plain data, for JSON output."""
        return {
            "code": self.code,
            "problem": self.problem,
            "hint": self.hint,
            "retryable": self.retryable,
        }


class ConfigError(PophamError):
    """A process was configured with something it cannot use."""

    area = "config"


class DefinitionError(PophamError):
    """A definition is wrong.

    Attributes:
        source: Name of the file, or empty.
        line: Line in that file, from 1; 0 if unknown.
    """

    area = "definition"

    def __init__(
        self,
        reason: str,
        problem: str,
        hint: str = "",
        *,
        source: str = "",
        line: int = 0,
    ) -> None:
        super().__init__(reason, problem, hint)
        self.source = source
        self.line = line

    def __str__(self) -> str:
        """Return the sentence with ``file:line`` before it, where known."""
        where = f"{self.source}:{self.line}: " if self.line else f"{self.source}: "
        return (where if self.source else "") + super().__str__()

    def as_dict(self) -> dict[str, Any]:
        """Return the error as plain data, with its place."""
        return super().as_dict() | {"source": self.source, "line": self.line}


class PolicyError(PophamError):
    """A policy could not be applied on this machine."""

    area = "policy"


class TrustError(PophamError):
    """A document, key or certificate may not be believed."""

    area = "trust"


class EnrollmentError(PophamError):
    """An agent may not join the fleet, or not yet."""

    area = "enrollment"


class WireError(PophamError):
    """The other end broke the protocol."""

    area = "wire"


class LinkError(PophamError):
    """The other end could not be reached, refused, or went away.

    Attributes:
        retry_after: Seconds the other end asked to wait; None if it did not say.
        status: HTTP status of the refusal, or WebSocket close code; 0 if there was none.
    """

    area = "link"
    retryable = True

    def __init__(
        self,
        reason: str,
        problem: str,
        hint: str = "",
        *,
        retry_after: float | None = None,
        status: int = 0,
    ) -> None:
        super().__init__(reason, problem, hint)
        self.retry_after = retry_after
        self.status = status


class VisitError(LinkError):
    """An agent that is to be visited cannot be reached, or is not who answers, or does not take this visitor.

    Each code names a state of that agent for people, and its hint the next step.
    """

    area = "visit"


class StateError(PophamError):
    """A state directory or database cannot be used."""

    area = "state"


class StreamError(PophamError):
    """Records of a stream cannot be kept, carried or taken as they are."""

    area = "stream"


class OperationError(PophamError):
    """An operation cannot be ordered of an agent, or was not done."""

    area = "operation"


class GrantError(PophamError):
    """The identity may not do this."""

    area = "grant"


class ContentError(PophamError):
    """A body is not given to this agent yet."""

    area = "content"
    retryable = True


class NotFoundError(PophamError):
    """The object does not exist."""

    area = "not_found"


class ConflictError(PophamError):
    """The object changed meanwhile, or another object stands in the way."""

    area = "conflict"
