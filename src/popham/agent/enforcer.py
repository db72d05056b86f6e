"""Takes bundles, and brings the machine to what they say.

Rules:

1. A bundle is verified, its floor made durable, and only then kept and applied.
2. The last good bundle stays in force until a newer one was applied whole.
3. A document that is refused changes nothing but the sentence that is reported.
4. Whatever was interrupted goes on from what is kept, without asking upstream.
5. What holds is the part of a bundle for the location in which the machine is. A location changes
   without upstream: bodies for all of them are fetched ahead.
6. What is kept and cannot be read counts as none: the machine stays as it is until upstream sends another.
7. With download off the bundle in force stays, and switches among its own locations; settings and
   rules are the newest one's.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from popham.agent.apply import Applied
from popham.agent.in_force import InForce
from popham.agent.kept import read_kept
from popham.agent.records import Progress, Standing
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import PolicyError, StateError, TrustError
from popham.model.bundle import PolicyRef
from popham.model.location import LocationRules, Whereabouts
from popham.model.names import DEFAULT_TENANT
from popham.model.policy import MAX_BODY
from popham.model.status import Outcome
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import check_blob, open_assignment, open_bundle

_log = logging.getLogger(__name__)
Fetch = Callable[[str, int], Awaitable[bytes]]
"""Fetches ``/v1/content/sha256/<digest>``: digest and limit in bytes to body."""


class Applies(Protocol):
    """What an enforcer needs of an applier; :class:`popham.agent.apply.Applier` is one."""

    @property
    def supported(self) -> frozenset[str]:
        """Policy types it can apply."""
        ...

    async def apply(self, policies: Sequence[Applied]) -> None:
        """Make all of ``policies`` hold; raise PolicyError, and the machine is as it was before."""
        ...


async def _stay() -> None:
    """Look nowhere: without a locator a machine stays where it was."""


class Enforcer:
    """Keeps one machine on its orders.

    Attributes:
        look: Finds out where the machine is, and calls :meth:`move`; asked before anything is applied
            under rules that nobody looked by yet.
    """

    def __init__(
        self,
        state: AgentState,
        applier: Applies,
        tuf: TrustedTuf,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        """Read what is kept; nothing is applied before :meth:`settle`.

        Args:
            state: What this machine keeps.
            applier: Brings policies into force.
            tuf: Says whose signature counts.
            clock: For the time at which an outcome began.
            changed: Called when there is something to report.
        """
        self.look: Callable[[], Awaitable[None]] = _stay
        self._state = state
        self._applier = applier
        self._tuf = tuf
        self._clock = clock
        self._changed = changed
        self.progress: Progress = state.progress()
        kept = read_kept(state, tuf)
        self.assignment, self.newest, self.in_force = kept.assignment, kept.newest, kept.in_force
        self.standing = self._remember()
        self._place()
        if kept.error is not None:
            self._keep(error_code=kept.error.code, error=str(kept.error))
        self.drift = state.drift()
        self._confirmed = False
        self._complete = False
        self._looked_by: LocationRules | None = None
        self._applying = asyncio.Lock()

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
        self._state.save_standing(self.standing)
        if moved:
            _log.info(
                "the location is %s, because %s", found.location, ", ".join(found.rules) or "no rule held"
            )
            self._place()
            self._keep(outcome=Outcome.APPLYING, error_code="", error="")
        return moved

    def _place(self) -> None:
        """Put the newest bundle, and what is to be brought into force, where the machine is."""
        if self.newest is not None:
            if self.standing.location not in self.newest.bundle.locations:
                self.standing = replace(self._default(), since=self._clock.now())
                self._state.save_standing(self.standing)
            self.newest = self.newest.at(self.standing.location)
        whole = self.newest is None or self.newest.bundle.download
        self._aim = self.newest if whole else self._placed(self.in_force)

    def _placed(self, held: InForce | None) -> InForce | None:
        return held.at(self.standing.location) if held else None

    @property
    def ordered(self) -> InForce | None:
        """The bundle whose communication settings hold, where the machine is.

        A first bundle that could not be applied counts too: so the next one is heard of.
        """
        if self.newest is not None and not self.newest.bundle.download:
            return self.newest
        return self._placed(self.in_force or self.newest)

    # Documents.

    def assign(self, envelope: bytes) -> None:
        """Take an assignment.

        Raises:
            TrustError: It may not be believed; nothing changed.
        """
        held = self._state.assignment_floor()
        key = self._state.identity_key().keyid
        taken = open_assignment(envelope, tuf=self._tuf, uid=self._state.uid, spki_sha256=key, seq_floor=held)
        if self.assignment is None or taken.seq > held:
            self._state.save_assignment_floor(taken.seq)
            self._state.save_assignment(envelope)
            self.assignment = taken
            self._changed()

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
        self.newest = InForce.of(bundle, self._state.uid, envelope)
        self._complete = False
        self._place()
        if not known:
            self._note(outcome=Outcome.APPLYING, error_code="", error="")
        elif self.progress.error_code and self.progress.outcome is Outcome.APPLIED:
            self._note(error_code="", error="")
        else:
            self._changed()

    # The machine.

    async def settle(self, fetch: Fetch) -> None:
        """Bring the newest bundle into force, if that is still to be done, and fetch what other locations need.

        At the first call of a process also what was in force is looked at again,
        since files, or what the machine permits, may have changed while no agent ran.

        Raises:
            LinkError: A body could not be fetched; the next call goes on.
        """
        rules = self.rules
        if rules is not None and rules != self._looked_by:
            await self.look()
        try:
            while self.newest is not None and self._unsettled:
                aim = self._aim
                policies = [await self._body(ref, fetch) for ref in self._known(aim)]
                async with self._applying:
                    # Meanwhile the machine may have moved, or somebody else may have done it.
                    if aim is self._aim and self._unsettled:
                        await self._bring(aim, policies)
            await self._fetch_ahead(fetch)
        except TrustError as error:
            self.refuse(error)
        except PolicyError as error:
            self._fail(error)

    @property
    def _unsettled(self) -> bool:
        return not self._confirmed or self.progress.outcome is Outcome.APPLYING

    @property
    def missing(self) -> bool:
        """Whether a body of the newest bundle, in whatever location, has still to be fetched."""
        if self.newest is None or self._complete or not self.newest.bundle.download:
            return False
        refs = (ref for name in self.newest.bundle.locations for ref in self._known(self.newest.at(name)))
        return any(self._state.blob(ref.sha256) is None for ref in refs)

    def _known(self, held: InForce | None) -> list[PolicyRef]:
        """Return the policies that hold there and that the applier knows."""
        refs = held.held.policies if held else ()
        return [ref for ref in refs if ref.type in self._applier.supported]

    async def _bring(self, aim: InForce | None, policies: Sequence[Applied]) -> None:
        """Bring ``aim`` into force; None while download is off and nothing ever was."""
        try:
            if aim is not None:
                await self._applier.apply(policies)
        except (PolicyError, StateError) as error:
            await self._fall_back()
            if aim is self._aim:
                self._fail(error)
            return
        arrived, known = aim is self._aim, self._is_noted(aim)
        self._confirmed = self._confirmed or arrived
        if known:
            return
        said: dict[str, Any] = {"outcome": Outcome.APPLIED, "error_code": "", "error": ""} if arrived else {}
        if aim is not None:
            _log.info("serial %d is applied, group %s in %s", aim.serial, aim.bundle.group, aim.location)
            if self.in_force is None or self.in_force.bundle is not aim.bundle:
                self._state.save_last_good(aim.envelope)
            self.in_force = aim
            said |= {"applied_serial": aim.serial, "applied_resolved": aim.held.resolved_digest}
        self._note(**said)

    def _is_noted(self, aim: InForce | None) -> bool:
        """Return whether it is kept already that ``aim`` is in force; a kill may come before that."""
        if self.progress.outcome is not Outcome.APPLIED or aim is None:
            return self.progress.outcome is Outcome.APPLIED
        held = self.in_force
        same = held is not None and held.bundle.content_digest == aim.bundle.content_digest
        return same and self.progress.applied_resolved == aim.held.resolved_digest

    async def _fall_back(self) -> None:
        """Where the newest cannot be applied, the last good one follows the machine by what is here of it."""
        held = self._placed(self.in_force)
        if held is None or held is self.in_force or held == self._aim:
            return
        bodies = [(ref, self._state.blob(ref.sha256)) for ref in self._known(held)]
        here = [Applied(ref, json.loads(body)["body"]) for ref, body in bodies if body is not None]
        if len(here) < len(bodies):
            return
        try:
            await self._applier.apply(here)
        except (PolicyError, StateError) as error:
            _log.warning("serial %d was not applied in %s: %s", held.serial, held.location, error)
            return
        self.in_force = held
        self._keep(applied_resolved=held.held.resolved_digest)

    def _fail(self, error: PolicyError | StateError) -> None:
        serial = self.newest.serial if self.newest else 0
        _log.warning("serial %d was not applied: %s", serial, error)
        self._confirmed = True
        self._note(outcome=Outcome.FAILED, error_code=error.code, error=str(error))

    async def _fetch_ahead(self, fetch: Fetch) -> None:
        """Fetch the bodies of every location, so that a change of location needs nobody."""
        if self.newest is None or self._complete:
            return
        newest = self.newest
        for location in newest.bundle.locations:
            for ref in self._known(newest.at(location)):
                await self._body(ref, fetch)
        self._complete = newest.bundle is self.newest.bundle

    def look_again(self) -> None:
        """Have the next :meth:`settle` try a failed set again, and look at what is in force."""
        self._confirmed = False

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Policy types of the newest bundle that this agent has no applier for."""
        if self.newest is None:
            return ()
        types = {ref.type for ref in self.newest.held.policies}
        return tuple(sorted(types - self._applier.supported))

    def revise(self) -> None:
        """Take a new revision for a state record that says something else than the last."""
        self.progress = replace(self.progress, revision=self.progress.revision + 1)
        self._state.save_progress(self.progress)

    async def _body(self, ref: PolicyRef, fetch: Fetch) -> Applied:
        body = self._state.blob(ref.sha256)
        if body is None:
            if self.newest is not None and not self.newest.bundle.download:
                problem = f"policy {ref.name} is not on this machine, and download is off"
                raise PolicyError("not_here", problem, "Turn download on for the group")
            if ref.length > MAX_BODY:
                raise TrustError("size", f"policy {ref.name} has {ref.length} bytes; {MAX_BODY} are allowed")
            body = await fetch(ref.sha256, ref.length)
            check_blob(body, ref.sha256, ref.length)
            self._state.put_blob(ref.sha256, body)
        return Applied(ref, json.loads(body)["body"])

    def _note(self, **said: Any) -> None:
        """Make progress durable, with a new revision, and have it reported; what was said is not said again."""
        if self._keep(**said):
            self._changed()

    def _keep(self, **said: Any) -> bool:
        """Make progress durable; return whether something in it is new."""
        if all(getattr(self.progress, name) == value for name, value in said.items()):
            return False
        revision = self.progress.revision + 1
        if "outcome" in said and said["outcome"] is not self.progress.outcome:
            said["since"] = self._clock.now()
        self.progress = replace(self.progress, revision=revision, **said)
        self._state.save_progress(self.progress)
        return True
