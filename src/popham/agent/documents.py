"""What a machine was told, where it is, and how far it got: everything but the bringing into force.

Rules:

1. A bundle is verified, its floor made durable, and only then kept.
2. A document that is refused changes nothing but the sentence that is reported.
3. What is kept and cannot be read counts as none: the machine stays as it is until upstream sends another.
4. A bundle whose part for this machine is in force already is taken as it is; nothing is applied again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from popham.agent.in_force import InForce
from popham.agent.kept import read_kept
from popham.agent.probation import Trials
from popham.agent.records import Drift, Progress, Standing, Undone
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import StateError, TrustError
from popham.model.location import LocationRules, Whereabouts
from popham.model.names import DEFAULT_TENANT
from popham.model.status import Outcome
from popham.trust.assignment import Assignment
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import check_blob, open_assignment, open_bundle

_log = logging.getLogger(__name__)


class Documents:
    """What one machine was told; :class:`popham.agent.enforcer.Enforcer` brings it into force.

    Attributes:
        progress: How far the newest bundle got.
        assignment: The newest assignment; None if there is none.
        newest: The newest bundle accepted; None if there is none.
        in_force: The bundle in force; None if there is none.
        standing: Where the machine is.
        drift: What was found to differ from what is in force.
        trials: What is watched, and what was undone.
        blocked: Why the newest bundle's part for this machine is not brought into force: it was undone.
    """

    def __init__(
        self,
        state: AgentState,
        tuf: TrustedTuf,
        clock: Clock,
        changed: Callable[[], None],
        trials: Trials | None = None,
    ) -> None:
        """Read what is kept.

        Args:
            state: What this machine keeps.
            tuf: Says whose signature counts.
            clock: For the time at which an outcome began.
            changed: Called when there is something to report.
            trials: Watch what comes into force; None, and nothing is watched.
        """
        self._state = state
        self._tuf = tuf
        self._clock = clock
        self._changed = changed
        self.trials = trials or Trials(state, clock)
        self.progress: Progress = state.progress()
        self.drift: Drift = state.drift()
        kept = read_kept(state, tuf)
        self.assignment, self.newest, self.in_force = kept.assignment, kept.newest, kept.in_force
        self.blocked: Undone | None = None
        self._aim: InForce | None = None
        self._complete = self._in_touch = self._unsaved = False
        self._looked_by: LocationRules | None = None
        self.standing = self._remember()
        self._place()
        if kept.error is not None:
            self._keep(error_code=kept.error.code, error=str(kept.error))

    @property
    def known_time(self) -> float:
        """The latest time that is known for certain, in unix seconds: the clock's, or that of the director's documents."""
        newest, assignment = self.newest, self.assignment
        signed = max(newest.bundle.issued if newest else 0, assignment.issued if assignment else 0)
        return max(self._clock.now(), signed)

    # Where the machine is.

    @property
    def rules(self) -> LocationRules | None:
        """The newest rules; None where there is nothing to find out."""
        rules = self.newest.bundle.rules if self.newest else None
        return rules if rules and any(location.when for location in rules.locations) else None

    def _remember(self) -> Standing:
        """Return where to begin: where the machine was last, if the rules want that remembered."""
        rules, last = self.rules, self._state.standing()
        if rules and rules.remembers and last and last.location in rules.names:
            return last
        if last and self.newest and last.location not in self.newest.bundle.locations:
            return last  # placing takes note that it is gone
        return self._default()

    def _default(self) -> Standing:
        bundle = self.newest.bundle if self.newest else None
        return Standing(location=bundle.default_location) if bundle else Standing()

    def move(self, found: Whereabouts, by: LocationRules) -> bool:
        """Take note of where the machine is; return whether that is another location.

        Nothing is applied or reported before the next :meth:`settle`.

        Args:
            found: Where it is.
            by: The rules that say so; if they are no longer the newest, nothing changes.
        """
        if by != self.rules:
            return False
        self._looked_by = by
        here = self.standing
        moved = found.location != here.location
        if not moved and found.rules == here.rules:
            return False
        since = self._clock.now() if moved or not here.since else here.since
        self.standing = Standing(location=found.location, rules=found.rules, since=since)
        self._save_standing()
        if moved:
            self._in_touch = False
            _log.info(
                "the location is %s, because %s", found.location, ", ".join(found.rules) or "no rule held"
            )
            self._place()
            self._keep(outcome=Outcome.APPLYING, error_code="", error="", withheld=())
        return moved

    def _save_standing(self) -> None:
        try:
            self._state.save_standing(self.standing)
        except StateError as error:
            # The next process looks around anyway.
            _log.warning("where the machine is, is not kept: %s", error)

    def _place(self) -> None:
        """Put the newest bundle, and what is to be brought into force, where the machine is."""
        if self.newest is not None:
            if self.standing.location not in self.newest.bundle.locations:
                self.standing = replace(self._default(), since=self._clock.now())
                self._save_standing()
            self.newest = self.newest.at(self.standing.location)
        whole = self.newest is None or self.newest.bundle.download
        self._aim = self.newest if whole else self._placed(self.in_force)
        self.blocked = self.trials.undone(self._aim.held.resolved_digest) if self._aim else None
        if self.blocked is not None:
            held = self.in_force
            self._aim = held.where(self.progress.applied_resolved) if held else None

    def _placed(self, held: InForce | None) -> InForce | None:
        return held.at(self.standing.location) if held else None

    @property
    def ordered(self) -> InForce | None:
        """The bundle whose communication settings hold, where the machine is.

        A first bundle that could not be applied counts too: so the next one is heard of.  One of which
        something is withheld holds but for that.
        """
        if self.newest is not None and (self.progress.withheld or not self.newest.bundle.download):
            return self.newest
        return self._placed(self.in_force or self.newest)

    # Documents.

    def assign(self, envelope: bytes) -> None:
        """Take an assignment.

        Raises:
            TrustError: It may not be believed; nothing changed.
        """
        held = self._assignment_floor
        taken = self.check_assignment(envelope, self._state.identity_key().keyid)
        if self.assignment is None or taken.seq > held:
            if self.assignment is not None and taken.group != self.assignment.group:
                # It was counted by the group that the machine leaves; a minimum serial is another's.
                self._keep(applied_serial=0)
            self._state.save_assignment_floor(taken.seq)
            self._state.save_assignment(envelope)
            self.assignment = taken
            self._changed()
            self._choose(taken)

    @property
    def _assignment_floor(self) -> int:
        """Number below which no assignment is taken; the first one came with the certificate, and counts too."""
        return max(self._state.assignment_floor(), self.assignment.seq if self.assignment else 0)

    def check_assignment(self, envelope: bytes, keyid: str) -> Assignment:
        """Return an assignment that may be taken, for the key of this id.

        Raises:
            TrustError: It may not be believed.
        """
        floor, uid = self._assignment_floor, self._state.uid
        return open_assignment(envelope, tuf=self._tuf, uid=uid, spki_sha256=keyid, seq_floor=floor)

    def _choose(self, taken: Assignment) -> None:
        """Go to the side of the newest bundle that an assignment says, if that is another.

        A process that ends before this is noted has the next one look at what is in force anyway.
        """
        newest = self.newest
        if newest is None or newest.other is None or newest.bundle.group != taken.group:
            return
        if newest.whole.is_candidate(taken.uid, taken.candidate) != newest.uses_candidate:
            self.newest = newest.other
            self._arrive(known=False)

    def take(self, envelope: bytes, blobs: Mapping[str, bytes]) -> None:
        """Take a bundle and the bodies that came with it; what is refused is reported."""
        try:
            self._take(envelope, blobs)
        except TrustError as error:
            self.refuse(error)

    def refuse(self, error: TrustError) -> None:
        """Take note that a document was refused: everything stays as it is, and the reason is reported."""
        _log.warning("a document was refused: %s", error)
        self._note(error_code=error.code, error=str(error))

    def _take(self, envelope: bytes, blobs: Mapping[str, bytes]) -> None:
        if self.assignment is None:
            raise TrustError("assignment", "a bundle came before an assignment")
        group = self.assignment.group
        floor = self._state.floor(DEFAULT_TENANT, group)
        bundle, fresh = open_bundle(envelope, tuf=self._tuf, tenant=DEFAULT_TENANT, group=group, floor=floor)
        wanted = bundle.blobs()
        for sha256, body in blobs.items():
            if sha256 in wanted:
                check_blob(body, sha256, wanted[sha256])
                self._state.put_blob(sha256, body)
        if floor is None or fresh.version > floor.version:
            self._state.save_floor(DEFAULT_TENANT, group, fresh)
        self._state.save_bundle(envelope)
        known = self.newest is not None and self.newest.bundle.content_digest == bundle.content_digest
        self.newest = InForce.of(bundle, self._state.uid, envelope, self.assignment.candidate)
        self._arrive(known=known)

    def _arrive(self, *, known: bool) -> None:
        """Take note of the newest bundle, or of its other side; ``known`` if it is what it was before."""
        self._complete, self._in_touch = False, True
        self._place()
        if self.blocked is not None:
            self._note(
                outcome=Outcome.FAILED, error_code=self.blocked.code, error=self.blocked.error, withheld=()
            )
        elif not known and self.newest is not None and self._holds_already():
            self._adopt(self.newest)
        elif not known:
            self._note(outcome=Outcome.APPLYING, error_code="", error="", withheld=())
        elif self.progress.error_code and self.progress.outcome is Outcome.APPLIED:
            self._note(error_code="", error="")
        else:
            self._changed()

    def _holds_already(self) -> bool:
        """Return whether the newest bundle brings this machine, where it is, what it has."""
        newest, progress = self.newest, self.progress
        if newest is None or self.in_force is None or not newest.bundle.download:
            return False
        same = newest.held.resolved_digest == progress.applied_resolved
        return same and progress.outcome is Outcome.APPLIED

    def _adopt(self, newest: InForce) -> None:
        """Take a bundle as the one in force, without doing anything to the machine."""
        self._state.save_last_good(newest.envelope)
        self.in_force = newest
        _log.info("serial %d changes nothing here, and is in force", newest.serial)
        self._note(applied_serial=newest.serial, error_code="", error="")
        self._changed()

    def _is_known(self, resolved: str) -> bool:
        """Return whether a set is what holds, or one that a bundle kept here may bring."""
        kept = [held for held in (self.newest, self.in_force) if held is not None]
        sides = [side for held in kept for side in (held, held.other) if side is not None]
        return resolved == self.progress.applied_resolved or any(side.brings(resolved) for side in sides)

    @property
    def _follows(self) -> bool:
        """Whether other content than what is undone came meanwhile, or another location, and is still to be applied."""
        applying = self.progress.outcome is Outcome.APPLYING and not self.progress.withheld
        return applying and self.blocked is None and self.newest is not None

    # What is kept and reported.

    def note_drift(self, drift: Drift) -> None:
        """Keep what was found to differ, and have it reported."""
        if drift != self.drift:
            self.drift = drift
            self._changed()
            self._state.save_drift(drift)

    def revise(self) -> None:
        """Take a new revision for a state record that says something else than the last."""
        self._save(replace(self.progress, revision=self._next_revision()), durable=False)

    def _next_revision(self) -> int:
        """Return a revision above the last, and no lower than the time in ms.

        So a state directory that was copied back from earlier is heard at once, and not only when it has caught up.
        """
        return max(self.progress.revision + 1, int(self._clock.now() * 1000))

    def _note(self, **said: Any) -> None:
        """Make progress durable, with a new revision, and have it reported; what was said is not said again."""
        if self._keep(**said):
            self._changed()

    def _keep(self, *, durable: bool = False, **said: Any) -> bool:
        """Keep progress; return whether something in it is new.

        Args:
            durable: Raise if the disk takes nothing; else that is made good at the next contact.
            said: Fields of it.
        """
        if all(getattr(self.progress, name) == value for name, value in said.items()):
            return False
        revision = self._next_revision()
        if "outcome" in said and said["outcome"] is not self.progress.outcome:
            said["since"] = self._clock.now()
        self._save(replace(self.progress, revision=revision, **said), durable=durable)
        return True

    def _save_again(self) -> None:
        """Make good what could not be kept."""
        if self._unsaved:
            self._save(self.progress, durable=False)

    def _save(self, progress: Progress, *, durable: bool) -> None:
        try:
            self._state.save_progress(progress)
            self._unsaved = False
        except StateError as error:
            if durable:
                raise
            _log.warning("how far the policies are is not kept yet: %s", error)
            self._unsaved = True
        self.progress = progress
