"""Saved plans: the definitions that were planned, on which terms, and what they rest on, in one file.

The file has whatever secrets the definitions have, and is for its owner alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from popham.errors import DefinitionError
from popham.model.names import canonical, digest
from popham.statedir import replace_file

FORM = "popham/plan/1"
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """A plan.

    Attributes:
        files: Name and text of each file of definitions.
        base: What the plan rests on: object → digest.
        force: Whether what is unwise is taken.
        terms: As of :meth:`popham.client.Client.apply`, without base and message.
    """

    files: Sequence[tuple[str, str]]
    base: Mapping[str, str]
    force: bool = False
    terms: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the plan, for its owner alone.

        Raises:
            DefinitionError: ``definition.file``: it cannot be written.
        """
        held = self._as_dict()
        text = json.dumps(held | {"digest": digest(canonical(held))}, indent=1, ensure_ascii=False)
        try:
            replace_file(path, f"{text}\n".encode())
        except OSError as error:
            problem = f"it cannot be written: {error.strerror or error}"
            raise DefinitionError("file", problem, "Choose another name", source=str(path)) from error

    @classmethod
    def load(cls, path: Path) -> SavedPlan:
        """Return the plan of a file.

        Raises:
            DefinitionError: ``definition.file``; ``definition.plan``: it is no plan, or was changed.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            problem = f"it cannot be read: {error.strerror or error}"
            raise DefinitionError(
                "file", problem, "Check the name given with --plan", source=str(path)
            ) from error
        hint = "Make it again: popham plan -f DIR --save FILE"
        try:
            held = json.loads(data) if len(data) <= MAX_BYTES else {}
            said = held.pop("digest")
            found = cls(
                files=[(str(name), str(text)) for name, text in held["files"]],
                base={str(about): str(was) for about, was in held["base"].items()},
                force=bool(held["force"]),
                terms=dict(held["terms"]),
            )
            same = said == digest(canonical(held)) and held == found._as_dict()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DefinitionError("plan", "this is no saved plan", hint, source=str(path)) from error
        if not same:
            problem = "the plan was changed after it was saved, or is of a newer Popham"
            raise DefinitionError("plan", problem, hint, source=str(path))
        return found

    def _as_dict(self) -> dict[str, Any]:
        return {
            "form": FORM,
            "files": [list(file) for file in self.files],
            "base": dict(self.base),
            "force": self.force,
            "terms": dict(self.terms),
        }
