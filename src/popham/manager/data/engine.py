"""DuckDB, as it is used here: to sort and write Parquet files, and to read them.

Rules:

1. It is loaded when somebody first needs it.
2. It may open files below the data's folder and nothing else: no network, no extensions, no other file; and nothing can
   change that once it is open.  What people or agents wrote is never part of a statement, only a parameter (SEC-13).
3. Memory, threads and time are bounded; what does not fit into memory goes to a folder beside the data.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from popham.errors import DefinitionError, LinkError
from popham.model.names import show

if TYPE_CHECKING:
    from arro3.core import Table
    from duckdb import DuckDBPyConnection

T = TypeVar("T")
SPILL: Final = "spill"
"""Name of the folder for what does not fit into memory."""
SECONDS: Final = 20.0
"""A question is given up after so long."""
AT_ONCE: Final = 2
"""Questions that are answered at once; others wait."""
WAITING: Final = 64
"""Questions that wait, at most."""
Work = Callable[["DuckDBPyConnection"], T]


class EngineError(Exception):
    """A statement failed: a file cannot be read, or the disk takes nothing."""


class Engine:
    """DuckDB over the folder of the data; safe to use from many tasks and threads."""

    def __init__(self, folder: Path, *, memory: int) -> None:
        """Load nothing yet.

        Args:
            folder: Where the data is.
            memory: Bytes that it may use.
        """
        self._folder = folder
        self._memory = memory
        self._lock = threading.Lock()
        self._root: DuckDBPyConnection | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def ask(self, work: Work[T]) -> T:
        """Return what ``work`` returns, done in a thread with a connection of its own.

        Raises:
            DefinitionError: ``definition.query``: it takes too long, or too much memory.
            LinkError: ``link.busy``: too many ask.
            EngineError: A statement failed.
        """
        if self._waiting >= WAITING:
            raise LinkError("busy", "too many questions about data are asked at once", "Ask again later")
        self._waiting += 1
        try:
            async with self._turns:
                return await self._run(work)
        finally:
            self._waiting -= 1

    async def _run(self, work: Work[T]) -> T:
        connection = await asyncio.to_thread(self.connect)
        running = asyncio.ensure_future(asyncio.to_thread(_guard, work, connection))
        try:
            done, _ = await asyncio.wait({running}, timeout=SECONDS)
            if not done:
                problem = f"this asks for more than can be found in {SECONDS:g} seconds"
                raise DefinitionError("query", problem, "Ask for fewer agents, or for less time")
            return running.result()
        finally:
            # A thread cannot be left behind: it would hold the connection, and files that are to go.
            while not running.done():
                connection.interrupt()
                await asyncio.wait({running}, timeout=0.05)
            with contextlib.suppress(Exception):
                running.result()  # of a question that was given up nobody reads how it ended
            connection.close()

    def connect(self) -> DuckDBPyConnection:
        """Return a connection; who asked for it closes it. Blocks."""
        with self._lock:
            if self._root is None:
                self._root = self._open()
            return self._root.cursor()

    @contextmanager
    def open(self) -> Iterator[DuckDBPyConnection]:
        """Return a connection, for one thread. Blocks.

        Raises:
            EngineError: A statement failed.
        """
        import duckdb

        connection = self.connect()
        try:
            yield connection
        except duckdb.Error as error:
            raise EngineError(str(error)) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Give up what it holds."""
        with self._lock:
            if self._root is not None:
                self._root.close()
                self._root = None

    def _open(self) -> DuckDBPyConnection:
        import duckdb

        spill = self._folder / SPILL
        spill.mkdir(mode=0o700, parents=True, exist_ok=True)
        root = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "memory_limit": f"{self._memory}B",
                "threads": max(1, (os.cpu_count() or 1) // 2),
                "temp_directory": str(spill),
                "preserve_insertion_order": False,
            },
        )
        # The order matters: each line takes the right to undo the one before.
        root.execute(f"SET allowed_directories = [{quote(str(self._folder))}]")
        root.execute("SET enable_external_access = false")
        root.execute("SET lock_configuration = true")
        return root


def quote(text: str) -> str:
    """Return a path of ours as a literal, for the few statements that take no parameter there."""
    return "'" + text.replace("'", "''") + "'"


def run(
    connection: DuckDBPyConnection,
    statement: str,
    parameters: Sequence[Any],
    tables: Mapping[str, Table],
) -> DuckDBPyConnection:
    """Run one statement over ``tables``, by their names in it, and return where its rows are fetched."""
    for name, table in tables.items():
        connection.register(name, table)
    return connection.execute(statement, list(parameters))


def check_grep(connection: DuckDBPyConnection, grep: str) -> None:
    """Return if ``grep`` is a regular expression.

    Raises:
        DefinitionError: ``definition.query``.
    """
    import duckdb

    try:
        connection.execute("SELECT regexp_matches('', ?)", [grep]).fetchall()
    except duckdb.InvalidInputException as error:
        problem = f"{show(grep)} is no regular expression: {error}"
        raise DefinitionError(
            "query", problem, "Write it as RE2 has it; a backslash takes a meaning away"
        ) from error


def _guard(work: Work[T], connection: DuckDBPyConnection) -> T:
    """Return what ``work`` returns; what was too much is said to whoever asked."""
    import duckdb

    try:
        return work(connection)
    except duckdb.InvalidInputException as error:
        raise DefinitionError(
            "query", f"the regular expression is none: {error}", "RE2 has the form"
        ) from error
    except duckdb.OutOfMemoryException as error:
        problem = "this asks for more than fits into memory"
        raise DefinitionError("query", problem, "Ask for fewer agents, or for less time") from error
    except duckdb.Error as error:
        raise EngineError(str(error)) from error
