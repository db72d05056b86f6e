"""How one agent of a cohort is doing, by what it said and when it was heard. Pure.

Rules:

1. It has applied, or failed, by its own word under a digest of the candidate; nothing else counts.
2. Where the candidate is what held before, such as in a location that the change leaves alone, there is
   nothing to apply and nothing to fail.
3. Times are this Manager's: an agent's own clock may be hours off, and is believed within bounds only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from popham.manager.judgement import show_span
from popham.manager.rollout_views import Troubled
from popham.model.bundle import Bundle, Side
from popham.model.status import Downtime, Outcome, Presence, StateRecord, presence
from popham.upstream.record import Record

NOT_YET = 0.0
"""Since when an agent has the candidate that was seen without it."""
AHEAD = 60.0
"""Seconds: who was heard so much later than a look began was heard before the clock went back, and not meanwhile."""


@dataclass(slots=True)
class Followed:
    """A group of a rollout: its bundle, and under which digests its cohort has the candidate."""

    bundle: Bundle
    candidate: Side
    digests: frozenset[str]
    resolved: dict[str, str] = field(default_factory=dict)
    changes: dict[str, bool] = field(default_factory=dict)

    def resolved_at(self, location: str) -> str:
        """Return the digest of the resolved policy that the candidate has in a location."""
        held = self.candidate.locations
        name = location if location in held else self.candidate.default_location
        if name not in self.resolved:
            self.resolved[name] = held[name].resolved_digest
        return self.resolved[name]

    def changes_at(self, location: str) -> bool:
        """Return whether the candidate brings something else to who is in a location."""
        if location not in self.changes:
            stable = self.bundle.stable
            known = stable.traits() == self.candidate.traits() and location in stable.locations
            same = known and stable.locations[location].resolved_digest == self.resolved_at(location)
            self.changes[location] = not same
        return self.changes[location]


@dataclass(slots=True)
class Seen:
    """Since when agents have the candidate, by this Manager's clock, as far as it has watched them.

    Attributes:
        begun: When the rollout began: nobody had it before.
        since: Agent → when it was first seen with it; :data:`NOT_YET` if it was seen without.
        counted: Whether the cohort was counted once: who comes into it later had not applied until then.
    """

    begun: float
    since: dict[str, float] = field(default_factory=dict)
    counted: bool = False

    def note(self, uid: str, *, applied: bool, said: float, heard: float, now: float) -> None:
        """Take note of one agent; ``said`` is since when it has the candidate by its own clock."""
        if not applied:
            self.since[uid] = NOT_YET
        elif not self.since.get(uid):
            known = self.counted or uid in self.since
            self.since[uid] = now if known else max(self.begun, min(said, heard))


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a cohort: when, when its wave began, how long that soaks, and when this Manager was away."""

    now: float
    began: float
    soak: float
    downtimes: Sequence[Downtime]
    seen: Seen

    def judge(self, record: Record, group: Followed) -> str:
        """Return how an agent of the cohort is doing: a field of :class:`Tally`."""
        state = record.state
        if state is not None and has_failed(state, group):
            self.seen.since[record.uid] = NOT_YET
            return "failed"
        on_time = self._presence(record, self.now) is Presence.ON_TIME
        applied = state is not None and has_applied(state, group)
        said, heard = state.since if state is not None else 0.0, record.last_contact
        self.seen.note(record.uid, applied=applied, said=said, heard=heard or 0.0, now=self.now)
        if on_time:
            return "applied" if applied else "pending"
        if applied and self._has_borne(record):
            return "applied"
        if heard is not None and (
            heard >= self.began or self._presence(record, self.began) is Presence.ON_TIME
        ):
            return "silent"
        return "applied" if applied else "away"

    def awaits(self, record: Record) -> bool:
        """Return whether an agent that is not late was not heard since this Manager is back."""
        if not self.downtimes or record.last_contact is None or record.last_contact >= self.downtimes[-1].end:
            return False
        return self._presence(record, self.now) is Presence.ON_TIME

    def _has_borne(self, record: Record) -> bool:
        """Return whether an agent was heard of for a soak, and a promise, after it had applied.

        Who is silent after that is switched off, or has another fault.
        """
        if record.last_contact is None:
            return False
        return record.last_contact - self.seen.since[record.uid] >= max(self.soak, record.promise)

    def _presence(self, record: Record, at: float) -> Presence:
        """Return whether an agent kept its promise; each begins anew when this Manager is back.

        What lies in the future was before the clock went back; the wave begins anew then, and so does the promise.
        """
        heard = record.last_contact
        if heard is not None and heard > self.now + AHEAD:
            heard = self.began
        if heard is not None and self.downtimes:
            heard = max(heard, min(self.downtimes[-1].end, at))
        return presence(heard, record.promise, at)

    def explain(self, record: Record, how: str) -> Troubled:
        """Return an agent of the cohort with what is the matter, in a sentence."""
        state, code = record.state, how
        ago = show_span(self.now - record.last_contact) if record.last_contact is not None else ""
        if how == "failed" and state is not None:
            code, reason = state.error_code or how, state.error or "could not apply it"
        elif how == "silent":
            reason = f"not seen for {ago}, though it promised to come every {show_span(record.promise)}"
        elif how == "away":
            reason = f"not seen for {ago}" if ago else "never seen"
        elif state is not None and state.error_code.startswith("trust."):
            code, reason = state.error_code, f"refused what came: {state.error}"
        elif state is not None and state.withheld:
            reason = f"waits for policies {', '.join(state.withheld)}"
        elif record.link is not None:
            reason = "told over its held link; waits for its answer"
        else:
            left = (record.last_contact or self.now) + record.promise - self.now
            reason = (
                f"waits for its heartbeat in {show_span(left)}" if left > 0 else "waits for its heartbeat"
            )
        return Troubled(name=record.name, uid=record.uid, group=record.group, code=code, reason=reason)


def has_failed(state: StateRecord, group: Followed) -> bool:
    """Return whether an agent says that it could not apply the candidate, or undid it."""
    if state.outcome is not Outcome.FAILED or state.content_digest not in group.digests:
        return False
    if not group.changes_at(state.location):
        return False
    return state.resolved in {"", group.resolved_at(state.location)}


def has_applied(state: StateRecord, group: Followed) -> bool:
    """Return whether an agent says that the candidate is in force, or that it has what is the same."""
    if state.content_digest not in group.digests:
        return False
    if not group.changes_at(state.location):
        return True
    if not group.candidate.download:
        return state.outcome is not Outcome.FAILED
    applied = state.outcome is Outcome.APPLIED
    return applied and state.applied_resolved == group.resolved_at(state.location)
