"""Policies of type ``files``: what they ask for, and whether this machine permits it.

Checks only; nothing here changes a file.

1. A file lies under an allowed root after all links in its parents are
   resolved; what stands at its place is a regular file or nothing.
2. What decides over this agent (its state, its configuration, the programs
   it may run) is out of reach, whatever the roots are.
3. The policy was checked by the Manager; it is checked again here, because
   this machine believes nobody but its administrator.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from popham import posix
from popham.agent.settings import PLACES, AgentSettings
from popham.errors import PolicyError

HIDDEN_PREFIX = ".popham-"
"""What names of staged files begin with; no policy may name one."""
_MODE = re.compile(r"0?[0-7]{3,4}")


class FileBody(msgspec.Struct, frozen=True, kw_only=True):
    """One file as the document says it."""

    path: str
    content: str
    mode: str = "0644"
    owner: str | None = None
    group: str | None = None


class FilesBody(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of type ``files`` as the document says it; unknown fields are ignored."""

    files: tuple[FileBody, ...]
    validate: str | None = None
    reload: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is: the parent directory without links in it, and the name there."""

    folder: Path
    name: str
    root: Path

    @property
    def path(self) -> Path:
        """The whole path."""
        return self.folder / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFile:
    """A file that a policy wants, checked.

    Attributes:
        path: As the policy writes it.
        uid: Number of the owner; None where the policy is silent.
        gid: Number of the group; None where the policy is silent.
    """

    path: str
    place: Place
    content: bytes
    mode: int
    uid: int | None
    gid: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPolicy:
    """A policy of type ``files``, checked. ``validate`` and ``reload`` are names of permitted commands."""

    name: str
    files: tuple[WantedFile, ...]
    validate: str | None
    reload: str | None


class Permission:
    """What this machine permits, with its paths resolved once.

    Args:
        settings: The agent's own configuration.
        source: The file it came from; named in hints.
        state_root: Where the applier keeps its own files.
    """

    def __init__(self, settings: AgentSettings, source: Path, state_root: Path) -> None:
        self.settings = settings
        self.source = source
        self._written = [Path(root) for root in settings.files.roots]
        self.roots = [Path(os.path.realpath(root)) for root in settings.files.roots]
        own = [Path(settings.state), settings.socket_path, state_root, source, Path(f"{source}.d")]
        own += [Path(argv[0]) for argv in settings.commands.values()]
        self._own = {Path(os.path.realpath(path)) for path in own}
        self._own |= {Path(os.path.realpath(path.parent)) / path.name for path in own}

    @staticmethod
    def parse(name: str, body: Mapping[str, Any]) -> FilesBody:
        """Return what the policy ``name`` says, unchecked.

        Raises:
            PolicyError: ``policy.malformed``.
        """
        try:
            return msgspec.convert(body, FilesBody)
        except msgspec.ValidationError as error:
            problem = f"policy {name!r} is malformed: {error}"
            raise PolicyError("malformed", problem, "Upgrade the agent or the Manager") from None

    def check_policy(self, name: str, body: Mapping[str, Any]) -> WantedPolicy:
        """Return what the policy ``name`` wants.

        Raises:
            PolicyError: The policy is malformed, or this machine does not permit it.
        """
        asked = self.parse(name, body)
        for role, command in (("validate", asked.validate), ("reload", asked.reload)):
            if command is not None:
                self._check_command(name, role, command)
        files = tuple(self.check_file(file) for file in asked.files)
        return WantedPolicy(name=name, files=files, validate=asked.validate, reload=asked.reload)

    def check_file(self, file: FileBody) -> WantedFile:
        """Return the file with its place and accounts, if it may be placed.

        Raises:
            PolicyError: It may not.
        """
        place = self.find_place(file.path)
        if not _MODE.fullmatch(file.mode):
            raise PolicyError("mode", f"mode {file.mode!r} of {file.path} is no octal mode", "Write '0644'")
        mode = int(file.mode, 8)
        if mode & (stat.S_ISUID | stat.S_ISGID):
            problem = f"mode {file.mode} of {file.path} lends its owner's rights to whoever runs it"
            raise PolicyError(
                "mode", problem, "Use a mode without the set-user and set-group bits, such as '0755'"
            )
        try:
            uid, gid = posix.account_numbers(file.owner, file.group)
        except LookupError as error:
            problem = f"{file.path}: {str(error)[:1].lower()}{str(error)[1:]}"
            raise PolicyError("account", problem, "Create the account, or name another one") from None
        try:
            content = file.content.encode()
        except UnicodeEncodeError:
            raise PolicyError("malformed", f"the content of {file.path} is not text", "Write UTF-8") from None
        return WantedFile(path=file.path, place=place, content=content, mode=mode, uid=uid, gid=gid)

    def find_place(self, path: str) -> Place:
        """Return where ``path`` is, if a file may be placed there.

        Raises:
            PolicyError: ``policy.path``, ``policy.root``, ``policy.symlink``,
                ``policy.protected`` or ``policy.kind``.
        """
        _check_form(path)
        try:
            folder = Path(os.path.realpath(posixpath.dirname(path)))
            root = self._root_of(path, folder)
            place = Place(folder, posixpath.basename(path), root)
            self._check_own(place)
            _check_entry(path, place)
        except OSError as error:
            problem = f"{path} cannot be looked at: {error.strerror}"
            raise PolicyError("path", problem, "Look at the path on the machine") from error
        return place

    def _root_of(self, path: str, folder: Path) -> Path:
        source = self.source
        if not self.roots:
            hint = f"Set roots under [files] in {source} on this machine"
            raise PolicyError("root", f"{path}: this machine lets no policy place files", hint)
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

    def _check_own(self, place: Place) -> None:
        if any(place.path.is_relative_to(own) for own in self._own):
            problem = f"{place.path} belongs to the agent itself or is a program it may run"
            raise PolicyError("protected", problem, "Change it on the machine; no policy can")

    def _check_command(self, policy: str, role: str, name: str) -> None:
        argv = self.settings.commands.get(name)
        if argv is None:
            problem = (
                f"policy {policy!r} wants the command {name!r} ({role}), which this machine does not permit"
            )
            hint = f"Add {name} under [commands] in {self.source} on this machine, or leave {role} out"
            raise PolicyError("command", problem, hint)
        if not os.access(argv[0], os.X_OK) or Path(argv[0]).is_dir():
            problem = f"command {name!r}: {argv[0]} is no program on this machine"
            raise PolicyError(
                "command", problem, f"Install it, or correct {name} under [commands] in {self.source}"
            )
        if role == "reload" and any(mark in part for part in argv for mark in PLACES):
            problem = (
                f"command {name!r} speaks of staged files, which are gone when policy {policy!r} reloads"
            )
            hint = f"Write it without {{dir}} and {{path}} under [commands] in {self.source}"
            raise PolicyError("command", problem, hint)


def check_twice(policies: Iterable[WantedPolicy]) -> None:
    """Refuse two files that come to lie at the same place.

    Raises:
        PolicyError: ``policy.twice``.
    """
    seen: dict[Path, str] = {}
    for policy in policies:
        for file in policy.files:
            path = file.place.path
            if path in seen:
                problem = f"{path} is wanted by policy {seen[path]!r} and again by {policy.name!r}"
                raise PolicyError("twice", problem, "Keep it in one place of one policy")
            seen[path] = policy.name


def fits(file: WantedFile) -> bool:
    """Return whether the file is there with the wanted bytes, mode and owner."""
    try:
        with posix.Folder.open(file.place.folder) as folder:
            held = folder.status(file.place.name)
            if held is None or not stat.S_ISREG(held.st_mode) or held.st_size != len(file.content):
                return False
            if stat.S_IMODE(held.st_mode) != file.mode:
                return False
            if file.uid not in {None, held.st_uid} or file.gid not in {None, held.st_gid}:
                return False
            return folder.read(file.place.name, len(file.content) + 1) == file.content
    except OSError:
        return False


def _check_form(path: str) -> None:
    good = path.startswith("/") and not path.startswith("//") and path.isprintable()
    if not good or posixpath.normpath(path) != path or path == "/":
        problem = f"{path!r} is not an absolute path in its shortest form"
        raise PolicyError("path", problem, "Write it from '/', without '.', '..' or control characters")
    if any(part.startswith(HIDDEN_PREFIX) for part in path.split("/")):
        raise PolicyError("path", f"{path}: names that begin with {HIDDEN_PREFIX!r} are the agent's own")


def _check_entry(path: str, place: Place) -> None:
    """Refuse anything but a regular file or nothing at the place, and parents that are no directories."""
    existing = place.folder
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise PolicyError("kind", f"{path}: {existing} is no directory", "Use another path, or remove it")
    if existing != place.folder:
        return
    with posix.Folder.open(place.folder) as folder:
        held = folder.status(place.name)
    if held is None or stat.S_ISREG(held.st_mode):
        return
    if stat.S_ISLNK(held.st_mode):
        problem = f"{path} is a symbolic link on this machine"
        raise PolicyError("symlink", problem, "Remove the link, or name what it points to")
    what = "a directory" if stat.S_ISDIR(held.st_mode) else "no regular file"
    raise PolicyError("kind", f"{path} is {what} on this machine", "Use another path, or remove it")
