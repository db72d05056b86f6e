"""Errors as a Manager's answers name them: the same families that it raised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from popham.errors import (
    ConfigError,
    ConflictError,
    ContentError,
    DefinitionError,
    EnrollmentError,
    GrantError,
    LinkError,
    NotFoundError,
    OperationError,
    PolicyError,
    PophamError,
    StateError,
    StreamError,
    TrustError,
    WireError,
)
from popham.model.findings import DefinitionSetError

FAMILIES: Mapping[str, type[PophamError]] = {
    family.area: family
    for family in (
        ConfigError,
        ConflictError,
        ContentError,
        DefinitionError,
        EnrollmentError,
        GrantError,
        LinkError,
        NotFoundError,
        OperationError,
        PolicyError,
        StateError,
        StreamError,
        TrustError,
        WireError,
    )
}
"""Area of a code → the family of errors it belongs to."""


def error_from(status: int, data: bytes, url: str) -> PophamError:
    """Return the error that an answer with ``status`` and body ``data`` stands for."""
    try:
        problem = json.loads(data)
        area, _, reason = str(problem["code"]).partition(".")
        family = FAMILIES[area]
        detail, hint = str(problem["detail"]), str(problem.get("hint", ""))
        if family is DefinitionError:
            found = [_definition_error(entry) for entry in problem.get("errors") or [problem]]
            return DefinitionSetError(found) if len(found) > 1 else found[0]
        return family(reason, detail, hint)
    except (ValueError, KeyError, TypeError):
        problem = f"{url} answered {status}, and not as a Manager does"
        hint = "Check the URL of the context: it must lead to the Manager's listener for people"
        return LinkError("answer", problem, hint, status=status)


def _definition_error(entry: Mapping[str, Any]) -> DefinitionError:
    reason = str(entry["code"]).partition(".")[2]
    source, line = str(entry.get("source") or ""), int(entry.get("line") or 0)
    return DefinitionError(reason, str(entry["detail"]), str(entry.get("hint", "")), source=source, line=line)
