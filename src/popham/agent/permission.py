"""What this machine permits: places, accounts and commands.

Checks only; nothing here changes a file.

1. A file lies under an allowed root after all links in its parents are
   resolved; what stands at its place is what is wanted there, or nothing.
2. What decides over this agent (its state, its configuration, the programs
   it may run, and the files that these are told to run) is out of reach,
   whatever the roots are.
3. The policy was checked by the Manager; it is checked again here, because
   this machine believes nobody but its administrator.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from popham import posix
from popham.agent.settings import PHASE, PLACES, AgentSettings
from popham.agent.types.wanted import Place, WantedPolicy
from popham.errors import PolicyError
from popham.model.template import name_facts

HIDDEN_PREFIX = ".popham-"
"""What names of staged files begin with; no policy may name one."""
_MODE = re.compile(r"0?[0-7]{3,4}")
_MAX_ACCOUNT = 2**32 - 2
"""The number above it has the kernel leave an owner as it is."""
_Body = TypeVar("_Body", bound=msgspec.Struct)

_RUNS_OTHERS = re.compile(
    r"(ba|da|a|z|k|fi|c|tc)?sh|busybox|python[0-9.]*|perl[0-9.]*|ruby[0-9.]*|node|nodejs|php[0-9.]*|lua[0-9.]*"
    r"|tclsh|awk|gawk|env|sudo|doas|su|runuser|setpriv|nice|ionice|chrt|timeout|setsid|nohup|flock|xargs|stdbuf"
    r"|chroot|unshare|nsenter|ip|systemd-run|pwsh"
)
"""Programs that run what their arguments name."""


class Permission:
    """What this machine permits, with its paths resolved once, and what it says of itself.

    Args:
        settings: The agent's own configuration.
        source: The file it came from; named in hints.
        state_root: Where the applier keeps its own files.
        facts: What templates may fill in, beside the labels of ``settings``.
        placed: Files that policies placed; what somebody put in the place of one, such as a link, may be replaced.
    """

    def __init__(
        self,
        settings: AgentSettings,
        source: Path,
        state_root: Path,
        facts: Mapping[str, str],
        placed: Container[str],
    ) -> None:
        self.settings = settings
        self._placed = placed
        self.source = source
        self.values = {"facts": name_facts(facts), "labels": dict(settings.labels)}
        self._written = [Path(root) for root in settings.files.roots]
        self.roots = [Path(os.path.realpath(root)) for root in settings.files.roots]
        own = [Path(settings.state), settings.socket_path, state_root, source, Path(f"{source}.d")]
        own += [Path(argv[0]) for argv in settings.commands.values()]
        own += [Path(settings.otelcol.collector)] if settings.otelcol.collector else []
        self._own = _both_ends(own)
        self._arguments = _both_ends(_told_to_run(settings)) - self._own

    # Places.

    def find_place(self, path: str, *, folder: bool = False) -> Place:
        """Return where ``path`` is, if a file, or a directory, may be placed there.

        Raises:
            PolicyError: ``policy.path``, ``policy.root``, ``policy.symlink``,
                ``policy.protected`` or ``policy.kind``.
        """
        _check_form(path)
        try:
            parent = Path(os.path.realpath(posixpath.dirname(path)))
            return self._check_place(
                path, Place(parent, posixpath.basename(path), self._root_of(path, parent)), folder
            )
        except OSError as error:
            raise _unreadable(path, error) from error

    def find_otelcol(self) -> Place:
        """Return where the Collector's configuration is; the machine named the path itself.

        Raises:
            PolicyError: As of :meth:`find_place`.
        """
        path = self.settings.otelcol.path or ""
        try:
            parent = Path(os.path.realpath(posixpath.dirname(path)))
            if not parent.is_dir():
                problem = f"{path}: {parent} is not a directory on this machine"
                raise PolicyError(
                    "root", problem, f"Create it, or correct path under [otelcol] in {self.source}"
                )
            return self._check_place(path, Place(parent, posixpath.basename(path), parent), folder=False)
        except OSError as error:
            raise _unreadable(path, error) from error

    def find_again(self, path: str, *, folder: bool = False) -> Place:
        """Return where something is that was placed at ``path``, links resolved, by whatever type.

        Raises:
            PolicyError: This machine no longer permits to touch it.
        """
        own = self.settings.otelcol.path
        if own and Path(os.path.realpath(posixpath.dirname(own))) / posixpath.basename(own) == Path(path):
            return self.find_otelcol()
        return self.find_place(path, folder=folder)

    def _check_place(self, path: str, place: Place, folder: bool) -> Place:
        if any(place.path.is_relative_to(own) for own in self._own):
            problem = f"{place.path} belongs to the agent itself or is a program it may run"
            raise PolicyError("protected", problem, "Change it on the machine; no policy can")
        if place.path in self._arguments:
            problem = f"{place.path} is what a command of this machine runs"
            raise PolicyError("protected", problem, "Change it on the machine; no policy can")
        # Whoever may write a directory may put something else in the place of what lies in it.
        if folder and any(own.is_relative_to(place.path) for own in self._own | self._arguments):
            problem = f"{place.path} holds something of the agent itself, or a program it may run"
            raise PolicyError("protected", problem, "Change it on the machine; no policy can")
        ours = not folder and str(place.path) in self._placed
        _check_entry(path, place, stat.S_ISDIR if folder else _may_be_replaced if ours else stat.S_ISREG)
        return place

    def _root_of(self, path: str, folder: Path) -> Path:
        source = self.source
        if not self.roots:
            hint = f"Set roots under [files] in {source} on this machine"
            raise PolicyError("root", f"{path}: this machine lets no policy place files", hint)
        if Path(path) in self._written:
            problem = f"{path} is an allowed root itself; policies place what lies below it"
            raise PolicyError("root", problem, "Name something below it")
        root = next((root for root in self.roots if folder.is_relative_to(root)), None)
        if root is not None:
            if root.is_dir():
                return root
            problem = f"{path}: the allowed root {root} is not a directory on this machine"
            raise PolicyError("root", problem, f"Create it, or correct roots under [files] in {source}")
        if any(Path(path).is_relative_to(written) for written in self._written):
            problem = f"{path}: a symbolic link leads out of the allowed roots, to {folder}"
            raise PolicyError("symlink", problem, f"Remove the link, or allow {folder} in {source}")
        allowed = ", ".join(self.settings.files.roots)
        hint = f"Use another path, or add its directory to roots under [files] in {source} on this machine"
        raise PolicyError("root", f"{path} is outside the allowed roots ({allowed})", hint)

    # Commands.

    def check_command(self, policy: str, role: str, name: str) -> tuple[str, ...]:
        """Return the arguments of a command for ``validate``, ``reload``, ``check`` or ``custom``.

        Raises:
            PolicyError: ``policy.command``: this machine does not permit it, lacks its program,
                or wrote it for another role.
        """
        argv = self.settings.commands.get(name)
        if argv is None:
            problem = (
                f"policy {policy!r} wants the command {name!r} ({role}), which this machine does not permit"
            )
            hint = f"Add {name} under [commands] in {self.source} on this machine, or leave {role} out"
            raise PolicyError("command", problem, hint)
        self.check_program(argv[0], f"command {name!r}", f"correct {name} under [commands]")
        phased = any(PHASE in part for part in argv)
        if phased is not (role == "custom"):
            how = (
                "is for policies of type 'custom' only" if phased else "is not for policies of type 'custom'"
            )
            problem = f"command {name!r} of policy {policy!r} {how}"
            hint = f"Its arguments under [commands] in {self.source} say {PHASE} if it is, and only then"
            raise PolicyError("command", problem, hint)
        if role != "validate" and any(mark in part for part in argv for mark in PLACES):
            problem = f"command {name!r} speaks of staged files, which policy {policy!r} has none of by then"
            hint = f"Write it without {{dir}} and {{path}} under [commands] in {self.source}"
            raise PolicyError("command", problem, hint)
        return argv

    def check_watcher(self, policy: str, name: str | None) -> None:
        """Return if a policy may have the command ``name`` watch it; None for nobody. Raises as :meth:`check_command`."""
        if name is not None:
            self.check_command(policy, "check", name)

    def check_program(self, path: str, what: str, remedy: str) -> None:
        """Return if there is a program at ``path``.

        Raises:
            PolicyError: ``policy.command``: there is none.
        """
        if not os.access(path, os.X_OK) or Path(path).is_dir():
            problem = f"{what}: {path} is no program on this machine"
            raise PolicyError("command", problem, f"Install it, or {remedy} in {self.source}")


def malformed(name: str, why: str) -> PolicyError:
    """Return what is raised where the policy ``name`` is not one as this agent knows them."""
    problem = f"policy {name!r} is malformed: {why}"
    return PolicyError("malformed", problem, "Upgrade the agent or the Manager")


def read_body(name: str, body: Mapping[str, Any], form: type[_Body]) -> _Body:
    """Return what the policy ``name`` says, unchecked.

    Raises:
        PolicyError: ``policy.malformed``.
    """
    try:
        return msgspec.convert(body, form)
    except msgspec.ValidationError as error:
        raise malformed(name, str(error)) from None


def read_mode(path: str, mode: str, *, folder: bool = False) -> int:
    """Return a mode as a number.

    Raises:
        PolicyError: ``policy.mode``: it is none, or lends its owner's rights.
    """
    if not _MODE.fullmatch(mode):
        raise PolicyError("mode", f"mode {mode!r} of {path} is no octal mode", "Write '0644'")
    number = int(mode, 8)
    # Of a directory the set-group bit hands on its group, no rights.
    if number & (stat.S_ISUID if folder else stat.S_ISUID | stat.S_ISGID):
        problem = f"mode {mode} of {path} lends its owner's rights to whoever runs it"
        hint = "Use a mode without the set-user and set-group bits, such as '0755'"
        raise PolicyError("mode", problem, hint)
    return number


def find_accounts(path: str, owner: str | None, group: str | None) -> tuple[int | None, int | None]:
    """Return the numbers of an owner and a group; None stays None.

    Raises:
        PolicyError: ``policy.account``: this machine does not know one.
    """
    try:
        found = posix.account_numbers(owner, group)
    except LookupError as error:
        problem = f"{path}: {str(error)[:1].lower()}{str(error)[1:]}"
        raise PolicyError("account", problem, "Create the account, or name another one") from None
    except ValueError:  # such as of half a character, a NUL, or thousands of digits
        raise PolicyError("account", f"{path}: its owner or its group is no name of an account") from None
    if any(number is not None and number > _MAX_ACCOUNT for number in found):
        raise PolicyError("account", f"{path}: its owner or its group has too large a number")
    return found


def check_twice(policies: Iterable[WantedPolicy]) -> None:
    """Refuse two entries that come to lie at the same place, and two policies for one program.

    Raises:
        PolicyError: ``policy.twice``.
    """
    seen: dict[Path | str, str] = {}
    for policy in policies:
        wanted: list[Path | str] = [place.path for place in policy.places]
        if policy.handing:
            wanted.append(policy.handing.command)
        for one in wanted:
            if one in seen:
                problem = f"{one} is wanted by policy {seen[one]!r} and again by {policy.name!r}"
                raise PolicyError("twice", problem, "Keep it in one place of one policy")
            seen[one] = policy.name


def _both_ends(paths: Iterable[Path]) -> set[Path]:
    """Return each path with links resolved, and as the name that stands in its directory."""
    listed = list(paths)
    found = {Path(os.path.realpath(path)) for path in listed}
    return found | {Path(os.path.realpath(path.parent)) / path.name for path in listed}


def _told_to_run(settings: AgentSettings) -> Iterable[Path]:
    """Yield the files that commands are told to run: scripts of an interpreter, programs of a starter.

    What another program is given counts only if it may be run itself: to place the file that
    ``nginx -c`` reads is what policies are for.
    """
    for argv in settings.commands.values():
        runs = _RUNS_OTHERS.fullmatch(posixpath.basename(argv[0])) is not None
        for part in argv[1:]:
            if part.startswith("/") and part != settings.otelcol.path and "\0" not in part:
                phases = ("check", "apply", "remove") if PHASE in part else ("",)
                named = [Path(posixpath.normpath(part.replace(PHASE, phase))) for phase in phases]
                yield from (
                    path for path in named if not path.is_dir() and (runs or os.access(path, os.X_OK))
                )


def _unreadable(path: str, error: OSError) -> PolicyError:
    problem = f"{path} cannot be looked at: {error.strerror}"
    return PolicyError("path", problem, "Look at the path on the machine")


def _check_form(path: str) -> None:
    good = path.startswith("/") and not path.startswith("//") and path.isprintable()
    if not good or posixpath.normpath(path) != path or path == "/":
        problem = f"{path!r} is not an absolute path in its shortest form"
        raise PolicyError("path", problem, "Write it from '/', without '.', '..' or control characters")
    if any(part.startswith(HIDDEN_PREFIX) for part in path.split("/")):
        raise PolicyError("path", f"{path}: names that begin with {HIDDEN_PREFIX!r} are the agent's own")


def _may_be_replaced(mode: int) -> bool:
    """Return whether a rename to its place replaces it."""
    return not stat.S_ISDIR(mode)


def _check_entry(path: str, place: Place, is_wanted: Callable[[int], bool]) -> None:
    """Refuse anything but what is wanted, or nothing, at the place, and parents that are no directories."""
    existing = place.folder
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise PolicyError("kind", f"{path}: {existing} is no directory", "Use another path, or remove it")
    if existing != place.folder:
        return
    with posix.Folder.open(place.folder) as folder:
        held = folder.status(place.name)
    if held is None or is_wanted(held.st_mode):
        return
    if stat.S_ISLNK(held.st_mode):
        problem = f"{path} is a symbolic link on this machine"
        raise PolicyError("symlink", problem, "Remove the link, or name what it points to")
    what = "a directory" if stat.S_ISDIR(held.st_mode) else "no regular file"
    what = "no directory" if is_wanted is stat.S_ISDIR else what
    raise PolicyError("kind", f"{path} is {what} on this machine", "Use another path, or remove it")
