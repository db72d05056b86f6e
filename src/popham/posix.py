"""The calls that only POSIX systems have.

Code that runs on machines asks here for locks, owners, modes and the
durability of directories, so that another system needs one other module.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import resource
import signal
import socket
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from popham.errors import StateError

_YIELDING = 10
"""Priority of what gives way; 19 would starve on a busy machine."""
_LOOKS, _LOOK = 5, 0.01
"""How often a lock is tried again, and seconds between: who only looks has it for some microseconds."""
_PASS = getattr(os, "O_PATH", os.O_RDONLY)
"""How a directory is opened that is only gone through."""


def lock_file(path: Path) -> int:
    """Lock ``path`` for this process alone and return the descriptor that holds the lock.

    The file is created with mode 0600 if it is not there, and names this process.  The lock
    lives until the descriptor is closed or the process ends, however it ends.

    Raises:
        StateError: ``state.locked``: another process holds the lock; the problem names it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _lock(descriptor)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = _read_holder(descriptor)
        os.close(descriptor)
        raise StateError(
            "locked",
            f"{path.parent} is in use by process {holder}",
            "Stop that process first, or use another state directory",
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def lock_holder(path: Path) -> str | None:
    """Return the process that holds the lock of :func:`lock_file`; None if nobody does.

    Raises:
        OSError: It cannot be looked at.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def unlock_file(descriptor: int) -> None:
    """Give up a lock of ``lock_file``."""
    os.close(descriptor)


def free_bytes(path: Path) -> int:
    """Return the bytes that this process may still write where ``path`` is, or its nearest parent that there is."""
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def fsync_directory(path: Path) -> None:
    """Make the names in the directory ``path`` durable: a rename is not, until this returned."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_mode(path: Path, mode: int) -> None:
    """Set the permission bits of ``path``, whatever the umask."""
    path.chmod(mode)


def set_group(path: Path, group: str) -> None:
    """Give ``path`` to ``group``, a name or number; empty leaves it as it is.

    Raises:
        LookupError: This machine does not know the group.
        OSError: This process may not do that.
    """
    if group:
        os.chown(path, -1, _number(group, "group"))


def set_owner_like(path: Path, pattern: Path) -> None:
    """Give ``path`` the owner and group of ``pattern``, where this process may; a link is changed itself."""
    if os.geteuid() == 0:
        status = pattern.stat()
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


def account_numbers(user: str | None, group: str | None) -> tuple[int | None, int | None]:
    """Return the numbers of ``user`` and ``group``, names or numbers; None stays None.

    Raises:
        LookupError: This machine does not know the user or group.
    """
    uid = None if user is None else _number(user, "user")
    return uid, None if group is None else _number(group, "group")


def may_give_files() -> bool:
    """Return whether this process may give files to other accounts."""
    return os.geteuid() == 0


def replace_process(program: str, arguments: Sequence[str]) -> NoReturn:
    """Have this process become another program, with the same number and environment.

    Files that are open are closed by that, and locks are given up.

    Args:
        program: Its absolute path.
        arguments: As it sees them, its name first.

    Raises:
        OSError: It cannot be started; this process goes on.
    """
    os.execv(program, list(arguments))  # noqa: S606  # no shell is what is wanted


def may_execute(program: str) -> bool:
    """Return whether this process may start a program."""
    return os.access(program, os.X_OK)


def kill_group(leader: int) -> None:
    """End the process ``leader`` and all of its group at once, if any is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def bound_process(pid: int, *, seconds: int, memory: int) -> None:
    """Bound what a process, and each that it starts from now on, may use; where nobody can, time alone bounds it.

    Address space that is only reserved is not counted: programs of some languages reserve far more than they use.

    Args:
        pid: Of a process of this one's account.
        seconds: Of processor time, after which it is ended.
        memory: Bytes that it may write to; asking for more fails.
    """
    bound = getattr(resource, "prlimit", None)
    if bound is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        bound(pid, resource.RLIMIT_CPU, (seconds, seconds))
        bound(pid, resource.RLIMIT_DATA, (memory, memory))


def give_way(pid: int) -> None:
    """Have a process of this one's account, and what it starts from now on, give way to all others."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, _YIELDING)


def read_local_time() -> None:
    """Read anew in which time zone the machine is; local times are of that zone from now on."""
    time.tzset()


def time_asleep() -> float:
    """Return for how long the machine has slept since it was started, in seconds; 0 where nobody counts."""
    with_sleep = getattr(time, "CLOCK_BOOTTIME", None)
    if with_sleep is None:
        return 0.0
    return time.clock_gettime(with_sleep) - time.clock_gettime(time.CLOCK_MONOTONIC)


def open_netlink(groups: int) -> socket.socket | None:
    """Return a non-blocking socket of the kernel's routing messages; None where there is none.

    Args:
        groups: Bits of the multicast groups to hear; 0 to ask only.
    """
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    try:
        found = socket.socket(family, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except OSError:
        return None
    try:
        found.settimeout(0.0)
        found.bind((0, groups))
    except OSError:
        found.close()
        return None
    return found


def open_file(path: Path) -> int:
    """Return a descriptor that reads the file at an absolute ``path`` in which no part is a symbolic link.

    Raises:
        OSError: It is missing, may not be read, or a part is a symbolic link (ELOOP, ENOTDIR).
    """
    folder = _open_folder(path.parent, _PASS)
    try:
        how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(path.name, how, dir_fd=folder)
    finally:
        os.close(folder)


def _open_folder(path: Path, how: int) -> int:
    """Return a descriptor of a directory, as :meth:`Folder.open` does; ``how`` is that of the last part."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open("/", os.O_RDONLY | flags)
    parts = path.parts[1:]
    for number, part in enumerate(parts, 1):
        try:
            following = os.open(part, (how if number == len(parts) else _PASS) | flags, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = following
    return descriptor


class Folder:
    """A directory held open, so that nobody can put another one in its place meanwhile.

    Names are names of entries, without ``/``; no operation follows a symbolic link.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Open an absolute ``path`` in which no part is a symbolic link.

        Raises:
            OSError: A part is missing, is no directory, or is a symbolic link (ENOTDIR).
        """
        return cls(path, _open_folder(path, os.O_RDONLY))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def status(self, name: str) -> os.stat_result | None:
        """Return what is known of an entry, None if there is none."""
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a regular file, cut off after ``limit`` bytes."""
        how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, how, dir_fd=self._descriptor), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", name)
            return file.read(limit)

    def create(self, name: str, data: bytes, mode: int, uid: int | None, gid: int | None) -> None:
        """Write a new file with mode and owner, durable but for its name; None leaves an owner as is.

        Raises:
            PermissionError: ``uid`` or ``gid`` may not be given by this process, among others.
        """
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, how, 0o600, dir_fd=self._descriptor), "wb") as file:
            file.write(data)
            file.flush()
            _adjust(file.fileno(), mode, uid, gid)

    def link(self, name: str, other: str) -> None:
        """Give a file a second name, ``other``."""
        os.link(name, other, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor, follow_symlinks=False)

    def rename(self, name: str, other: str) -> None:
        """Give an entry the name ``other``, in place of what had it."""
        os.rename(name, other, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def make_folder(self, name: str, mode: int, uid: int | None = None, gid: int | None = None) -> None:
        """Make a directory, whatever the umask; None leaves an owner as is.

        Raises:
            PermissionError: ``uid`` or ``gid`` may not be given by this process, among others.
        """
        os.mkdir(name, 0o700, dir_fd=self._descriptor)
        self.adjust_folder(name, mode, uid, gid)

    def adjust_folder(self, name: str, mode: int, uid: int | None, gid: int | None) -> None:
        """Give a directory its mode and owner, durable; None leaves an owner as is.

        Raises:
            PermissionError: This process may not do that.
            OSError: It is missing, or is no directory (ENOTDIR).
        """
        how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, how, dir_fd=self._descriptor)
        try:
            _adjust(descriptor, mode, uid, gid)
        finally:
            os.close(descriptor)

    def remove_folder(self, name: str) -> None:
        """Remove a directory, if it is there and empty."""
        try:
            os.rmdir(name, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY}:
                raise

    def sync(self) -> None:
        """Make the names in this directory durable."""
        os.fsync(self._descriptor)


def _lock(descriptor: int) -> None:
    """Lock what is open; raises BlockingIOError. A :func:`lock_holder` that looks just then is waited for."""
    for _ in range(_LOOKS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOOK)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_holder(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"


def _adjust(descriptor: int, mode: int, uid: int | None, gid: int | None) -> None:
    """Give what is open its mode and owner, durable; None leaves an owner as is."""
    held = os.fstat(descriptor)
    if uid not in {None, held.st_uid} or gid not in {None, held.st_gid}:
        os.fchown(descriptor, -1 if uid is None else uid, -1 if gid is None else gid)
    os.fchmod(descriptor, mode)
    os.fsync(descriptor)


def _number(name: str, what: str) -> int:
    """Return the number of a user or group."""
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if what == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise LookupError(f"This machine knows no {what} {name!r}") from None
