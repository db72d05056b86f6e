"""One group in the summary window, as it is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from popham.manager.summary.items import NUMBERS, KeyMetrics
from popham.manager.summary.views import GroupSummaryView


class GroupCount:
    """Counts the agents of one group."""

    def __init__(self) -> None:
        """Begin with none."""
        self._agents = 0
        self._presence: Counter[str] = Counter()
        self._sync: Counter[str] = Counter()
        self._alerts: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._waiting = 0
        self._oldest: float | None = None
        self._most: dict[str, float] = {}
        self._sums: dict[str, float] = {}
        self._counts: Counter[str] = Counter()

    def add(self, presence: str, sync: str, states: Collection[str]) -> None:
        """Count an agent, with the states of its open alerts."""
        self._agents += 1
        self._presence[presence] += 1
        self._sync[sync] += 1
        if states:
            self._alerts["error" if "error" in states else "warning"] += 1

    def add_data(self, metrics: KeyMetrics, age: float | None, waiting: int, lost: Mapping[str, int]) -> None:
        """Count what is known of the agent's data; its ``age`` only if it is on time."""
        self._waiting += waiting
        self._lost.update(lost)
        if age is not None:
            self._oldest = max(age, self._oldest or 0.0)
        for name in NUMBERS:
            value: float | None = getattr(metrics, name)
            if value is not None:
                self._most[name] = max(value, self._most.get(name, value))
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] += 1

    def view(self, name: str) -> GroupSummaryView:
        """Return the row of the group."""
        return GroupSummaryView(
            name=name,
            agents=self._agents,
            presence=dict(sorted(self._presence.items())),
            sync=dict(sorted(self._sync.items())),
            oldest=self._oldest,
            metrics={
                key: {"max": self._most[key], "mean": self._sums[key] / count}
                for key, count in self._counts.items()
            },
            alerts=dict(sorted(self._alerts.items())),
            waiting=self._waiting,
            lost=dict(sorted(self._lost.items())),
        )
