"""What people can do with rollouts: look, pause, resume, halt, promote and undo them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType

from popham.errors import ConflictError
from popham.manager.agent_service import AgentService
from popham.manager.candidates import begin_waves
from popham.manager.grant import Grant, Permission, require
from popham.manager.rollout_telling import view_rollout
from popham.manager.rollout_views import RolloutView
from popham.manager.rollouts import StoredRollout, find_open, find_rollout, open_rollout, step
from popham.manager.undoing import undo
from popham.model.rollout import RolloutState, RolloutTerms
from popham.store.rows import BundleRow
from popham.store.seam import Reading, Writing

SHOWN = 200
"""Rollouts that a list has, the newest ones."""
Change = Callable[[Writing, StoredRollout], tuple[StoredRollout, Sequence[BundleRow]]]


class RolloutService(AgentService):
    """The part of the service that is about rollouts."""

    async def rollouts(self, grant: Grant, *, open_only: bool = False) -> tuple[RolloutView, ...]:
        """Return rollouts, the newest first: all up to :data:`SHOWN`, or those that are not over."""
        require(grant, Permission.READ)

        def work(tx: Reading) -> list[StoredRollout]:
            # They can be large, and are taken apart where no link waits for it.
            return [open_rollout(row) for row in tx.rollouts(open_only=open_only, limit=SHOWN)]

        return await self._show_all(await self._store.read(work))

    async def rollout(self, grant: Grant, name: str) -> RolloutView:
        """Return one rollout, and whom it troubles; raises NotFoundError ``not_found.rollout``."""
        require(grant, Permission.READ)
        return await self._show(await self._store.read(lambda tx: find_rollout(tx, name)), detailed=True)

    async def pause_rollout(self, grant: Grant, name: str, reason: str = "") -> RolloutView:
        """Keep the cohort as it is; one that is halted stays so.

        Raises:
            NotFoundError: ``not_found.rollout``.
            ConflictError: ``conflict.over``.
        """
        return await self._become(grant, name, RolloutState.PAUSED, reason, of={RolloutState.RUNNING})

    async def resume_rollout(self, grant: Grant, name: str, terms: RolloutTerms | None = None) -> RolloutView:
        """Let the wave go on that held when it was paused or halted, or the first one begin where it is held.

        One that was halted while it was held is held again.

        Args:
            grant: Who says so.
            name: Of the rollout.
            terms: The waves of one that is held; None for those it has.

        Raises:
            NotFoundError: ``not_found.rollout``.
            ConflictError: ``conflict.over``; ``conflict.begun``: its waves are settled already;
                ``conflict.contact``: nobody could have it first.
        """
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def change(tx: Writing, was: StoredRollout) -> tuple[StoredRollout, Sequence[BundleRow]]:
            state = was.rollout.state
            if state is RolloutState.HELD:
                return begin_waves(tx, self._bundles, grant, was, terms or was.rollout.terms, now=now)
            if terms is not None:
                problem = f"rollout {was.rollout.id} is {state}, and goes on with the waves it has"
                raise ConflictError("begun", problem, "Resume it without naming waves")
            if state not in {RolloutState.PAUSED, RolloutState.HALTED}:
                return was, ()
            after = RolloutState.RUNNING if was.rollout.wave.began else RolloutState.HELD
            return self._step(tx, grant, was, after, "", now)

        return await self._change(name, change)

    async def halt_rollout(self, grant: Grant, name: str, reason: str = "") -> RolloutView:
        """Let nobody begin, and those go back who have it; errors as :meth:`pause_rollout`."""
        going = {RolloutState.HELD, RolloutState.RUNNING, RolloutState.PAUSED}
        return await self._become(grant, name, RolloutState.HALTED, reason, of=going)

    async def halt_rollouts(self, grant: Grant, reason: str = "") -> tuple[RolloutView, ...]:
        """Halt every rollout that goes on, in one transaction; return those that it halted."""
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def work(tx: Writing) -> tuple[list[StoredRollout], list[BundleRow]]:
            halted, signed = [], []
            for row in tx.rollouts(open_only=True):
                was = self._noted(open_rollout(row))
                if was.rollout.state is RolloutState.HALTED:
                    continue
                stored, rows = self._step(tx, grant, was, RolloutState.HALTED, reason, now)
                halted.append(stored)
                signed += rows
            return halted, signed

        halted, signed = await self._write(work)
        self._tell(signed)
        return await self._show_all(halted)

    async def promote_rollout(self, grant: Grant, name: str) -> RolloutView:
        """Give the candidate to all now, whatever waves are left; errors as :meth:`pause_rollout`."""
        return await self._become(grant, name, RolloutState.PROMOTED, "", of=set(RolloutState))

    async def undo_rollout(self, grant: Grant, name: str) -> RolloutView:
        """Bring back what held before it; errors as :meth:`pause_rollout` and :func:`popham.manager.undoing.undo`."""
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def change(tx: Writing, was: StoredRollout) -> tuple[StoredRollout, Sequence[BundleRow]]:
            return undo(tx, self._bundles, grant, was, now=now)

        view = await self._change(name, change)
        self._operations.rollout_undone(view.id)
        return view

    async def _become(
        self, grant: Grant, name: str, state: RolloutState, reason: str, *, of: set[RolloutState]
    ) -> RolloutView:
        """Bring a rollout into another state, if it is in one ``of`` these."""
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def change(tx: Writing, was: StoredRollout) -> tuple[StoredRollout, Sequence[BundleRow]]:
            if was.rollout.state not in of:
                return was, ()
            return self._step(tx, grant, was, state, reason, now)

        return await self._change(name, change)

    def _step(
        self, tx: Writing, grant: Grant, was: StoredRollout, state: RolloutState, reason: str, now: float
    ) -> tuple[StoredRollout, list[BundleRow]]:
        after = was.rollout.became(state, reason, now=now, by=grant.actor)
        return step(tx, self._bundles, grant, f"rollout.{METHODS[state]}", was, after, now=now)

    async def _change(self, name: str, change: Change) -> RolloutView:
        def work(tx: Writing) -> tuple[StoredRollout, Sequence[BundleRow]]:
            return change(tx, self._noted(find_open(tx, name)))

        stored, signed = await self._write(work)
        # A group that an undo put back may differ in what stands in no bundle, such as its minimum serial.
        about = (one.partition("/") for one in stored.former)
        back = [name for kind, _, name in about if kind == "group" and stored.rollout.state.is_over]
        self._tell(signed, back)
        return await self._show(stored, detailed=True)

    def _noted(self, stored: StoredRollout) -> StoredRollout:
        """Return a rollout with how its cohort is doing now: what is kept once nobody looks any more."""
        found = self._progress(stored.number)
        return replace(stored, tally=found.tally, errors=found.errors) if found else stored

    def _tell(self, signed: Sequence[BundleRow], besides: Sequence[str] = ()) -> None:
        groups = dict.fromkeys([*(row.group for row in signed), *besides])
        if groups:
            self._on_groups_changed(list(groups))

    async def _show(self, stored: StoredRollout, *, detailed: bool = False) -> RolloutView:
        halted = stored.rollout.state is RolloutState.HALTED
        return view_rollout(
            stored,
            self._progress(stored.number),
            self._clock.now(),
            detailed=detailed,
            holding=await self._holders(stored) if halted and self._holders else None,
        )

    async def _show_all(self, found: Sequence[StoredRollout]) -> tuple[RolloutView, ...]:
        return tuple([await self._show(stored) for stored in found])


METHODS = MappingProxyType(
    {
        RolloutState.PAUSED: "pause",
        RolloutState.RUNNING: "resume",
        RolloutState.HELD: "resume",
        RolloutState.HALTED: "halt",
        RolloutState.PROMOTED: "promote",
    }
)
"""State → the name of the step that leads to it."""
