"""A Proxy Manager as a process: defined, enrolled and accepted as people do it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bench.servers import PATIENCE, Fixture, end, environ_with_bytecode, free_ports, wait_for_port
from popham.errors import PophamError
from popham.testing.load.fleet import Target

NAME = "dock"
_PROXY = """
apiVersion: popham/v1
kind: Proxy
metadata: {{name: {name}}}
spec: {{groups: [{given}], names: [localhost], port: {port}}}
"""
_CONFIG = """
name = "{name}"
state = "{folder}/{name}"
[listen]
agents = "127.0.0.1:{port}"
[limits]
messages_per_second = 1000000.0
bytes_per_second = 1e12
"""


@dataclass(slots=True)
class Dock:
    """A running Proxy Manager."""

    fixture: Fixture
    port: int
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    def target(self) -> Target:
        """Return where agents dial it."""
        return replace(self.fixture.target(plain=False), port=self.port)


@contextmanager
def proxy_process(fixture: Fixture, *, given: str) -> Iterator[Dock]:
    """Run a Proxy Manager that may speak for a group, below a Manager that runs; it is ended afterwards."""
    (port,) = free_ports(1)
    config = fixture.folder / f"{NAME}.toml"
    config.write_text(_CONFIG.format(name=NAME, folder=fixture.folder, port=port), encoding="utf-8")
    where = ["--config", str(config)]
    environ = environ_with_bytecode(fixture.folder)
    popham = [sys.executable, "-m", "popham", "proxy"]
    with fixture.client() as client:
        client.apply([("proxy.yaml", _PROXY.format(name=NAME, given=given, port=port))])
        join = client.create_token(kind="proxy", proxy=NAME)["secret"]
        subprocess.run([*popham, "enroll", join, *where], env=environ, check=True, capture_output=True)
        with (fixture.folder / f"{NAME}.log").open("ab") as log:
            process = subprocess.Popen(
                [*popham, "run", "--log-level", "warning", *where], stdout=log, stderr=log, env=environ
            )
        try:
            _until(lambda: client.admit(NAME, "accept"))
            subprocess.run([*popham, "check-in", *where], env=environ, check=False, capture_output=True)
            try:
                wait_for_port(port, process)
            except SystemExit as error:
                raise SystemExit((fixture.folder / f"{NAME}.log").read_text(encoding="utf-8")) from error
            yield Dock(fixture, port, process)
        finally:
            end(process)


def _until(asked: Callable[[], object]) -> None:
    """Ask until it is not refused any more."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            asked()
        except PophamError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
