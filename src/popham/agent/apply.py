"""Makes this machine be as its policies say: all of it, or none of it.

One call takes all policies in force and compares them with what is there, so
applying twice changes nothing, and a policy that is missing is withdrawn.

1. Everything is checked before anything is written.
2. ``validate``, ``reload`` and programs run only for policies of which something changes.
3. Whatever fails, the former files are back, and programs have their former data, before the error is raised;
   what a process that ended in the middle leaves is brought to an end before the next one looks or applies.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from popham.agent.collect.wanted import WantedCollect
from popham.agent.inspection import Inspection, Seen
from popham.agent.permission import Permission
from popham.agent.placed import Placed, PlacedRecord
from popham.agent.placement import FailPoint, Placement, disk_error
from popham.agent.planning import Applied, Plan, find_collect, make_plan, want_all
from popham.agent.programs import Offload, Programs
from popham.agent.settings import DEFAULT_FILE, AgentSettings
from popham.agent.types.registry import supported_types
from popham.agent.types.wanted import WantedPolicy
from popham.errors import PolicyError, PophamError

__all__ = ["Applied", "Applier", "at_once", "in_thread"]
_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


async def in_thread(function: Callable[[], _Result]) -> _Result:
    """Run ``function`` in a thread; a cancellation waits for its end."""
    running = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


async def at_once(function: Callable[[], _Result]) -> _Result:
    """Run ``function`` here and now: for loops with virtual time."""
    return function()


class Applier:
    """Applies policies on this machine.

    Args:
        settings: What the machine's own configuration permits.
        state_root: A directory of the agent's own for journal, record and staged copies.
        source: The file that ``settings`` came from, for hints.
        facts: Returns what templates may fill in, beside the labels of ``settings``.
        token: Gives a name that was never used before.
        failpoint: Called with the name of each step.
        offload: Runs what may wait for the disk.

    Attributes:
        supported: Policy types that can be applied here; others are skipped.
        placed: Called when a set holds.
        collects: Called with what a set that holds wants to be collected; None for nothing.
        programs: The commands that the machine permits.
    """

    def __init__(
        self,
        settings: AgentSettings,
        state_root: Path,
        *,
        source: Path = DEFAULT_FILE,
        facts: Callable[[], Mapping[str, str]] = dict,
        token: Callable[[], str] = lambda: secrets.token_hex(8),
        failpoint: FailPoint = lambda _step: None,
        offload: Offload = in_thread,
    ) -> None:
        self.supported: frozenset[str] = supported_types(settings)
        self.placed: Callable[[], None] = lambda: None
        self.collects: Callable[[WantedCollect | None], None] = lambda _wanted: None
        self._settings = settings
        self._root = state_root
        self._source = source
        self._facts = facts
        self._token = token
        self._failpoint = failpoint
        self._offload = offload
        self._journal = state_root / "journal.json"
        self._record = PlacedRecord(state_root)
        self._inspection = Inspection(self._record)
        self.programs = Programs(settings, state_root / "staged", offload)
        self._one = asyncio.Lock()
        self._tidy = False

    async def apply(self, policies: Sequence[Applied]) -> None:
        """Make all of ``policies`` hold, and nothing that only former ones wanted.

        Types that are not in :attr:`supported` are skipped.

        Raises:
            PolicyError: A policy cannot be applied; the machine is as it was before.
            StateError: The applier's own record is damaged.
        """
        async with self._one:
            await self._recover()
            try:
                plan = await self._offload(lambda: self._plan(policies))
                if plan.work:
                    await self._carry_out(plan)
                else:
                    await self._offload(lambda: self._keep(plan))
            except OSError as error:
                raise disk_error(error) from error
            if not self._tidy:
                await self._offload(lambda: self._tidy_up(plan.placed))
        self.placed()
        self.collects(plan.collect)

    async def adopt(self, policies: Sequence[Applied]) -> None:
        """Collect what a set wants that a former process applied; whether all of it still holds is looked at later.

        What this machine no longer permits is not collected until somebody settles that.
        """
        async with self._one:
            try:
                wanted = await self._offload(lambda: self._want(policies))
            except (PophamError, OSError) as error:
                _log.warning("what was collected is not, for now: %s", error)
                return
        self.collects(find_collect(wanted))

    async def check(self, policies: Sequence[Applied]) -> None:
        """Return if all of ``policies`` could be applied, as far as that can be known; nothing is changed.

        The machine's permissions are looked at, templates are filled in, and ``validate`` commands are asked.

        Raises:
            PolicyError: A policy could not be applied.
            StateError: The applier's own record is damaged.
        """
        async with self._one:
            try:
                wanted = await self._offload(lambda: self._want(policies))
                for policy in wanted:
                    await self.programs.validate(policy)
            except OSError as error:
                raise disk_error(error) from error

    async def recover(self) -> bool:
        """Bring back a whole set after a process ended in the middle; return whether that was needed.

        Raises:
            PolicyError: ``policy.reload``, ``policy.apply``: the former files are back, but a command that
                tells of it failed. ``policy.disk``: they cannot be put back yet.
            StateError: The journal is damaged.
        """
        async with self._one:
            return await self._recover()

    async def inspect(self, *, whole: bool) -> Seen:
        """Look whether all is as it was placed; what was interrupted is brought to an end first.

        Args:
            whole: Read every content; else only of files that look as if they were changed.

        Raises:
            PolicyError: As of :meth:`recover`.
            StateError: The applier's own record, or its journal, is damaged.
            OSError: Something cannot be looked at.
        """
        async with self._one:
            await self._recover()
            return await self._offload(lambda: self._inspection.look(whole=whole))

    def left(self) -> tuple[str, ...]:
        """Return the paths that no policy wants any more, and that stay because somebody changed them.

        Raises:
            StateError: The applier's own record is damaged.
        """
        return self._record.load().left

    def files(self) -> dict[str, str]:
        """Return path → digest of what is placed.

        Raises:
            StateError: The applier's own record is damaged.
        """
        return {path: file.sha256 for path, file in self._record.load().files.items()}

    def _permission(self) -> Permission:
        placed = self._record.load().files
        return Permission(self._settings, self._source, self._root, self._facts(), placed)

    def _want(self, policies: Sequence[Applied]) -> list[WantedPolicy]:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return want_all(policies, self._permission(), self.supported)

    def _plan(self, policies: Sequence[Applied]) -> Plan:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        plan = make_plan(
            policies, self._permission(), self._record, supported=self.supported, token=self._token()
        )
        for path in plan.placed.left:
            if path not in plan.before.left:
                why = "it is not as it was placed, or out of reach by now"
                _log.warning("no policy wants %s any more; it stays, since %s", path, why)
        return plan

    async def _carry_out(self, plan: Plan) -> None:
        work = plan.work
        placement = await self._offload(
            lambda: Placement.prepare(
                self._journal, work, token=plan.placed.change, failpoint=self._failpoint
            )
        )
        try:
            await self._offload(placement.stage)
            for policy in plan.changed:
                await self.programs.validate(policy)
            for step in work.steps:
                if step.now is not None:
                    await self.programs.ask(step.command, self._record.data_file(step.now), plan.secrets)
            await self._offload(placement.place)
            await self.programs.reload(work.reload, plan.secrets)
            self._failpoint("reloaded")
            for number, step in enumerate(work.steps):
                await self._offload(functools.partial(placement.hand, number))
                self._failpoint(f"handing:{number}")
                await self._hand(step.command, step.now, step.former, plan.secrets)
                self._failpoint(f"handed:{number}")
            await self._offload(lambda: self._record.save(plan.placed))
            self._failpoint("committed")
        except (PophamError, OSError) as error:
            raise await self._undo(placement, error) from error
        self._tidy = False
        try:
            await self._offload(placement.finish)
        except OSError as error:
            # It holds; the journal stays, and the next call goes on from it.
            _log.warning("what an apply leaves behind is not removed yet: %s", disk_error(error).problem)

    async def _hand(
        self, command: str, wanted: str | None, other: str | None, secrets: Sequence[str] | None
    ) -> None:
        """Hand a program what it is to have, or have it take back what it has.

        Args:
            command: Its name.
            wanted: Digest of what it is to have; None for nothing.
            other: Digest of what it has; None for nothing. Nobody knows the secrets of that.
            secrets: What no sentence may show of ``wanted``; None if nobody knows.
        """
        if wanted is not None:
            await self.programs.hand(command, self._record.data_file(wanted), secrets)
        elif other is not None:
            await self.programs.hand(command, self._record.data_file(other), None, remove=True)

    def _keep(self, plan: Plan) -> None:
        """Keep the record where nothing is to be done, if more than the name of the placement is new in it."""
        if msgspec.structs.replace(plan.placed, change=plan.before.change) != plan.before:
            self._record.save(plan.placed)
            self._tidy = False

    def _tidy_up(self, placed: Placed) -> None:
        """Remove what nothing in force needs any more; what cannot be removed now is tried again with the next set."""
        try:
            self._record.prune(placed)
        except OSError as error:
            _log.warning("what was kept of former files is not removed yet: %s", disk_error(error).problem)
        else:
            self._tidy = True

    async def _recover(self) -> bool:
        try:
            placement = await self._offload(lambda: Placement.load(self._journal, self._failpoint))
            if placement is None:
                return False
            placed = await self._offload(self._record.load)
            if placed.change == placement.journal.id:
                await self._offload(placement.finish)
                return True
            replaced = await self._offload(placement.undo)
            failed = await self._tell_of_undo(placement, replaced=replaced)
        except OSError as error:
            raise disk_error(error) from error
        if failed:
            raise failed
        return True

    async def _undo(self, placement: Placement, error: PophamError | OSError) -> PophamError:
        """Bring the former files back and return what to raise for ``error``."""
        cause = error if isinstance(error, PophamError) else disk_error(error)
        try:
            replaced = await self._offload(placement.undo)
            again = await self._tell_of_undo(placement, replaced=replaced)
        except OSError as worse:
            cause.hint = f"The former files are not back either: {worse}; restart the agent to try again"
            return cause
        if again:
            cause.hint = f"The former files are back, but: {again.problem}"
        return cause

    async def _tell_of_undo(self, placement: Placement, *, replaced: bool) -> PolicyError | None:
        """Tell programs that the former set is back, then end the placement; return what failed of it.

        The journal goes last: a process that ends before has the next one tell them again.
        """
        journal, failed = placement.journal, None
        commands = self._settings.commands
        if replaced:
            try:
                await self.programs.reload([name for name in journal.reload if name in commands], None)
            except PolicyError as error:
                failed = error
            for step in reversed([step for step in journal.begun if step.command in commands]):
                try:
                    # What it says is not shown: nobody knows the secrets of back then.
                    await self._hand(step.command, step.former, step.now, None)
                except PolicyError as error:
                    failed = failed or error
                    await self._offload(functools.partial(self._record.doubt, step))
        await self._offload(placement.forget)
        return failed
