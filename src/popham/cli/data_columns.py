"""The columns of lists about the data of agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from popham.cli.columns import NOTHING, field, number, span
from popham.cli.show import Column, Shown

_STEP = 1024


def size(count: float) -> str:
    """Return ``17 B``, ``1.5 KiB`` or ``64 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _STEP:
            return f"{count:.0f} {unit}" if count >= 100 else f"{count:.3g} {unit}"
        count /= _STEP
    return f"{count:.3g} TiB"


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{found[cause]} {cause}" for cause in sorted(found)) or NOTHING


def _waited(item: Shown) -> str:
    return span(item["oldest"]) if item["queued_bytes"] else NOTHING


def _behind(item: Shown) -> str:
    """Return how far each reader is behind: ``tables 12 records, 3s``."""
    shown = (
        f"{one['name']} {one['records']} records, {span(one['seconds'])}"
        if one["bytes"]
        else f"{one['name']} none"
        for one in item["readers"]
    )
    return "; ".join(shown) or NOTHING


def _kept(cell: Callable[[Shown], str]) -> Callable[[Shown], str]:
    """Return a cell about what is kept in files, ``-`` where nothing is."""
    return lambda item: cell(item["kept"]) if item.get("kept") else NOTHING


INTAKE: Sequence[Column] = (
    Column("STREAM", field("name")),
    Column("STORED", number("stored")),
    Column("LOST", lambda item: _counts(item["lost"])),
    Column("QUEUED", number("queued")),
    Column("OLDEST", _waited),
    Column("PER SECOND", lambda item: f"{item['appended']:.0f}"),
    Column("REFUSED", lambda item: _counts(item["refused"])),
    Column("SEGMENTS", number("segments")),
    Column("SIZE", lambda item: size(item["bytes"])),
    Column("BEHIND", _behind),
    Column("QUEUE SIZE", lambda item: size(item["queued_bytes"]), wide=True),
    Column("DAMAGED", number("damaged"), wide=True),
    Column("KEPT", _kept(number("records")), wide=True),
    Column("KEPT SIZE", _kept(lambda kept: size(kept["bytes"])), wide=True),
    Column("SINCE", _kept(field("oldest")), wide=True),
    Column("DROPPED", _kept(lambda kept: _counts(kept["dropped"])), wide=True),
    Column("ASIDE", _kept(lambda kept: _counts(kept["aside"])), wide=True),
)
