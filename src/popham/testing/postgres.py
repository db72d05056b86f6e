"""A PostgreSQL server for tests: its own, on a Unix socket in a temporary folder, and ended with it.

It runs as an unprivileged account, since PostgreSQL refuses root, and listens
on no network.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import psycopg

PLACES: Final = Path("/usr/lib/postgresql")
"""Where Debian's packages put the programs, in a folder per version."""
ACCOUNT: Final = "nobody"
PATIENCE_S: Final = 30.0
"""Until a server that does not answer is given up; a recovery after a crash takes a second or two."""


def find_programs() -> Path | None:
    """Return the folder with ``initdb`` and ``postgres`` of the newest version; None if there is none."""
    folders = [path for path in PLACES.glob("*/bin") if path.parent.name.isdigit()]
    folders.sort(key=lambda path: int(path.parent.name), reverse=True)
    folders += [Path(folder) for folder in os.get_exec_path()]
    for folder in folders:
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    return None


class Server:
    """A running server. Use it in a ``with`` statement, from one thread at a time."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._schemas = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        # The system ends the server with the thread that started it, so that thread stays.
        self._thread = ThreadPoolExecutor(1, "popham-postgres")
        self.folder = Path(tempfile.mkdtemp(prefix="popham-pg-"))

    def __enter__(self) -> Self:
        """Make the cluster and start the server."""
        try:
            if os.geteuid() == 0:
                shutil.chown(self.folder, ACCOUNT)
            made = self._run("initdb", "--no-sync", "--auth=trust", "--username=popham", "--encoding=UTF8")
            self._wait(made)
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server and remove its folder."""
        self.close()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"postgresql:///postgres?host={quote(str(self.folder), safe='')}&user=popham"

    def create_schema(self) -> str:
        """Return the URL of a new, empty place for tables."""
        name = f"test_{next(self._schemas)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}&options={quote(f'-c search_path={name}', safe='')}"

    def start(self) -> None:
        """Start the server, and return once it answers.

        Raises:
            TimeoutError: It does not; the message is the end of its log.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                # What a killed server leaves in memory may need a moment to go.
                self._process = self._run("postgres", "-k", str(self.folder), "-c", "listen_addresses=")
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        raise TimeoutError(self.log())

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT ends connections cleanly, SIGKILL loses all that is not on disk."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_S)
            self._process = None

    def close(self) -> None:
        """End the server and remove its folder. It may be called again."""
        self.stop()
        self._thread.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return the end of what the server said."""
        path = self.folder / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of the programs, as an account that PostgreSQL accepts."""
        return self._thread.submit(self._spawn, program, arguments).result()

    def _spawn(self, program: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start one of the programs, on the thread that stays."""
        command: Sequence[str] = (str(self._programs / program), "-D", str(self.folder / "data"), *arguments)
        if setpriv := shutil.which("setpriv"):
            command = (setpriv, "--pdeathsig", "INT", *command)  # it does not outlive the tests
        root = os.geteuid() == 0
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - a program of PostgreSQL, with arguments of ours
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                start_new_session=True,  # Ctrl-C is for the tests
                user=ACCOUNT if root else None,
                group=pwd.getpwnam(ACCOUNT).pw_gid if root else None,
                extra_groups=[] if root else None,
            )

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for a program that ends by itself."""
        if process.wait(PATIENCE_S) != 0:
            raise OSError(self.log())
