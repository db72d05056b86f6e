"""Appliers by policy type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from popham.agent.permission import Permission
from popham.agent.settings import AgentSettings
from popham.agent.types import collect, custom, files, otelcol
from popham.agent.types.wanted import WantedPolicy

Want = Callable[[Permission, str, Mapping[str, Any]], WantedPolicy]
"""Returns what a policy, by name and body, wants of this machine, or raises PolicyError; changes nothing."""

APPLIERS: Final[Mapping[str, Want]] = {
    "files": files.want_files,
    "otelcol": otelcol.want_otelcol,
    "collect": collect.want_collect,
    "custom": custom.want_custom,
}
"""Policy type → its applier."""


def supported_types(settings: AgentSettings) -> frozenset[str]:
    """Return the policy types that can be applied on a machine with these settings."""
    return frozenset(APPLIERS) if settings.otelcol.path else frozenset(APPLIERS) - {"otelcol"}
