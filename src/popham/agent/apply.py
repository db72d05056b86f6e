"""Makes this machine be as its policies say: all of it, or none of it.

One call takes all policies in force and compares them with what is there, so
applying twice changes nothing, and a policy that is missing is withdrawn.

1. Everything is checked before anything is written.
2. ``validate`` and ``reload`` run only for policies of which a file changes.
3. Whatever fails, the former files are back before the error is raised; a
   process that ended in the middle leaves that to :meth:`Applier.recover`.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from popham.agent.commands import Ended, run_command
from popham.agent.placed import Placed, PlacedRecord, in_force
from popham.agent.placement import Change, FailPoint, Placement, disk_error
from popham.agent.settings import DEFAULT_FILE, PLACES, AgentSettings
from popham.agent.types.files import Permission, WantedFile, WantedPolicy, check_twice, fits
from popham.errors import PolicyError, PophamError
from popham.log import escape
from popham.model.bundle import PolicyRef

OUTPUT_SHOWN = 500
"""Characters of a command's output in an error."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Applied:
    """A policy in force: its reference in the bundle, and its body without the type."""

    ref: PolicyRef
    body: Mapping[str, Any]


class Offload(Protocol):
    """Runs what may wait for the disk."""

    def __call__(self, function: Callable[[], _Result], /) -> Awaitable[_Result]:
        """Return the result of ``function``; when it was started, it is waited for."""
        ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is to be done: changes, policies of which files change, commands to reload, and the new record."""

    changes: tuple[Change, ...]
    changed: tuple[WantedPolicy, ...]
    reload: tuple[str, ...]
    placed: Placed


class Applier:
    """Applies policies on this machine.

    Args:
        settings: What the machine's own configuration permits.
        state_root: A directory of the agent's own for journal, record and staged copies.
        source: The file that ``settings`` came from, for hints.
        token: Gives a name that was never used before.
        failpoint: Called with the name of each step.
        offload: Runs what may wait for the disk.
    """

    supported: frozenset[str] = frozenset({"files"})

    def __init__(
        self,
        settings: AgentSettings,
        state_root: Path,
        *,
        source: Path = DEFAULT_FILE,
        token: Callable[[], str] = lambda: secrets.token_hex(8),
        failpoint: FailPoint = lambda _step: None,
        offload: Offload = in_thread,
    ) -> None:
        self._settings = settings
        self._root = state_root
        self._source = source
        self._token = token
        self._failpoint = failpoint
        self._offload = offload
        self._journal = state_root / "journal.json"
        self._record = PlacedRecord(state_root)
        self._one = asyncio.Lock()

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
                if plan.changes:
                    await self._carry_out(plan)
                else:
                    await self._offload(lambda: self._keep(plan.placed))
            except OSError as error:
                raise disk_error(error) from error

    async def recover(self) -> bool:
        """Bring back a whole set after a process ended in the middle; return whether that was needed.

        Raises:
            PolicyError: ``policy.reload``: the former files are back, but a command that
                tells of it failed. ``policy.disk``: they cannot be put back yet.
            StateError: The journal is damaged.
        """
        async with self._one:
            return await self._recover()

    def verify(self, policies: Sequence[Applied]) -> list[str]:
        """Return the paths, sorted, that differ from what ``policies`` want; changes nothing."""
        permission = self._permission()
        differing: list[str] = []
        for policy in policies:
            if policy.ref.type not in self.supported:
                continue
            for file in permission.parse(policy.ref.name, policy.body).files:
                try:
                    same = fits(permission.check_file(file))
                except PolicyError:
                    same = False
                if not same:
                    differing.append(file.path)
        return sorted(differing)

    def _permission(self) -> Permission:
        return Permission(self._settings, self._source, self._root)

    def _plan(self, policies: Sequence[Applied]) -> _Plan:
        """Check everything and return what is to be done; writes nothing but the applier's own files."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        permission = self._permission()
        wanted = [
            permission.check_policy(policy.ref.name, policy.body)
            for policy in policies
            if policy.ref.type in self.supported
        ]
        check_twice(wanted)
        changes: list[Change] = []
        changed: list[WantedPolicy] = []
        reload: dict[str, None] = {}
        for policy in wanted:
            found = [_change(file) for file in policy.files if not fits(file)]
            changes += found
            if found:
                changed.append(policy)
                reload |= {policy.reload: None} if policy.reload else {}
        before = self._record.load()
        files = in_force(wanted, before, self._record)
        for path, placed in before.files.items():
            change = self._record.withdraw(path, placed, permission) if path not in files else None
            if change:
                changes.append(change)
                reload |= {placed.reload: None} if placed.reload in self._settings.commands else {}
        placed_next = Placed(change=self._token(), files=files)
        return _Plan(changes=tuple(changes), changed=tuple(changed), reload=tuple(reload), placed=placed_next)

    async def _carry_out(self, plan: _Plan) -> None:
        placement = await self._offload(
            lambda: Placement.prepare(
                self._journal,
                plan.changes,
                token=plan.placed.change,
                reload=plan.reload,
                failpoint=self._failpoint,
            )
        )
        try:
            await self._offload(placement.stage)
            for policy in plan.changed:
                await self._validate(policy)
            await self._offload(placement.place)
            await self._reload(plan.reload)
            self._failpoint("reloaded")
            await self._offload(lambda: self._record.save(plan.placed))
            self._failpoint("committed")
        except (PophamError, OSError) as error:
            raise await self._undo(placement, error) from error
        await self._offload(placement.finish)
        await self._offload(lambda: self._record.prune(plan.placed))

    def _keep(self, placed: Placed) -> None:
        if placed.files != self._record.load().files:
            self._record.save(placed)
            self._record.prune(placed)

    async def _recover(self) -> bool:
        try:
            placement = await self._offload(lambda: Placement.load(self._journal, self._failpoint))
            if placement is None:
                return False
            placed = await self._offload(self._record.load)
            if placed.change == placement.journal.id:
                await self._offload(placement.finish)
                return True
            if not await self._offload(placement.undo):
                return True
        except OSError as error:
            raise disk_error(error) from error
        await self._reload([name for name in placement.journal.reload if name in self._settings.commands])
        return True

    async def _undo(self, placement: Placement, error: PophamError | OSError) -> PophamError:
        """Bring the former files back and return what to raise for ``error``."""
        cause = error if isinstance(error, PophamError) else disk_error(error)
        reload = placement.journal.reload
        try:
            replaced = await self._offload(placement.undo)
        except OSError as worse:
            cause.hint = f"The former files are not back either: {worse}; restart the agent to try again"
            return cause
        try:
            if replaced:
                await self._reload(reload)
        except PolicyError as again:
            cause.hint = f"The former files are back, but: {again.problem}"
        return cause

    async def _validate(self, policy: WantedPolicy) -> None:
        """Ask the policy's command about a copy of all its files, laid out as under their root."""
        if policy.validate is None:
            return
        folder = self._root / "staged"
        try:
            places = await self._offload(lambda: _lay_out(folder, policy.files))
            argv = self._settings.commands[policy.validate]
            each = places if any("{path}" in part for part in argv) else places[:1]
            for path in each:
                filled = [part.replace(PLACES[0], str(folder)).replace(PLACES[1], str(path)) for part in argv]
                ended = await self._run(filled, folder)
                _check(ended, "validate", policy.validate, self._settings.command_timeout)
        finally:
            await self._offload(lambda: shutil.rmtree(folder, ignore_errors=True))

    async def _reload(self, names: Sequence[str]) -> None:
        for name in names:
            ended = await self._run(self._settings.commands[name], Path("/"))
            _check(ended, "reload", name, self._settings.command_timeout)

    async def _run(self, argv: Sequence[str], folder: Path) -> Ended:
        return await run_command(argv, folder=folder, timeout=self._settings.command_timeout)


def _change(file: WantedFile) -> Change:
    place = file.place
    return Change(
        folder=place.folder,
        name=place.name,
        content=file.content,
        mode=file.mode,
        uid=file.uid,
        gid=file.gid,
    )


def _lay_out(folder: Path, files: Sequence[WantedFile]) -> list[Path]:
    """Write copies of ``files`` under ``folder``: as under their root, or as under ``/`` if they have several."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    roots = {file.place.root for file in files}
    base = roots.pop() if len(roots) == 1 else Path("/")
    paths = [folder / file.place.path.relative_to(base) for file in files]
    for path, file in zip(paths, files, strict=True):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
    return paths


def _check(ended: Ended, reason: str, name: str, seconds: float) -> None:
    """Raise if a command did not end well."""
    if ended.status == 0:
        return
    how = (
        f"was ended after {seconds:g} s" if ended.status is None else f"ended with exit status {ended.status}"
    )
    said = escape(ended.output[:OUTPUT_SHOWN])
    problem = f"the {reason} command {name!r} {how}" + (f": {said}" if said else "")
    raise PolicyError(reason, problem, "Correct the policy; until then the former files stay in force")
