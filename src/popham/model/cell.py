"""The four cells: when a round happens, and which end opens the connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from popham.errors import DefinitionError
from popham.model.lines import line_of
from popham.model.names import nearest, show

_Word = TypeVar("_Word", bound=StrEnum)


class Mode(StrEnum):
    """When a round happens."""

    PUSH = "push"
    PULL = "pull"


class Dialer(StrEnum):
    """Which end opens the connection."""

    AGENT = "agent"
    MANAGER = "manager"


class Preset(StrEnum):
    """The four cells by the names that users of SEPM and SQC know."""

    PUSH = "Push"
    PULL_BY_HEARTBEAT = "Pull by heartbeat"
    PULL_BY_VISIT = "Pull by visit"
    PUSH_OVER_MANAGER = "Push over the Manager's connection"


PRESETS: Final[Mapping[tuple[Mode, Dialer], Preset]] = MappingProxyType(
    {
        (Mode.PUSH, Dialer.AGENT): Preset.PUSH,
        (Mode.PULL, Dialer.AGENT): Preset.PULL_BY_HEARTBEAT,
        (Mode.PULL, Dialer.MANAGER): Preset.PULL_BY_VISIT,
        (Mode.PUSH, Dialer.MANAGER): Preset.PUSH_OVER_MANAGER,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A mode and a dialer."""

    mode: Mode = Mode.PUSH
    dialer: Dialer = Dialer.AGENT

    @property
    def preset(self) -> Preset:
        """The name of this cell."""
        return PRESETS[self.mode, self.dialer]

    def as_dict(self) -> dict[str, Any]:
        """Return the cell as it stands in a bundle."""
        return {"mode": str(self.mode), "dialer": str(self.dialer)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cell:
        """Return the cell of a bundle."""
        return cls(mode=Mode(data["mode"]), dialer=Dialer(data["dialer"]))


def read_cell(spec: Mapping[str, Any], mode: Mode, dialer: Dialer) -> tuple[Mode, Dialer]:
    """Return what ``preset``, or ``mode`` and ``dialer``, of ``spec`` say; else ``mode`` and ``dialer``.

    Raises:
        DefinitionError: A word is not known, or the cell is named twice.
    """
    if "preset" in spec:
        if {"mode", "dialer"} & set(spec):
            problem = "communication names a preset and a mode or dialer"
            raise DefinitionError("preset", problem, "Say one or the other", line=line_of(spec, "preset"))
        preset = read_word(Preset, spec["preset"], "preset")
        return next(cell for cell, name in PRESETS.items() if name is preset)
    return read_word(Mode, spec.get("mode", mode), "mode"), read_word(
        Dialer, spec.get("dialer", dialer), "dialer"
    )


def read_word(kind: type[_Word], value: object, setting: str) -> _Word:
    """Return the member of ``kind`` that ``value`` names.

    Raises:
        DefinitionError: It names none.
    """
    try:
        return kind(str(value))
    except ValueError:
        problem = f"{setting}: {show(value)} is not one of {', '.join(kind)}"
        raise DefinitionError("word", problem, nearest(str(value), list(kind))) from None
