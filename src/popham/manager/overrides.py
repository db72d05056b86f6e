"""What an assignment says of one agent alone: who dials, and which candidate it uses, whatever its group says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from popham.model.cell import Dialer
from popham.model.names import canonical
from popham.store.rows import AgentRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What differs from the group, for one agent; it goes into every assignment that is signed for it.

    Attributes:
        dialer: Who opens connections; None for what the group's settings say.
        may_dial: Whether it may dial although it was born by a visit.
        walled: Whether it was born by a visit; the agent knows that by itself.
        candidate: Name of the rollout whose candidate it is to use; empty for none.
    """

    dialer: Dialer | None = None
    may_dial: bool = False
    walled: bool = False
    candidate: str = ""

    @classmethod
    def of(cls, row: AgentRow) -> Overrides:
        """Return what is kept of an agent."""
        return read_overrides(row.overrides)

    def as_dict(self) -> dict[str, Any]:
        """Return what differs as plain data."""
        found: dict[str, Any] = {"dialer": str(self.dialer)} if self.dialer else {}
        found |= {"candidate": self.candidate} if self.candidate else {}
        return found | {key: True for key in ("may_dial", "walled") if getattr(self, key)}

    def encoded(self) -> str:
        """Return what the row keeps."""
        return canonical(self.as_dict()).decode()


def read_overrides(text: str) -> Overrides:
    """Return what a row's text says; what a newer program added is left out."""
    data = json.loads(text)
    dialer = Dialer(data["dialer"]) if data.get("dialer") else None
    flags = {key: bool(data.get(key, False)) for key in ("may_dial", "walled")}
    return Overrides(dialer=dialer, candidate=str(data.get("candidate", "")), **flags)
