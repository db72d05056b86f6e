"""Appliers by policy type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from popham.agent.permission import Permission
from popham.agent.settings import AgentSettings
from popham.agent.types import custom, files, otelcol
from popham.agent.types.wanted import WantedPolicy


@dataclass(frozen=True, slots=True)
class TypeApplier:
    """What applying needs of one type.

    Attributes:
        want: Returns what a policy wants of this machine, or raises PolicyError; changes nothing.
        find_differing: Returns the paths that are not as the policy wants them; changes nothing.
    """

    want: Callable[[Permission, str, Mapping[str, Any]], WantedPolicy]
    find_differing: Callable[[Permission, str, Mapping[str, Any]], list[str]]


APPLIERS: Final[Mapping[str, TypeApplier]] = {
    "files": TypeApplier(files.want_files, files.find_differing),
    "otelcol": TypeApplier(otelcol.want_otelcol, otelcol.find_differing),
    "custom": TypeApplier(custom.want_custom, custom.find_differing),
}
"""Policy type → its applier."""


def supported_types(settings: AgentSettings) -> frozenset[str]:
    """Return the policy types that can be applied on a machine with these settings."""
    return frozenset(APPLIERS) if settings.otelcol.path else frozenset(APPLIERS) - {"otelcol"}
