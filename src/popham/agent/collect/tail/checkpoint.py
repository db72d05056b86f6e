"""How far log files are read, on disk: exactly once, whenever the agent ends.

Rules:

1. Before a batch goes to the spool, the checkpoint says what is durable, where the stream ends now, and how far each
   file would be once the batch is in it.
2. After a start, the end of the stream tells how many records of that batch the spool took; so far the files are read.
3. Therefore nobody else may append to the stream between a checkpoint and its batch; see :class:`LogFiles`.
4. If the spool lost its history meanwhile, nobody can tell, and the batch is read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from popham.agent.storage import Storage
from popham.errors import StateError

NAME: Final = "log-files.json"
LIMIT: Final = 4 * 1024 * 1024
"""Bytes of it."""
ROWS: Final = 2048
"""Files that it knows, at most: those that are followed, and the newest of those that were."""


class Row(msgspec.Struct, array_like=True, frozen=True):
    """One file.

    Attributes:
        device: Number of its device.
        inode: Its number there.
        offset: How far its lines are durable.
        mark: By which that place is known again.
        seen: When it was last there, unix seconds.
        path: Where, each character one byte.
        source: Name of its source.
    """

    device: int
    inode: int
    offset: int
    mark: str
    seen: int
    path: str
    source: str


class Step(msgspec.Struct, array_like=True, frozen=True):
    """How far a file is once ``count`` further records of a batch are durable."""

    row: int
    offset: int
    mark: str
    count: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of files.

    Attributes:
        sources: What each source means, by its name.
        rows: The files.
        epoch: Of the stream, when the batch was about to be appended.
        next: Where the stream ended then.
        steps: Of the batch, in the order of its records.
    """

    sources: Mapping[str, str] = {}
    rows: tuple[Row, ...] = ()
    epoch: int = 0
    next: int = 0
    steps: tuple[Step, ...] = ()


def save(storage: Storage, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; durable. Raises StateError, OSError."""
    storage.write(NAME, msgspec.json.encode(checkpoint))


def load(storage: Storage) -> Checkpoint | None:
    """Return the checkpoint; None if there is none that can be read. Raises OSError."""
    try:
        data = storage.read(NAME, LIMIT)
        return None if data is None else msgspec.json.decode(data, type=Checkpoint)
    except (StateError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def take_up(storage: Storage, epoch: int, end: int) -> Checkpoint | None:
    """Return the checkpoint with no batch left open; None if there is none that can be read.

    It is written so too: once this returned, others may append to the stream.

    Args:
        storage: Where it is.
        epoch: Of the stream.
        end: Where the stream ends.

    Raises:
        StateError, OSError: It cannot be written.
    """
    found = load(storage)
    if found is None or not found.steps:
        return found
    settled = Checkpoint(sources=found.sources, rows=_settle(found, epoch, end))
    save(storage, settled)
    return settled


def _settle(checkpoint: Checkpoint, epoch: int, end: int) -> tuple[Row, ...]:
    """Return the files, each as far as the stream has it that ends at ``end``."""
    rows = list(checkpoint.rows)
    left = end - checkpoint.next if epoch == checkpoint.epoch else 0
    for step in checkpoint.steps:
        left -= step.count
        if left < 0 or not 0 <= step.row < len(rows):
            break
        rows[step.row] = msgspec.structs.replace(rows[step.row], offset=step.offset, mark=step.mark)
    return tuple(rows)
