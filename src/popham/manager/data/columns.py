"""The columns of rows as they stand in memory and in Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from popham.manager.data.rows import LogRow, PointRow
from popham.streams.frame import Stream

if TYPE_CHECKING:
    from arro3.core import RecordBatch, Table

PLACE: Final = "place"
"""Column with the place of the row's entry in the intake: it rises in the order in which records came."""
_TEXT, _NUMBER, _FLAG, _REAL, _SMALL = "utf8", "int64", "bool", "float64", "int8"
_LOG: Final = {
    **dict.fromkeys(("received", "skew", "at", "time", "observed"), _NUMBER),
    "severity": _SMALL,
    **dict.fromkeys(("level", "body", "event", "source", "file"), _TEXT),
}
_POINT: Final = {
    **dict.fromkeys(("received", "skew", "at", "time", "start"), _NUMBER),
    **dict.fromkeys(("name", "unit", "kind"), _TEXT),
    "delta": _FLAG,
    "value": _REAL,
    "detail": _TEXT,
}


@dataclass(frozen=True, slots=True)
class Form:
    """The form of the rows of a stream.

    Attributes:
        names: Of the columns, in the order of a row, after its place.
        types: Of each, by the name that Arrow's types have.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of all columns, the place first."""
        return (PLACE, *self.names)


def _form(middle: dict[str, str]) -> Form:
    columns = {
        "uid": _TEXT,
        "epoch": _NUMBER,
        "offset": _NUMBER,
        **middle,
        **dict.fromkeys(("attributes", "resource", "way"), _TEXT),
    }
    return Form(tuple(columns), tuple(columns.values()))


LOGS: Final = _form(_LOG)
"""Of :class:`LogRow`."""
POINTS: Final = _form(_POINT)
"""Of :class:`PointRow`."""


def form_of(stream: Stream) -> Form:
    """Return the form of the rows of a stream."""
    return LOGS if stream in {Stream.LOGS, Stream.EVENTS} else POINTS


def make_batch(form: Form, places: Sequence[int], rows: Sequence[LogRow | PointRow]) -> RecordBatch:
    """Return rows, one at least, as a batch of columns; each has the place of its entry in ``places``."""
    from arro3.core import Array, DataType, RecordBatch

    kinds = {kind: getattr(DataType, kind)() for kind in {*form.types, _NUMBER}}
    columns = [Array(places, kinds[_NUMBER])]
    columns += [
        Array(column, kinds[kind]) for column, kind in zip(zip(*rows, strict=True), form.types, strict=True)
    ]
    return RecordBatch.from_arrays(columns, names=list(form.all_names))


def join_batches(batches: Sequence[RecordBatch]) -> RecordBatch:
    """Return batches, one at least, as one."""
    from arro3.core import Table

    return Table.from_batches(list(batches)).combine_chunks().to_batches()[0]


def as_table(batches: Sequence[RecordBatch]) -> Table:
    """Return batches, one at least, as the table that a query reads."""
    from arro3.core import Table

    return Table.from_batches(list(batches))
