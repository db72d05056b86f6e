"""Whether what was measured is a warning or an error, as thresholds of a policy say.  Pure.

Rules:

1. A state is that of one threshold and one resource: the highest level that N of the newest M samples reach.  It falls
   only once that is sure: what was sampled before a restart is taken to have been as it was told.
2. A change is told until somebody says that it was kept (:meth:`Thresholds.kept`); what was not is told again with the
   next sample.  What is told already is not told again.
3. What a policy withdraws, what is out of its times, and what is measured no more, has recovered, and says why.
4. States are bounded: of a resource beyond them nothing is known, and it is counted.
5. The summary measures less exactly than ``metrics`` do: where both measure a resource, the latter count.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from popham.agent.collect.sample import Sample, SampleKind
from popham.agent.collect.wanted import Bound, WantedThreshold
from popham.model.criteria import is_like
from popham.model.schedule import Period, read_time
from popham.model.types.collect_thresholds import read_samples

STATES_MAX: Final = 4096
"""States that one agent holds."""
ABSENT: Final = 900.0
"""Seconds after which what is measured no more has recovered; or three times as often as it was, if that is longer."""
RESOURCE_MAX: Final = 256
_MOUNT: Final = "system.filesystem.mountpoint"
_BESIDE_MOUNT: Final = frozenset({"system.device", "system.filesystem.type"})
"""What a mount point says already."""
_USED: Final = "used"
Local = Callable[[float], tuple[int, int]]
"""Unix seconds → weekday (0 for Monday) and minute of the day on this machine."""


class Level(IntEnum):
    """How bad it is."""

    RECOVERED = 0
    WARNING = 1
    ERROR = 2

    @property
    def word(self) -> str:
        """The word that people read."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Key:
    """What one state is about."""

    threshold: str
    item: str
    resource: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something became better or worse.

    Attributes:
        key: What.
        level: How bad it is now.
        at: Since when, in unix seconds.
        value: The newest value; None where there is none.
        bound: Beyond which value that is (``above 0.9``); empty for recovered.
        text: What the policy says beside it.
        reason: Why something is over although nothing was measured: ``withdrawn``, ``time`` or ``absent``; else empty.
    """

    key: Key
    level: Level
    at: float
    value: float | None = None
    bound: str = ""
    text: str = ""
    reason: str = ""


@dataclass(slots=True)
class _State:
    """How one threshold is with one resource.

    Attributes:
        told: The level that was kept last.
        levels: Of the newest samples, without those before a start.
        level: Of all of these.
        change: What is to be told.
        seen: When it was measured last, by the monotonic clock.
        gap: Seconds between the two newest samples.
        exact: How many attributes its samples have.
    """

    told: Level = Level.RECOVERED
    levels: deque[Level] = field(default_factory=deque)
    change: Change | None = None
    seen: float = 0.0
    gap: float = 0.0
    exact: int = 0

    def due(self) -> float:
        """Return when it is measured no more."""
        return self.seen + max(ABSENT, 3 * self.gap)


@dataclass(frozen=True, slots=True)
class _Threshold:
    """A threshold as it is evaluated."""

    wanted: WantedThreshold
    needed: int
    of: int
    times: tuple[Period, ...]

    @classmethod
    def read(cls, wanted: WantedThreshold) -> _Threshold:
        """Return the threshold of a policy."""
        return cls(wanted, *read_samples(wanted.samples), tuple(map(read_time, wanted.when)))

    def holds(self, at: float, local: Local) -> bool:
        """Return whether it is one of its times."""
        return not self.times or any(period.holds(*local(at)) for period in self.times)

    def judge(self, value: float, now: Level) -> Level:
        """Return the level of one value, while the state is ``now``."""
        for level, bound in ((Level.ERROR, self.wanted.error), (Level.WARNING, self.wanted.warning)):
            if bound is not None and _beyond(value, bound, self.wanted.hysteresis if now >= level else 0.0):
                return level
        return Level.RECOVERED

    def combine(self, state: _State, now: Level) -> Level:
        """Return the level of the newest samples; one that is not sure to be over stays."""
        missing = self.of - len(state.levels)
        for level in (Level.ERROR, Level.WARNING):
            reached = sum(one >= level for one in state.levels)
            if reached >= self.needed or (now >= level and reached + missing >= self.needed):
                return level
        return Level.RECOVERED


def resource_of(attributes: Mapping[str, str]) -> str:
    """Return what names the part of a machine that was measured: the values of its attributes, the needed ones."""
    names = [key for key in sorted(attributes) if not (_MOUNT in attributes and key in _BESIDE_MOUNT)]
    return " ".join(attributes[key] for key in names if not (_is_state(key) and attributes[key] == _USED))[
        :RESOURCE_MAX
    ]


def fits(pattern: str, attributes: Mapping[str, str]) -> bool:
    """Return whether the resource with these attributes is one that ``pattern`` means."""
    last = pattern.rpartition(" ")[2]
    if any(_is_state(key) and value not in {_USED, last} for key, value in attributes.items()):
        return False
    return any(is_like(text, pattern) for text in (resource_of(attributes), *attributes.values()))


class Thresholds:
    """All states of one machine.

    Attributes:
        beyond: Samples of resources for which there was no room.
    """

    def __init__(self, held: Iterable[tuple[Key, Level, float]], *, local: Local, now: float) -> None:
        """Go on from what was told before.

        Args:
            held: What was a warning or an error, and the seconds between two samples of it.
            local: The machine's own time.
            now: The monotonic clock.
        """
        self.beyond = 0
        self._local = local
        self._heard = now
        self._by_item: dict[str, list[_Threshold]] = {}
        self._states = {key: _State(told=level, seen=now, gap=gap) for key, level, gap in held}

    def configure(self, wanted: Sequence[WantedThreshold], *, at: float) -> None:
        """Hold these thresholds from now on; what is withdrawn has recovered ``at`` (unix seconds)."""
        self._by_item = {}
        for one in wanted:
            self._by_item.setdefault(one.item, []).append(_Threshold.read(one))
        names = {(one.item, one.name): one for one in wanted}
        for key, state in list(self._states.items()):
            known = names.get((key.item, key.threshold))
            if known is None:
                self._end(key, state, at, "withdrawn")
            else:
                # Samples that were judged by other bounds say nothing now.
                state.levels = deque(maxlen=read_samples(known.samples)[1])
                if state.change is not None and state.change.reason == "withdrawn":
                    state.change = None

    def evaluate(self, samples: Sequence[Sample], *, now: float, at: float) -> None:
        """Take note of what a look measured.

        Args:
            samples: All that one look brought.
            now: The monotonic clock.
            at: Wall time, in unix seconds.
        """
        self._bear_silence(now)
        for sample in samples:
            if sample.kind is SampleKind.GAUGE and math.isfinite(sample.value):
                for threshold in self._by_item.get(sample.name, ()):
                    if fits(threshold.wanted.resource, sample.attributes):
                        self._evaluate(threshold, sample, now)
        for key, state in list(self._states.items()):
            if now > state.due():
                self._end(key, state, at, "absent")

    def changes(self) -> Iterator[Change]:
        """Yield what is to be told."""
        yield from [state.change for state in self._states.values() if state.change is not None]

    def kept(self, changes: Iterable[Change]) -> None:
        """Take note that these are told."""
        for change in changes:
            state = self._states.get(change.key)
            if state is None:
                continue
            state.told = change.level
            if state.change == change:
                state.change = None
            if change.reason:
                del self._states[change.key]

    def raised(self) -> list[tuple[Key, Level, float]]:
        """Return what was told and is not over, as a start is to know it."""
        return [(key, state.told, state.gap) for key, state in self._states.items() if state.told]

    def _evaluate(self, threshold: _Threshold, sample: Sample, now: float) -> None:
        wanted = threshold.wanted
        key = Key(wanted.name, wanted.item, resource_of(sample.attributes))
        state = self._states.get(key)
        if not threshold.holds(sample.at, self._local):
            if state is not None:
                self._end(key, state, sample.at, "time")
            return
        if state is None:
            if len(self._states) >= STATES_MAX:
                self.beyond += 1
                return
            state = self._states[key] = _State()
        if len(sample.attributes) < state.exact:
            return
        if len(sample.attributes) > state.exact or state.levels.maxlen is None:
            state.exact, state.levels = len(sample.attributes), deque(maxlen=threshold.of)
        elif now > state.seen:
            state.gap = now - state.seen
        state.seen = now
        level = state.change.level if state.change else state.told
        state.levels.append(threshold.judge(sample.value, level))
        level = threshold.combine(state, level)
        if level == state.told:
            state.change = None
        elif state.change is None or state.change.level != level or state.change.reason:
            bound = _bound_of(wanted, level)
            state.change = Change(
                key=key, level=level, at=sample.at, value=sample.value, bound=bound, text=wanted.text
            )

    def _end(self, key: Key, state: _State, at: float, reason: str) -> None:
        """Have a state recover for a reason of its own."""
        if not state.told:
            del self._states[key]
        elif state.change is None or not state.change.reason:
            state.change = Change(key=key, level=Level.RECOVERED, at=at, reason=reason)

    def _bear_silence(self, now: float) -> None:
        """Take no time into account in which nothing at all was measured: it was paused, or the machine slept."""
        silence, self._heard = now - self._heard, now
        if silence > ABSENT:
            for state in self._states.values():
                if silence > 3 * state.gap:
                    state.seen += silence


def _beyond(value: float, bound: Bound, slack: float) -> bool:
    if bound.above is not None:
        return value > bound.above - slack
    return bound.below is not None and value < bound.below + slack


def _bound_of(wanted: WantedThreshold, level: Level) -> str:
    bound = {Level.WARNING: wanted.warning, Level.ERROR: wanted.error}.get(level)
    if bound is None:
        return ""
    return f"above {bound.above:g}" if bound.above is not None else f"below {bound.below or 0:g}"


def _is_state(key: str) -> bool:
    """Return whether an attribute says what of a resource is meant: that which is in use, or another part."""
    return key.endswith((".state", ".mode"))
