"""Asks and tells the programs of this machine: validates staged files, reloads, hands over data."""

from __future__ import annotations

import re
import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from popham.agent.commands import Ended, Kept, run_command
from popham.agent.settings import PHASE, PLACES, AgentSettings
from popham.agent.types.wanted import WantedFile, WantedPolicy
from popham.errors import PolicyError
from popham.log import escape
from popham.model.types.redaction import HIDDEN

OUTPUT_SHOWN = 500
"""Characters of a command's output in an error."""
_WORD = re.compile(r"[^\s\"'=:;,(){}\[\]]{4,}")
"""What of a secret is looked for in a command's output; shorter words say nothing."""
_Result = TypeVar("_Result")


class Offload(Protocol):
    """Runs what may wait for the disk."""

    def __call__(self, function: Callable[[], _Result], /) -> Awaitable[_Result]:
        """Return the result of ``function``; when it was started, it is waited for."""
        ...


class Programs:
    """The commands that the machine's own configuration permits.

    Args:
        settings: That configuration.
        folder: Where staged files are laid out; made and removed here.
        offload: Runs what may wait for the disk.
    """

    def __init__(self, settings: AgentSettings, folder: Path, offload: Offload) -> None:
        self._settings = settings
        self._folder = folder
        self._offload = offload

    async def validate(self, policy: WantedPolicy) -> None:
        """Ask the policy's commands about a copy of all its files, laid out as under their root.

        Raises:
            PolicyError: ``policy.validate``, or ``policy.command``.
        """
        if not policy.validate or not policy.files:
            return
        try:
            places = await self._offload(lambda: _lay_out(self._folder, policy.files))
            for check in policy.validate:
                each = places if any(PLACES[1] in part for part in check.argv) else places[:1]
                for path in each:
                    filled = [
                        part.replace(PLACES[0], str(self._folder)).replace(PLACES[1], str(path))
                        for part in check.argv
                    ]
                    ended = await self._run(filled, self._folder, looks=True)
                    self._judge(ended, "validate", f"the validate command {check.name!r}", policy.secrets)
        finally:
            await self._offload(lambda: shutil.rmtree(self._folder, ignore_errors=True))

    async def reload(self, names: Iterable[str], secrets: Sequence[str] | None) -> None:
        """Run commands, one after the other.

        Raises:
            PolicyError: ``policy.reload``, or ``policy.command``.
        """
        for name in names:
            ended = await self._run(self._settings.commands[name], Path("/"))
            self._judge(ended, "reload", f"the reload command {name!r}", secrets)

    async def look(self, name: str, secrets: Sequence[str]) -> None:
        """Ask a command whether all is well; of what it says the last line is told.

        Raises:
            PolicyError: ``policy.check``: it is not. ``policy.command``.
        """
        argv = self._settings.commands.get(name)
        if argv is None:
            problem = f"the check command {name!r} is no longer permitted on this machine"
            raise PolicyError("command", problem, f"Add {name} under [commands] in the agent's configuration")
        ended = await self._run(argv, Path("/"), looks=True)
        last = ended.output.splitlines()[-1:]
        self._judge(Ended(ended.status, "".join(last)), "check", f"the check command {name!r}", secrets)

    async def ask(self, name: str, data: Path, secrets: Sequence[str]) -> None:
        """Ask a program whether it would take the data in a file.

        Raises:
            PolicyError: ``policy.validate``: it would not. ``policy.command``, ``policy.disk``.
        """
        ended = await self._hand(name, "check", data)
        self._judge(ended, "validate", f"the command {name!r} (check)", secrets)

    async def hand(
        self, name: str, data: Path, secrets: Sequence[str] | None, *, remove: bool = False
    ) -> None:
        """Hand the data in a file to a program, or have it take back what that data brought.

        Raises:
            PolicyError: ``policy.apply``: it failed. ``policy.command``, ``policy.disk``.
        """
        phase = "remove" if remove else "apply"
        ended = await self._hand(name, phase, data)
        self._judge(ended, "apply", f"the command {name!r} ({phase})", secrets)

    async def run(self, name: str, kept: Kept) -> Ended:
        """Run a command to its end; what it prints goes to ``kept``.

        Raises:
            PolicyError: ``policy.command``: it cannot be started.
        """
        return await self._run(self._settings.commands[name], Path("/"), kept=kept)

    async def gather(self, name: str, kept: Kept) -> Ended:
        """Run a command whose output is collected: in the background, and it only looks.

        Raises:
            PolicyError: ``policy.command``: it cannot be started.
        """
        return await self._run(self._settings.commands[name], Path("/"), looks=True, yields=True, kept=kept)

    async def _hand(self, name: str, phase: str, data: Path) -> Ended:
        argv = [part.replace(PHASE, phase) for part in self._settings.commands[name]]
        try:
            return await self._run(argv, Path("/"), data, looks=phase == "check")
        except OSError as error:
            problem = f"what the command {name!r} is to be handed cannot be read: {error.strerror}"
            raise PolicyError(
                "disk", problem, "Look at the machine's disk, and publish the policy again"
            ) from error

    async def _run(
        self,
        argv: Sequence[str],
        folder: Path,
        given: Path | None = None,
        *,
        looks: bool = False,
        yields: bool = False,
        kept: Kept | None = None,
    ) -> Ended:
        seconds = self._settings.command_timeout
        return await run_command(
            argv, folder=folder, timeout=seconds, given=given, looks=looks, yields=yields, kept=kept
        )

    @property
    def seconds(self) -> float:
        """How long a command may take."""
        return self._settings.command_timeout

    def _judge(self, ended: Ended, reason: str, what: str, secrets: Sequence[str] | None) -> None:
        """Raise if a command did not end well; None for secrets keeps all that it wrote back."""
        if ended.status == 0:
            return
        how = say_end(ended, self._settings.command_timeout)
        said = "" if secrets is None else escape(hide(ended.output, secrets)[:OUTPUT_SHOWN])
        problem = f"{what} {how}" + (f": {said}" if said else "")
        raise PolicyError(reason, problem, "Correct the policy; until then the former files stay in force")


def say_end(ended: Ended, seconds: float) -> str:
    """Return how a command ended that had so many seconds, as the end of a sentence."""
    if ended.status is None:
        return f"was ended after {seconds:g} s"
    if ended.status < 0:
        return f"was ended by signal {-ended.status}"
    return f"ended with exit status {ended.status}"


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` without any word of the secrets."""
    words = {word for secret in secrets for word in _WORD.findall(secret)}
    for word in sorted((word for word in words if word in text), key=len, reverse=True):
        text = text.replace(word, HIDDEN)
    return text


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
