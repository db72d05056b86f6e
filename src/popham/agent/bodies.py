"""Bodies of the policies that a bundle names: read here, or fetched from upstream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from popham.agent.in_force import InForce
from popham.agent.planning import Applied
from popham.agent.records import Parts
from popham.agent.state import AgentState
from popham.errors import LinkError, PolicyError, StateError, TrustError
from popham.model.bundle import PolicyRef
from popham.model.policy import MAX_BODY
from popham.trust.verify import check_blob

Fetch = Callable[[str, int], Awaitable[bytes]]
"""Fetches ``/v1/content/sha256/<digest>``: digest and limit in bytes to body."""
_FORBIDDEN = 403


class AskedOnce:
    """Fetches bodies, and asks once only for each that upstream refuses."""

    def __init__(self, fetch: Fetch) -> None:
        """Ask ``fetch``."""
        self._fetch = fetch
        self._refused: dict[str, LinkError] = {}

    async def __call__(self, sha256: str, limit: int) -> bytes:
        """Return a body; raises as the fetch does."""
        if sha256 in self._refused:
            raise self._refused[sha256]
        try:
            return await self._fetch(sha256, limit)
        except LinkError as error:
            if error.status == _FORBIDDEN:
                self._refused[sha256] = error
            raise


@dataclass(frozen=True, slots=True)
class Gathered:
    """What can be applied of a set.

    Attributes:
        policies: With their bodies.
        withheld: Names of policies whose bodies upstream does not give yet.
        resolved: Resolved digest of what ``policies`` make; empty for nothing.
        parts: The same by name, where something is withheld.
    """

    policies: tuple[Applied, ...]
    withheld: tuple[str, ...] = ()
    resolved: str = ""
    parts: Parts | None = None


class Bodies:
    """Finds bodies of the types that an applier knows."""

    def __init__(self, state: AgentState, supported: Callable[[], Collection[str]]) -> None:
        """Keep what is fetched in ``state``.

        Args:
            state: What this machine keeps.
            supported: Returns the types that can be applied.
        """
        self._state = state
        self._supported = supported

    def known(self, held: InForce | None) -> list[PolicyRef]:
        """Return the policies that hold there and that the applier knows."""
        refs = held.held.policies if held else ()
        return [ref for ref in refs if ref.type in self._supported()]

    def everywhere(self, held: InForce) -> list[PolicyRef]:
        """Return the policies of all its locations that the applier knows."""
        return [ref for name in held.bundle.locations for ref in self.known(held.at(name))]

    def lacks(self, refs: Iterable[PolicyRef]) -> bool:
        """Return whether a body is not here."""
        return any(self._state.blob(ref.sha256) is None for ref in refs)

    def read(self, held: InForce | None) -> list[Applied] | None:
        """Return what holds there with its bodies; None if one of them is not here.

        Raises:
            PolicyError: ``policy.malformed``.
        """
        found = [self._here(ref) for ref in self.known(held)]
        return None if None in found else [one for one in found if one is not None]

    def recall(self, held: InForce | None) -> list[Applied]:
        """Return what holds there with its bodies.

        Raises:
            StateError: ``state.body``: one of them is not here.
            PolicyError: ``policy.malformed``.
        """
        found = self.read(held)
        if found is None:
            raise StateError("body", "a policy's body is no longer on this machine", "Publish it again")
        return found

    async def gather(
        self, aim: InForce | None, former: InForce | None, fetch: Fetch, *, download: bool
    ) -> Gathered:
        """Return what can be applied of ``aim``: what upstream withholds stays in its former version.

        Args:
            aim: What is to hold.
            former: What is in force.
            fetch: Fetches a body.
            download: Whether bodies may be fetched.

        Raises:
            LinkError: A body could not be fetched.
            PolicyError: ``policy.not_here``: it may not be fetched. ``policy.malformed``.
            TrustError: What was fetched is not what was named.
        """
        if aim is None:
            return Gathered(())
        policies: list[Applied] = []
        instead: dict[PolicyRef, PolicyRef | None] = {}
        for ref in self.known(aim):
            try:
                policies.append(await self.get(ref, fetch, download=download))
            except LinkError as error:
                if error.status != _FORBIDDEN:
                    raise
                stays = self._former(ref, former)
                instead[ref] = stays.ref if stays else None
                policies += [stays] if stays else []
        if not instead:
            return Gathered(tuple(policies), (), aim.held.resolved_digest)
        refs = [instead.get(ref, ref) for ref in aim.held.policies]
        parts = Parts(location=aim.location, policies=tuple(ref for ref in refs if ref is not None))
        names = tuple(ref.name for ref in instead)
        return Gathered(tuple(policies), names, aim.only(parts).held.resolved_digest, parts)

    async def get_ahead(self, refs: Sequence[PolicyRef], fetch: Fetch) -> bool:
        """Fetch bodies that are not needed yet; return whether all are here. Raises as :meth:`gather`."""
        whole = True
        for ref in refs:
            try:
                await self.get(ref, fetch, download=True)
            except LinkError as error:
                if error.status != _FORBIDDEN:
                    raise
                whole = False
        return whole

    async def get(self, ref: PolicyRef, fetch: Fetch, *, download: bool) -> Applied:
        """Return a policy with its body. Raises as :meth:`gather`."""
        found = self._here(ref)
        if found is not None:
            return found
        if not download:
            problem = f"policy {ref.name} is not on this machine, and download is off"
            raise PolicyError("not_here", problem, "Turn download on for the group")
        if ref.length > MAX_BODY:
            raise TrustError("size", f"policy {ref.name} has {ref.length} bytes; {MAX_BODY} are allowed")
        body = await fetch(ref.sha256, ref.length)
        check_blob(body, ref.sha256, ref.length)
        self._state.put_blob(ref.sha256, body)
        return Applied.read(ref, body)

    def _here(self, ref: PolicyRef) -> Applied | None:
        body = self._state.blob(ref.sha256)
        return None if body is None else Applied.read(ref, body)

    def _former(self, wanted: PolicyRef, former: InForce | None) -> Applied | None:
        found = [self._here(ref) for ref in self.known(former) if ref.type == wanted.type]
        return found[0] if found else None
