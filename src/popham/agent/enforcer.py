"""Takes bundles, and brings the machine to what they say.

Rules:

1. A bundle is verified, its floor made durable, and only then kept and applied.
2. The last good set stays in force until a newer one was applied whole.
3. A document that is refused changes nothing but the sentence that is reported.
4. Whatever was interrupted goes on from what is kept, without asking upstream.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from popham.agent.apply import Applied
from popham.agent.state import AgentState, Progress
from popham.clock import Clock
from popham.errors import PolicyError, StateError, TrustError
from popham.model.bundle import BUNDLE_TYPE, Bundle, LocationSet, PolicyRef
from popham.model.names import DEFAULT_TENANT
from popham.model.policy import MAX_BODY
from popham.model.status import Outcome
from popham.trust.assignment import Assignment
from popham.trust.dsse import Envelope
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import check_blob, open_assignment, open_bundle

_log = logging.getLogger(__name__)
Fetch = Callable[[str, int], Awaitable[bytes]]
"""Fetches ``/v1/content/sha256/<digest>``: digest and limit in bytes to body."""


@dataclass(frozen=True, slots=True)
class InForce:
    """A bundle on this machine, and the location whose part of it holds."""

    bundle: Bundle
    location: str

    @property
    def held(self) -> LocationSet:
        """What holds here."""
        return self.bundle.locations[self.location]


class Applies(Protocol):
    """What an enforcer needs of an applier; :class:`popham.agent.apply.Applier` is one."""

    @property
    def supported(self) -> frozenset[str]:
        """Policy types it can apply."""
        ...

    async def apply(self, policies: Sequence[Applied]) -> None:
        """Make all of ``policies`` hold; raise PolicyError, and the machine is as it was before."""
        ...


class Enforcer:
    """Keeps one machine on its orders."""

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
        self._state = state
        self._applier = applier
        self._tuf = tuf
        self._clock = clock
        self._changed = changed
        self.progress: Progress = state.progress()
        self.assignment = self._read_assignment()
        self.newest = self._read(state.bundle())
        self.in_force = self._read(state.last_good())
        self._confirmed = False

    def _read(self, envelope: bytes | None) -> InForce | None:
        """Return a bundle kept here; its signature is checked again, its floor is not."""
        if envelope is None or self.assignment is None:
            return None
        payload = Envelope.parse(envelope, types=(BUNDLE_TYPE,)).payload
        group = Bundle.from_payload(payload).group
        bundle, _ = open_bundle(envelope, tuf=self._tuf, tenant=DEFAULT_TENANT, group=group, floor=None)
        return InForce(bundle, bundle.default_location)

    def _read_assignment(self) -> Assignment | None:
        envelope = self._state.assignment()
        if envelope is None:
            return None
        key = self._state.identity_key().keyid
        return open_assignment(envelope, tuf=self._tuf, uid=self._state.uid, spki_sha256=key, seq_floor=0)

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
        self.newest = InForce(bundle, bundle.default_location)
        if not known:
            self._note(outcome=Outcome.APPLYING, error_code="", error="")
        elif self.progress.error_code and self.progress.outcome is Outcome.APPLIED:
            self._note(error_code="", error="")
        else:
            self._changed()

    # The machine.

    async def settle(self, fetch: Fetch) -> None:
        """Bring the newest bundle into force, if that is still to be done.

        At the first call of a process also what was in force is looked at again,
        since files, or what the machine permits, may have changed while no agent ran.

        Raises:
            LinkError: A body could not be fetched; the next call goes on.
        """
        if self.newest is None:
            return
        if self._confirmed and self.progress.outcome is not Outcome.APPLYING:
            return
        newest = self.newest
        try:
            known = [ref for ref in newest.held.policies if ref.type in self._applier.supported]
            policies = [await self._body(ref, fetch) for ref in known]
        except TrustError as error:
            self.refuse(error)
            return
        try:
            await self._applier.apply(policies)
        except (PolicyError, StateError) as error:
            _log.warning("serial %d was not applied: %s", newest.bundle.serial, error)
            self._confirmed = True
            self._note(outcome=Outcome.FAILED, error_code=error.code, error=str(error))
            return
        self._confirmed = True
        if self.progress.outcome is Outcome.APPLIED:
            return
        _log.info("serial %d of group %s is applied", newest.bundle.serial, newest.bundle.group)
        self._state.save_last_good()
        self.in_force = newest
        self._note(
            outcome=Outcome.APPLIED,
            error_code="",
            error="",
            applied_serial=newest.bundle.serial,
            applied_resolved=newest.held.resolved_digest,
        )

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
            if ref.length > MAX_BODY:
                raise TrustError("size", f"policy {ref.name} has {ref.length} bytes; {MAX_BODY} are allowed")
            body = await fetch(ref.sha256, ref.length)
            check_blob(body, ref.sha256, ref.length)
            self._state.put_blob(ref.sha256, body)
        return Applied(ref, json.loads(body)["body"])

    def _note(self, **said: Any) -> None:
        """Make progress durable, with a new revision, and have it reported; what was said is not said again."""
        if all(getattr(self.progress, name) == value for name, value in said.items()):
            return
        revision = self.progress.revision + 1
        if "outcome" in said and said["outcome"] is not self.progress.outcome:
            said["since"] = self._clock.now()
        self.progress = replace(self.progress, revision=revision, **said)
        self._state.save_progress(self.progress)
        self._changed()
