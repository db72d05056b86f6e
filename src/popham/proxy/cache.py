"""What a proxy was told, and the bodies that bundles name, in files: losing them costs time only.

Rules:

1. Memory answers; a batch of changes is written by a thread, each file all or nothing.  Nothing waits for the disk but
   whoever ends.
2. Each file begins with the digest of the rest, so one that is damaged is found as it is read: it is set aside, and
   asked for again.
3. Bodies are named by their digest.  Past the bound the least recently used go, and never one that a bundle needs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from popham.agent.programs import Offload
from popham.model.names import NAME, digest
from popham.statedir import UNFINISHED, replace_file

_log = logging.getLogger(__name__)
BODIES_MAX: Final = 512 * 1024 * 1024
"""Bytes of bodies that no bundle needs any more, and those that one does, at which the former go."""
MEMORY_MAX: Final = 16 * 1024 * 1024
"""Bytes of bodies that are kept in memory, to be read once; more only for a single larger one."""
ASIDE_MAX: Final = 32
"""Damaged files that are kept to be looked at."""
AGAIN: Final = 5.0
"""Seconds after which what could not be written is written again."""
_SEAL: Final = 32
_BODIES, _ASIDE = "bodies", "damaged"
_KINDS: Final = ("agents", "groups", "coming", "places", "notes")
Loaded = dict[str, dict[str, bytes]]
"""Kind → name → what was kept."""


@dataclass(slots=True)
class CacheView:
    """How a cache is: files of each kind on the disk, bytes of bodies, and how many files were damaged since the start."""

    files: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    damaged: int = 0
    problem: str = ""


class ProxyCache:
    """The files of one proxy below its state directory.

    Attributes:
        needed: Returns the digests of bodies that are not to go.
        on_lost: Told the digest of a body that is damaged. Must not wait.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bodies_max: int = BODIES_MAX,
        memory_max: int = MEMORY_MAX,
        offload: Offload = asyncio.to_thread,
    ) -> None:
        """Keep everything in ``folder``, which is made by :meth:`load`; ``offload`` runs what waits for the disk."""
        self._offload = offload
        self._folder = folder
        self._bodies_max, self._memory_max = bodies_max, memory_max
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._memory: OrderedDict[str, bytes] = OrderedDict()
        self._in_memory = 0
        self._waiting: dict[tuple[str, str], bytes | None] = {}
        self._writing: dict[tuple[str, str], bytes | None] = {}
        self._work = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._counts: Counter[str] = (
            Counter()
        )  # files by kind: their names would be another hundred bytes each
        self._total = self._damaged = 0
        self._reading: dict[str, asyncio.Task[bytes | None]] = {}
        self._problem = ""
        self.needed: Callable[[], Collection[str]] = tuple
        self.on_lost: Callable[[str], None] = lambda _sha256: None

    async def load(self) -> Loaded:
        """Return what is kept, bodies aside; what is damaged is set aside.

        Raises:
            OSError: The folder cannot be made or read.
        """
        return await self._offload(self._load)

    def view(self) -> CacheView:
        """Return how it is."""
        files = {kind: self._counts[kind] for kind in _KINDS} | {_BODIES: len(self._sizes)}
        return CacheView(files, self._total, self._damaged, self._problem)

    # What was told.

    def put(self, kind: str, name: str, data: bytes) -> None:
        """Keep ``data`` under a name. Raises ValueError for a name that is none."""
        self._change(kind, name, data)

    def remove(self, kind: str, name: str) -> None:
        """Keep nothing under a name."""
        self._change(kind, name, None)

    # Bodies.

    def has(self, sha256_: str) -> bool:
        """Return whether a body is here."""
        return sha256_ in self._sizes

    def body(self, sha256_: str) -> bytes | None:
        """Return a body; None if it is not here, or was damaged: then it is not here any more.

        One that is not in memory is read from the disk, for which everybody waits: :meth:`read_body` is for that.
        """
        found = self.at_hand(sha256_)
        if found is not None or sha256_ not in self._sizes:
            return found
        return self._take_read(sha256_, self._read_body(sha256_))

    def at_hand(self, sha256_: str) -> bytes | None:
        """Return a body that is in memory; None for any other."""
        if sha256_ not in self._sizes:
            return None
        self._sizes.move_to_end(sha256_)
        found = self._memory.get(sha256_)
        if found is not None:
            self._memory.move_to_end(sha256_)
            return found
        key = (_BODIES, sha256_)
        found = self._waiting.get(key) or self._writing.get(key)
        if found is not None:
            self._remember(sha256_, found)
        return found

    async def read_body(self, sha256_: str) -> bytes | None:
        """Return what :meth:`body` does; a thread reads it, once for all who want it, and verifies its digest."""
        found = self.at_hand(sha256_)
        if found is not None or sha256_ not in self._sizes:
            return found
        task = self._reading.get(sha256_)
        if task is None:
            task = self._reading[sha256_] = asyncio.ensure_future(self._read_beside(sha256_))
        # Who goes away leaves it to the others, and it ends by itself.
        return await asyncio.shield(task)

    async def _read_beside(self, name: str) -> bytes | None:
        try:
            found = await self._offload(partial(self._read_body, name))
            return self._take_read(name, found) if name in self._sizes else None
        finally:
            del self._reading[name]

    def _take_read(self, name: str, found: bytes | None) -> bytes | None:
        """Take what was read of a body, and return it; one that is not what its name says is not here any more."""
        if found is None:
            self._total -= self._sizes.pop(name)
            self.on_lost(name)
        else:
            self._remember(name, found)
        return found

    def put_body(self, data: bytes) -> str:
        """Keep a body, and return its digest; others that nobody needs may go for it."""
        name = digest(data)
        if name not in self._sizes:
            self._sizes[name] = len(data)
            self._total += len(data)
            self._remember(name, data)
            self._change(_BODIES, name, data)
            self._make_room()
        return name

    def _remember(self, name: str, data: bytes) -> None:
        """Keep a body in memory, the newest one in any case: it may be asked for part by part."""
        if name in self._memory:
            return
        self._memory[name] = data
        self._in_memory += len(data)
        while self._in_memory > self._memory_max and len(self._memory) > 1:
            _, gone = self._memory.popitem(last=False)
            self._in_memory -= len(gone)

    def _make_room(self) -> None:
        if self._total <= self._bodies_max:
            return
        needed = set(self.needed())
        for name in [name for name in self._sizes if name not in needed]:
            if self._total <= self._bodies_max:
                return
            self._total -= self._sizes.pop(name)
            self._in_memory -= len(self._memory.pop(name, b""))
            self._change(_BODIES, name, None)

    # The disk.

    def _change(self, kind: str, name: str, data: bytes | None) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a file")
        self._waiting[kind, name] = data
        self._settled.clear()
        self._work.set()

    async def run(self) -> None:
        """Write what changed, many at once, until cancelled; then what still waits."""
        try:
            while True:
                await self._work.wait()
                if not await self._write_batch():
                    await asyncio.sleep(AGAIN)
        finally:
            await asyncio.gather(*self._reading.values(), return_exceptions=True)
            await asyncio.shield(self._write_batch())

    async def settle(self) -> None:
        """Return once everything is written; somebody has to run :meth:`run`."""
        await self._settled.wait()

    async def _write_batch(self) -> bool:
        """Write what waits; return whether that went well."""
        self._work.clear()
        self._writing = self._writing | self._waiting
        self._waiting = {}
        problem = await self._offload(partial(self._write, list(self._writing.items())))
        if problem and problem != self._problem:
            _log.warning("what this proxy was told could not be written: %s", problem)
        self._problem = problem
        if problem:
            self._work.set()
            return False
        self._writing = {}
        if not self._waiting:
            self._settled.set()
        return True

    def _write(self, batch: list[tuple[tuple[str, str], bytes | None]]) -> str:
        """Write a batch, bodies before the bundles that name them; return why one could not be, or nothing."""
        try:
            for (kind, name), data in sorted(batch, key=lambda one: one[0][0] != _BODIES):
                path = self._folder / kind / name
                before = path.exists()
                if data is None:
                    path.unlink(missing_ok=True)
                else:
                    replace_file(path, sha256(data).digest() + data, durable=False)
                self._counts[kind] += (data is not None) - before
        except OSError as error:
            return str(error)
        return ""

    def _load(self) -> Loaded:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the mode is not that of parents
        for kind in (*_KINDS, _BODIES, _ASIDE):
            (self._folder / kind).mkdir(mode=0o700, exist_ok=True)
        found: Loaded = {kind: dict(self._load_kind(kind)) for kind in _KINDS}
        self._counts = Counter({kind: len(kept) for kind, kept in found.items()})
        used = sorted((path.stat().st_mtime, path) for path in self._files(_BODIES))
        self._sizes = OrderedDict((path.name, path.stat().st_size - _SEAL) for _, path in used)
        self._total = sum(self._sizes.values())
        return found

    def _load_kind(self, kind: str) -> Iterator[tuple[str, bytes]]:
        for path in self._files(kind):
            data = self._read(path)
            if data is not None:
                yield path.name, data

    def _files(self, kind: str) -> Iterator[Path]:
        for path in (self._folder / kind).iterdir():
            if path.name.startswith(UNFINISHED):
                path.unlink(missing_ok=True)
            elif NAME.fullmatch(path.name) and path.is_file():
                yield path

    def _read_body(self, name: str) -> bytes | None:
        """Return a body that is what its name says."""
        path = self._folder / _BODIES / name
        found = self._read(path)
        if found is not None and digest(found) != name:
            self._set_aside(path)
            return None
        return found

    def _read(self, path: Path) -> bytes | None:
        """Return what a file keeps; None if it is not there, or damaged."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s cannot be read: %s", path, error)
            return None
        if sha256(data[_SEAL:]).digest() == data[:_SEAL]:
            return data[_SEAL:]
        self._set_aside(path)
        return None

    def _set_aside(self, path: Path) -> None:
        _log.warning("%s is damaged and set aside; what was in it is asked for again", path)
        self._damaged += 1
        aside = self._folder / _ASIDE
        with suppress(OSError):
            if len(list(aside.iterdir())) < ASIDE_MAX:
                path.replace(aside / f"{path.parent.name}-{path.name}")
            else:
                path.unlink()
