"""Rollouts: a change that reaches a few machines first, and the others only if those bear it. Pure.

Rules:

1. The bundle names the cohort by salt and share; the *agent* decides by its own bucket whether it is in it.
2. A cohort only grows while a rollout runs: the salt stays, the share rises from wave to wave.
3. A wave ends after its soak, which begins once everybody of the cohort who is in contact has applied.
4. Too many that failed, undid it, or fell silent halt the rollout: the share becomes 0, and who had it goes back.
5. A rollout is over when it is promoted (the candidate holds for all) or undone (the old content holds for all).
6. One that begins as held has nobody in it but those whose assignments name it: agents fetch the candidate,
   check it and hold it.  It begins its first wave when somebody says so, and nothing halts it before that.

Source: guarantees SEC-41, SEC-42; rows F.Y9 and F.Y17.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from popham.errors import DefinitionError

PPM = 1_000_000
"""Shares are whole parts per million: a signed document has no fractions."""
LEAST = 100
"""Smallest share, in parts per million: who is in so small a cohort takes long to draw."""
GROWTH = 5
"""Factor from one wave to the next where only the first was named."""
WAVES_MAX = 20
_EXAMPLE = "For example --canary 1%, or --canary 1%,10%,50%"
SOAK = 600.0
"""Seconds. Source: guarantees REL-11, the default of the agents' health window."""
SOAK_MAX = 30 * 86400.0
HALT_ON = 0.05
MARKS = (50, 95, 99)
"""Percent of a cohort whose time to apply is noted. Source: row F.Y17."""


def bucket(salt: str, uid: str) -> float:
    """Return an agent's place in [0, 1) of a rollout: the first 32 bits of SHA-256 over salt and uid.

    Source: guarantees 3.3.
    """
    return int.from_bytes(hashlib.sha256((salt + uid).encode()).digest()[:4], "big") / 2**32


class RolloutState(StrEnum):
    """What a rollout does; the last two are its ends."""

    HELD = "held"
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    PROMOTED = "promoted"
    UNDONE = "undone"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self in {RolloutState.PROMOTED, RolloutState.UNDONE}


_GOING = frozenset({RolloutState.HELD, RolloutState.RUNNING, RolloutState.PAUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRef:
    """A rollout as a bundle names it.

    Attributes:
        id: Its name, such as ``r12``.
        salt: Drawn for this group and rollout; decides who is in the cohort.
        ppm: Share of the group that is in it, in parts per million; 0 for nobody.
        wave: Number of the wave, from 1.
        stable_serial: Serial of the content on the stable side.
        named: Whether those are on the candidate side too whose assignments name it.
    """

    id: str
    salt: str
    ppm: int
    wave: int
    stable_serial: int
    named: bool = False

    @property
    def share(self) -> float:
        """Share of the group that is in the cohort, 0 to 1."""
        return self.ppm / PPM

    def has(self, uid: str, candidate: str) -> bool:
        """Return whether the candidate holds for an agent, by its uid and what its assignment names as candidate."""
        return (self.named and candidate == self.id) or bucket(self.salt, uid) < self.share

    def as_dict(self) -> dict[str, Any]:
        """Return the reference as it stands in the document; older agents know nothing of names."""
        return ({"named": True} if self.named else {}) | {
            "id": self.id,
            "salt": self.salt,
            "ppm": self.ppm,
            "wave": self.wave,
            "stable_serial": self.stable_serial,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RolloutRef:
        """Return the reference in ``data``; raises KeyError, TypeError or ValueError."""
        found = cls(
            id=str(data["id"]),
            salt=str(data["salt"]),
            ppm=int(data["ppm"]),
            wave=int(data["wave"]),
            stable_serial=int(data["stable_serial"]),
            named=data.get("named", False) is True,
        )
        if not 0 <= found.ppm <= PPM or found.wave < 1 or found.stable_serial < 0:
            raise ValueError("a share, wave or serial is out of range")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutTerms:
    """How a rollout goes on by itself.

    Attributes:
        waves: Share of each wave in parts per million, rising; the last is all.
        soak: Seconds that a wave has to bear the change.
        halt_on: Share of a cohort, 0 to 1, whose failing halts; one agent at least.
    """

    waves: tuple[int, ...]
    soak: float = SOAK
    halt_on: float = HALT_ON

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            DefinitionError: ``definition.rollout``.
        """
        rising = all(a < b for a, b in zip(self.waves, self.waves[1:], strict=False))
        if not self.waves or len(self.waves) > WAVES_MAX or not rising:
            problem = f"a rollout has 1 to {WAVES_MAX} waves, each wider than the one before"
            raise DefinitionError("rollout", problem, _EXAMPLE)
        if self.waves[0] < LEAST or self.waves[-1] != PPM:
            problem = "the first wave has 0.01 % at least, and the last has all"
            raise DefinitionError("rollout", problem, _EXAMPLE)
        if not 0 <= self.soak <= SOAK_MAX or not 0 <= self.halt_on <= 1:
            problem = "a soak takes 0 to 30 days, and a share is 0 to 100 %"
            raise DefinitionError("rollout", problem, "For example --soak 10m --halt-on 5%")

    @classmethod
    def of(cls, shares: Sequence[float], *, soak: float = SOAK, halt_on: float = HALT_ON) -> RolloutTerms:
        """Return the terms for waves named by share (0 to 1).

        One share alone grows by :data:`GROWTH`; what does not end with all is followed by all.
        """
        waves = [round(share * PPM) for share in shares]
        if len(waves) == 1:
            while 0 < waves[-1] * GROWTH < PPM:
                waves.append(waves[-1] * GROWTH)
        if waves and waves[-1] < PPM:
            waves.append(PPM)
        return cls(waves=tuple(waves), soak=soak, halt_on=halt_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One wave; times are unix seconds, 0 for not yet.

    Attributes:
        ppm: Its share.
        began: When it was signed.
        settled: When everybody of its cohort who is in contact had applied; the soak begins.
        ended: When the next began, or the rollout halted or ended.
        marks: Percent (:data:`MARKS`) → when as many of its cohort had applied.
    """

    ppm: int
    began: float = 0.0
    settled: float = 0.0
    ended: float = 0.0
    marks: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How the cohort of a wave is doing, in agents.

    Attributes:
        agents: Agents of ours in all groups of the rollout.
        cohort: Those in the cohort.
        applied: Of the cohort: have the candidate in force.
        failed: Could not apply it, or undid it.
        silent: Were in contact when the wave began or since, and broke their promise before they had borne
            the candidate for a soak.
        pending: Are in contact and have not applied yet.
        away: Were not in contact when the wave began, and are not; nobody waits for them.
        named: Of the cohort: have it by name.
    """

    agents: int = 0
    cohort: int = 0
    applied: int = 0
    failed: int = 0
    silent: int = 0
    pending: int = 0
    away: int = 0
    named: int = 0


class Action(StrEnum):
    """What is to be done about a rollout now."""

    WAIT = "wait"
    WIDEN = "widen"
    HALT = "halt"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A rollout at one moment.

    Attributes:
        id: Its name.
        terms: How it goes on.
        state: What it does.
        waves: All its waves.
        current: Index of the wave in ``waves`` that holds, or held when it halted.
        reason: Why it is paused or halted, in a sentence.
        since: When it came into this state, in unix seconds; 0 while it is as it began, or unknown.
        by: Who brought it there; empty likewise.
        began_held: Whether it began as held, and agents may have it by name.
    """

    id: str
    terms: RolloutTerms
    state: RolloutState
    waves: tuple[Wave, ...]
    current: int = 0
    reason: str = ""
    since: float = 0.0
    by: str = ""
    began_held: bool = False

    @classmethod
    def begin(cls, name: str, terms: RolloutTerms, *, now: float) -> Rollout:
        """Return a rollout whose first wave begins."""
        return cls.hold(name, terms, named=False).with_terms(terms, now=now)

    @classmethod
    def hold(cls, name: str, terms: RolloutTerms, *, named: bool = True) -> Rollout:
        """Return a rollout whose candidate nobody has yet; ``named`` if agents may have it by name."""
        waves = tuple(Wave(ppm=ppm) for ppm in terms.waves)
        return cls(id=name, terms=terms, state=RolloutState.HELD, waves=waves, began_held=named)

    def with_terms(self, terms: RolloutTerms, *, now: float) -> Rollout:
        """Return a held rollout whose first wave begins, on these terms."""
        waves = tuple(Wave(ppm=ppm) for ppm in terms.waves)
        running = replace(self, terms=terms, state=RolloutState.RUNNING, waves=waves)
        return running.with_wave(began=now)

    @property
    def named(self) -> bool:
        """Whether agents whose assignments name it are to have the candidate."""
        return self.began_held and self.state in _GOING

    @property
    def wave(self) -> Wave:
        """The wave that holds."""
        return self.waves[self.current]

    @property
    def ppm(self) -> int:
        """Share that bundles name now."""
        if self.state in {RolloutState.HALTED, RolloutState.HELD}:
            return 0
        return PPM if self.state is RolloutState.PROMOTED else self.wave.ppm

    def with_wave(self, **said: Any) -> Rollout:
        """Return the rollout with other values in its current wave."""
        wave = replace(self.wave, **said)
        return replace(self, waves=(*self.waves[: self.current], wave, *self.waves[self.current + 1 :]))

    def note(self, tally: Tally, *, now: float) -> Rollout:
        """Return the rollout with the marks that the cohort has reached, and when it settled.

        While it is held there is no wave that could settle.
        A wave that would begin in the future begins anew: the clock went back, and no time could be told by it.
        """
        if self.state is RolloutState.HELD:
            return self
        if now < self.wave.began:
            return self.with_wave(began=now, settled=0.0, marks={})
        marks = dict(self.wave.marks)
        for mark in MARKS:
            if mark not in marks and tally.cohort and tally.applied * 100 >= mark * tally.cohort:
                marks[mark] = now
        settled = self.wave.settled
        if not settled and not tally.pending and (tally.applied or not tally.agents):
            settled = now
        if marks == self.wave.marks and settled == self.wave.settled:
            return self
        return self.with_wave(marks=marks, settled=settled)

    def decide(self, tally: Tally, *, now: float) -> tuple[Action, str]:
        """Return what is to be done now, and why in a sentence.

        Args:
            tally: How the cohort is doing; :meth:`note` has seen it.
            now: Unix seconds.
        """
        bad = tally.failed + tally.silent
        if self.state not in {RolloutState.RUNNING, RolloutState.PAUSED}:
            return Action.WAIT, self.reason
        if bad and bad >= self.terms.halt_on * tally.cohort:
            parts = [f"{tally.failed} failed"] * bool(tally.failed)
            parts += [f"{tally.silent} fell silent"] * bool(tally.silent)
            return Action.HALT, f"{' and '.join(parts)} of {tally.cohort} in wave {self.current + 1}"
        if self.state is RolloutState.PAUSED:
            return Action.WAIT, self.reason or "it is paused"
        # Who had applied may have left since: nothing widens that nobody bears.
        if not self.wave.settled or (tally.agents and not tally.applied):
            return Action.WAIT, _waits(tally)
        if now < self.wave.settled + self.terms.soak:
            return Action.WAIT, "it soaks"
        last = self.current == len(self.waves) - 1
        return (Action.PROMOTE if last else Action.WIDEN), "the cohort bears it"

    def widened(self, *, now: float) -> Rollout:
        """Return the rollout in its next wave."""
        done = self.with_wave(ended=now)
        return replace(done, current=self.current + 1, reason="").with_wave(began=now)

    def became(self, state: RolloutState, reason: str = "", *, now: float, by: str = "") -> Rollout:
        """Return the rollout in another state; a wave that is taken up again begins anew."""
        after = replace(self, state=state, reason=reason, since=now, by=by)
        if state is RolloutState.RUNNING and self.state is RolloutState.HALTED:
            return after.with_wave(began=now, settled=0.0, ended=0.0, marks={})
        if state in _GOING or not after.wave.began:
            return after
        return after.with_wave(ended=now)

    def as_dict(self) -> dict[str, Any]:
        """Return the rollout as it is stored."""
        return {
            "id": self.id,
            "soak": self.terms.soak,
            "halt_on": self.terms.halt_on,
            "state": str(self.state),
            "current": self.current,
            "reason": self.reason,
            "since": self.since,
            "by": self.by,
            "began_held": self.began_held,
            "waves": [
                asdict(wave) | {"marks": {str(mark): at for mark, at in wave.marks.items()}}
                for wave in self.waves
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rollout:
        """Return the rollout that :meth:`as_dict` returned."""
        waves = tuple(
            Wave(**wave | {"marks": {int(mark): at for mark, at in wave["marks"].items()}})
            for wave in data["waves"]
        )
        ppms = tuple(wave.ppm for wave in waves)
        return cls(
            id=data["id"],
            terms=RolloutTerms(waves=ppms, soak=data["soak"], halt_on=data["halt_on"]),
            state=RolloutState(data["state"]),
            waves=waves,
            current=data["current"],
            reason=data["reason"],
            # 0.3.0 did not keep them.
            since=data.get("since", 0.0),
            by=data.get("by", ""),
            # Nor did any before 0.6.0.
            began_held=data.get("began_held", False),
        )


def _waits(tally: Tally) -> str:
    """Return what a wave waits for before it soaks."""
    if tally.pending:
        return f"{tally.pending} of {tally.cohort} have not applied yet"
    if tally.cohort:
        return "nobody of the cohort is in contact"
    return "nobody is in the cohort any more" if tally.agents else "its agents are not counted yet"
