"""A file of records that is written page by page, and can go on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from popham.errors import ConfigError
from popham.statedir import replace_file

PAGE = 1000


@dataclass(slots=True)
class Export:
    """An export that is going on: the records so far, and beside them how far it is.

    Attributes:
        path: Where the finished file will be.
        said: What was asked for, as it was written.
        query: The same, with the times that it had at the beginning.
        cursor: Of the next page.
        bytes: Of the records so far.
        records: How many these are.
        goes_on: Whether there are more.
    """

    path: Path
    said: Mapping[str, Any]
    query: Mapping[str, Any]
    cursor: str = ""
    bytes: int = 0
    records: int = 0
    goes_on: bool = True

    @classmethod
    def begin(cls, path: Path, said: Mapping[str, Any], query: Mapping[str, Any]) -> Export:
        """Return the export of ``query`` into ``path``: one that was interrupted, if the same was said then."""
        found = cls(path, said, query)
        try:
            held = json.loads(found.state.read_bytes())
            if held["said"] == said and found.part.stat().st_size >= held["bytes"]:
                found.query, found.cursor = held["query"], held["cursor"]
                found.bytes, found.records = held["bytes"], held["records"]
                found.goes_on = held["goes_on"]
        except (OSError, ValueError, KeyError):
            pass  # there is none, or none that can go on
        with found.part.open("ab") as file:
            file.truncate(found.bytes)
        return found

    @property
    def part(self) -> Path:
        """The records so far."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def state(self) -> Path:
        """How far it is."""
        return self.path.with_name(f"{self.path.name}.part.json")

    @property
    def next(self) -> dict[str, Any]:
        """What is to be asked for next."""
        return {**self.query, "cursor": self.cursor, "limit": PAGE}

    def add(self, page: Mapping[str, Any]) -> None:
        """Add a page of records, and note how far that is."""
        lines = [json.dumps(item, separators=(",", ":")).encode() + b"\n" for item in page["items"]]
        with self.part.open("ab") as file:
            file.writelines(lines)
        self.bytes += sum(map(len, lines))
        self.records += len(lines)
        self.cursor = page["cursor"]
        self.goes_on = bool(self.cursor)
        held = {key: getattr(self, key) for key in ("said", "query", "cursor", "bytes", "records", "goes_on")}
        replace_file(self.state, json.dumps(held).encode(), durable=False)


def finish(export: Export, stream: str, form: str) -> None:
    """Give a whole export its form and its name."""
    if form == "parquet":
        _write_parquet(export, stream)
    else:
        export.part.replace(export.path)
    export.part.unlink(missing_ok=True)
    export.state.unlink(missing_ok=True)


def _write_parquet(export: Export, stream: str) -> None:
    """Write the records as Parquet; raises ConfigError ``config.extra`` where DuckDB is not installed."""
    try:
        import duckdb
    except ImportError:
        problem = f"writing Parquet needs DuckDB; the records so far are in {export.part}"
        raise ConfigError("extra", problem, "Install it: pip install 'popham[manager]'") from None
    from popham.manager.data.columns import form_of
    from popham.streams.frame import Stream

    form = form_of(Stream(stream))
    kinds = {"utf8": "VARCHAR", "int64": "BIGINT", "int8": "TINYINT", "bool": "BOOLEAN", "float64": "DOUBLE"}
    columns = {name: kinds[kind] for name, kind in zip(form.names, form.types, strict=True)}
    unfinished = export.path.with_name(f"{export.path.name}.unfinished")
    with duckdb.connect(":memory:") as connection:
        connection.sql(
            "SELECT * FROM read_json(?, format='newline_delimited', columns=?)",
            params=[str(export.part), columns],
        ).write_parquet(str(unfinished), compression="zstd")
    unfinished.replace(export.path)
