"""Where the agents of a group are, by what some of them reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from popham.manager.roster import read_record
from popham.store.seam import Reading

SAMPLE = 2000
"""Agents of a group whose reports are read, at most."""
_SAMPLES = 10_000
"""The same of all groups together: half a second of reading."""
_SAMPLE_MIN = 10
"""The same of a group where many are asked about, at least."""


class Sampled:
    """Answers for one snapshot; a group is read once."""

    def __init__(self, reading: Reading) -> None:
        """Read from ``reading``."""
        self._reading = reading
        self._found: dict[str, Mapping[str, int]] = {}

    def located(self, group: str, agents: int, *, groups: int) -> Mapping[str, int]:
        """Return location → how many agents of a group said that they are there.

        Those that did not say are under the empty name.  The reports of the first agents stand for all.

        Args:
            group: Name of the group.
            agents: How many it has.
            groups: How many groups are asked about in all, since they share what may be read.
        """
        if group not in self._found:
            sample = min(SAMPLE, max(_SAMPLE_MIN, _SAMPLES // max(1, groups)))
            self._found[group] = _located(self._reading, group, agents, sample)
        return self._found[group]


def _located(reading: Reading, group: str, agents: int, sample: int) -> Mapping[str, int]:
    rows = reading.agents(group=group, limit=sample)
    reported = Counter(record.location if (record := read_record(row)) else "" for row in rows)
    whole, seen = sum(reported.values()), 0
    found = {}
    for location, number in sorted(reported.items()):
        found[location] = agents * (seen + number) // whole - agents * seen // whole
        seen += number
    return found
