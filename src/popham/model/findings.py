"""All errors of a set of definitions, found in one go.

People repair a file faster if they see everything that is wrong with it;
programs want one error with one code.  :class:`DefinitionSetError` is both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from popham.errors import DefinitionError

MAX_FINDINGS = 100
"""Errors kept of one set; more help nobody."""


class DefinitionSetError(DefinitionError):
    """At least one error; code, sentence and place are those of the first.

    Attributes:
        errors: All of them, in the order of the files.
    """

    def __init__(self, errors: Sequence[DefinitionError]) -> None:
        first = errors[0]
        Exception.__init__(self, first.problem)
        self.code, self.problem, self.hint = first.code, first.problem, first.hint
        self.source, self.line = first.source, first.line
        self.errors = tuple(errors)

    @classmethod
    def of(cls, errors: Sequence[DefinitionError]) -> Self:
        """Return the error that stands for ``errors``, which is not empty."""
        return cls(errors)

    def as_dict(self) -> dict[str, Any]:
        """Return the first error as plain data, and all of them under ``errors``."""
        return super().as_dict() | {"errors": [error.as_dict() for error in self.errors]}


class Findings:
    """Collects errors while a set is checked."""

    def __init__(self) -> None:
        self.errors: list[DefinitionError] = []

    @contextmanager
    def collect(self, source: str, line: int) -> Iterator[None]:
        """Keep a DefinitionError of the body, with ``source`` and ``line`` where it names none."""
        try:
            yield
        except DefinitionError as error:
            error.source = error.source or source
            error.line = error.line or line
            self.add(error)

    def add(self, error: DefinitionError) -> None:
        """Keep ``error``."""
        found = error.errors if isinstance(error, DefinitionSetError) else (error,)
        self.errors.extend(found[: MAX_FINDINGS - len(self.errors)])

    def finish(self) -> None:
        """Return if nothing was found.

        Raises:
            DefinitionSetError: Something was.
        """
        if self.errors:
            raise DefinitionSetError.of(self.errors)
