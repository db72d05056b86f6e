"""A Manager's state in one file, and back.

A backup holds keys, certificates, configuration and the database, so whoever
has it is the Manager: it is written with mode 0600.

1. It is taken while the Manager runs, and does not hold it up.
2. No name from a backup is trusted: only names that a Manager writes itself
   are restored, only regular files, and nothing outside the state directory
   is touched (SEC-6).
3. A database in PostgreSQL is not in it; that is said, and cannot be overlooked.
4. A restored state is whole or not there; its database says that it was
   restored, so that the Manager signs everything anew at its next start.
   Where the database is elsewhere, a file says it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import popham
from popham import posix
from popham.clock import Clock, SystemClock
from popham.errors import StateError
from popham.model.names import canonical
from popham.statedir import FORMAT, LOCK, read_format
from popham.store.snapshot import copy_database, mark_database
from popham.store.sqlite import DATABASE

BACKUP_FORMAT: Final = 1
RESTORED: Final = "restored"
"""Key in the database, or name of a file beside it, until everything was signed anew."""

_MANIFEST: Final = "manifest.json"
_ELSEWHERE: Final = "postgresql"
_STAGING: Final = ".restoring"
_NAME: Final = re.compile(
    r"FORMAT|popham\.db|[a-z0-9][a-z0-9_-]{0,63}\.toml|(?:keys|tls)/[a-z0-9][a-z0-9._-]{0,63}"
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_FILES: Final = 1000
_FILE_BYTES: Final = 4 * 1024 * 1024
_CHUNK: Final = 1024 * 1024
_LATEST: Final = 2**53
_UNREADABLE: Final = (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError)


def backup(
    state: Path,
    target: Path,
    *,
    elsewhere: bool = False,
    keys_only: bool = False,
    clock: Clock | None = None,
) -> None:
    """Write the Manager's state directory ``state`` to the file ``target``, all or nothing.

    Args:
        state: The state directory; the Manager may be running.
        target: The backup; replaced if it is there.
        elsewhere: Whether the database is PostgreSQL; everything else is saved then.
        keys_only: Whether the caller knows that.
        clock: Dates the backup: whatever it has not is newer; this machine's if None.

    Raises:
        StateError: The state directory's own refusals; ``state.damaged``; ``state.backup_target`` if the
            backup cannot be written; ``state.backup_database`` if it was, but without the database.
    """
    read_format(state, "manager")
    began = (clock or SystemClock()).now()
    try:
        with tempfile.TemporaryDirectory(prefix=".popham-backup-", dir=target.absolute().parent) as directory:
            sources = dict(_sources(state))
            if not elsewhere:
                sources[DATABASE] = Path(directory, DATABASE)
                copy_database(state / DATABASE, sources[DATABASE])
            archive = Path(directory, "archive")
            _pack(archive, sources, began)
            archive.replace(target)
            posix.fsync_directory(target.absolute().parent)
    except OSError as error:
        problem = f"The backup {target} cannot be written: {error}"
        raise StateError("backup_target", problem, "Name a file in a directory with enough space") from error
    if elsewhere and not keys_only:
        problem = f"{target} holds keys and configuration, but not the database, which is PostgreSQL"
        hint = "Save that with pg_dump, after this; --keys-only says that you know"
        raise StateError("backup_database", problem, hint)


def restore(source: Path, state: Path, *, clock: Clock | None = None) -> None:
    """Make the missing or empty directory ``state`` a Manager's state directory from the backup ``source``.

    The database's value ``restored`` becomes the time of this call and that of the backup, in unix seconds; the
    file of that name does, if the database is not in the backup.

    Args:
        source: A file that ``backup`` wrote.
        state: The state directory to be.
        clock: Tells the time; this machine's if None.

    Raises:
        StateError: ``state.backup_missing``, ``state.backup_damaged``, ``state.not_empty``, ``state.locked``,
            ``state.newer``, ``state.unwritable``.
    """
    try:
        file = source.open("rb")
    except OSError as error:
        problem = f"The backup {source} cannot be read: {error}"
        raise StateError("backup_missing", problem, "Name a file that 'popham backup' wrote") from error
    with file:
        try:
            _restore(file, state, (clock or SystemClock()).now())
        except _UNREADABLE as error:
            raise _damaged(str(error)) from error
        except OSError as error:
            problem = f"The state directory {state} cannot be written: {error}"
            raise StateError("unwritable", problem, "Name a directory with enough space") from error


def _sources(state: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file that belongs into a backup, but the database."""
    yield FORMAT, state / FORMAT
    for path in sorted([*state.glob("*.toml"), *state.glob("keys/*"), *state.glob("tls/*")]):
        name = path.relative_to(state).as_posix()
        if _NAME.fullmatch(name) and path.is_file():
            yield name, path


def _pack(archive: Path, sources: dict[str, Path], now: float) -> None:
    """Write the archive: the manifest first, then what it names."""
    contents = {name: _content(path) for name, path in sources.items() if name != DATABASE}
    files: dict[str, dict[str, Any]] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in contents.items()
    }
    if DATABASE in sources:
        with sources[DATABASE].open("rb") as database:
            sha256 = hashlib.file_digest(database, "sha256").hexdigest()
        files[DATABASE] = {"sha256": sha256, "size": sources[DATABASE].stat().st_size}
    manifest = {"format": BACKUP_FORMAT, "popham": popham.__version__, "created": int(now), "files": files}
    if DATABASE not in sources:
        manifest["database"] = _ELSEWHERE
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        with gzip.GzipFile("", "wb", 6, out) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
            for name, data in {_MANIFEST: canonical(manifest), **contents}.items():
                tar.addfile(_member(name, len(data), now), io.BytesIO(data))
            if DATABASE in sources:
                with sources[DATABASE].open("rb") as database:
                    tar.addfile(_member(DATABASE, files[DATABASE]["size"], now), database)
        out.flush()
        os.fsync(out.fileno())


def _content(path: Path) -> bytes:
    """Return a small file."""
    with path.open("rb") as file:
        data = file.read(_FILE_BYTES + 1)
    if len(data) > _FILE_BYTES:
        raise StateError(
            "large", f"{path} has more than {_FILE_BYTES} bytes", "Move it out of the state directory"
        )
    return data


def _member(name: str, size: int, now: float) -> tarfile.TarInfo:
    """Return the head of a file in the archive."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(now)
    return member


def _restore(file: BinaryIO, state: Path, now: float) -> None:
    """Fill ``state``, or leave it as it was."""
    existed = state.exists()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(state.iterdir()):
        raise StateError("not_empty", f"{state} is not empty", "Name an empty or a new directory")
    lock = posix.lock_file(state / LOCK)
    staging = state / _STAGING
    try:
        staging.mkdir(mode=0o700)
        created = _unpack(file, staging)
        said = f"{now} {created}" if created else str(now)
        read_format(staging, "manager")
        if (staging / DATABASE).exists():
            mark_database(staging / DATABASE, RESTORED, said)
        else:
            (staging / RESTORED).write_text(said)
            posix.set_mode(staging / RESTORED, 0o600)
        _settle(staging, state)
    except BaseException:
        for path in state.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not existed:
            state.rmdir()
        raise
    finally:
        posix.unlock_file(lock)


def _unpack(file: BinaryIO, staging: Path) -> int:
    """Write what the manifest names to ``staging``, verified; return when the backup was made, in unix seconds; 0 if it does not say."""
    with gzip.GzipFile(fileobj=file, mode="rb") as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        files: dict[str, Any] | None = None
        created = 0
        for member in tar:
            content = tar.extractfile(member) if member.type == tarfile.REGTYPE else None
            if content is None or member.sparse is not None:
                raise _damaged(f"{member.name!r} is no regular file")
            if files is None:
                files, created = _read_manifest(member, content.read(_FILE_BYTES))
                continue
            expected = files.pop(member.name, None)
            if expected is None or expected["size"] != member.size:
                raise _damaged(f"{member.name!r} is not what the manifest says")
            _write(staging / member.name, content, expected["sha256"])
        if files is None or files:
            raise _damaged("files are missing")
        # Reading to the end makes gzip compare its own check of the whole.
        if len(packed.read(_CHUNK)) >= _CHUNK:
            raise _damaged("something follows the archive")
        return created


def _read_manifest(member: tarfile.TarInfo, data: bytes) -> tuple[dict[str, Any], int]:
    """Return what the manifest says of each file, and when the backup was made, in unix seconds; 0 for not."""
    if member.name != _MANIFEST:
        raise _damaged("it does not begin with a manifest")
    manifest = json.loads(data)
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if isinstance(version, int) and version > BACKUP_FORMAT:
        raise StateError(
            "newer", "The backup was written by a newer Popham", "Restore it with the newer Popham"
        )
    files = manifest.get("files") if version == BACKUP_FORMAT else None
    needed = {FORMAT} if version and manifest.get("database") == _ELSEWHERE else {FORMAT, DATABASE}
    created = manifest.get("created") if version else None
    if not isinstance(files, dict) or not needed <= files.keys() or len(files) > _FILES:
        raise _damaged("its manifest is not one of Popham's")
    for name, entry in files.items():
        size, sha256 = (entry.get("size"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if not isinstance(size, int) or not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
            raise _damaged("its manifest is not one of Popham's")
        if not _NAME.fullmatch(name) or (name != DATABASE and size > _FILE_BYTES):
            raise _damaged(f"{name!r} does not belong into a backup")
    return files, created if isinstance(created, int) and 0 < created < _LATEST else 0


def _write(path: Path, content: Any, sha256: str) -> None:
    """Write one file of the backup and compare its digest."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    found = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as file:
        while chunk := content.read(_CHUNK):
            found.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if found.hexdigest() != sha256:
        raise _damaged(f"{path.name!r} is not what the manifest says")


def _settle(staging: Path, state: Path) -> None:
    """Move everything from ``staging`` to ``state``, durably; ``FORMAT`` comes last and makes it valid."""
    posix.set_mode(state, 0o700)
    for path in staging.rglob("*"):
        posix.set_owner_like(path, state)
        if path.is_dir():
            posix.fsync_directory(path)
    posix.set_owner_like(state / LOCK, state)
    for path in sorted(staging.iterdir(), key=lambda path: path.name == FORMAT):
        posix.fsync_directory(state)
        path.rename(state / path.name)
    staging.rmdir()
    posix.fsync_directory(state)


def _damaged(finding: str) -> StateError:
    """Return the refusal of a backup that is not what was written."""
    return StateError("backup_damaged", f"The backup is damaged: {finding}", "Use another backup")
