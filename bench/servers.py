"""What is measured: the Manager as a process, and the references beside it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from popham.client import Client
from popham.clock import SystemClock
from popham.manager.founding import Founding, found
from popham.store.sqlite import SqliteStore
from popham.testing.load.fleet import Target
from popham.testing.load.identity import LoadIdentity, save_identities
from popham.testing.load.planted import plant

_NO_QUOTAS = {"POPHAM_LIMITS__MESSAGES_PER_SECOND": "1000000", "POPHAM_LIMITS__BYTES_PER_SECOND": "1e12"}
PATIENCE = 60.0
"""Seconds until a server that does not answer is given up."""


@dataclass(slots=True)
class Fixture:
    """A Manager's state directory with agents in it, and how to start it."""

    folder: Path
    agents_port: int
    people_port: int
    token: str
    ca: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.folder / "manager"

    @property
    def file(self) -> Path:
        """The identities of the agents."""
        return self.folder / "agents.jsonl"

    @property
    def pid(self) -> int:
        """Of the running Manager."""
        if self.process is None:
            raise LookupError("the Manager is not running")
        return self.process.pid

    def target(self, *, plain: bool, resumes: bool = True) -> Target:
        """Return where agents dial."""
        ca = "" if plain else self.ca
        return Target(host="127.0.0.1", port=self.agents_port, ca=ca, resumes=resumes)

    def client(self) -> Client:
        """Return a client of the REST API."""
        return Client(f"https://127.0.0.1:{self.people_port}", self.token, ca=self.ca)

    def metrics(self) -> dict[str, float]:
        """Return what the Manager measures of itself: name with labels → value."""
        context = ssl.create_default_context(cadata=self.ca)
        bearer = {"Authorization": f"Bearer {self.token}"}
        asked = urllib.request.Request(f"https://127.0.0.1:{self.people_port}/metrics", headers=bearer)
        with urllib.request.urlopen(asked, context=context, timeout=PATIENCE) as answer:  # noqa: S310  # https
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def plant(
        self, *, own: int = 0, stock: int = 0, certified: int | None = None, group: str = "fleet"
    ) -> list[LoadIdentity]:
        """Put agents into the database, and who they are into :attr:`file`."""
        made = asyncio.run(
            plant(self.state, SystemClock(), own=own, stock=stock, certified=certified, group=group)
        )
        save_identities(self.file, (one for one in made if one.certificate != "none"))
        return made

    def start(self, *, plain: bool, quotas: bool = False) -> float:
        """Start the Manager and return the seconds until it serves agents.

        Without ``quotas`` one connection may ask as fast as it is answered, which no agent may.
        """
        words = ["--state", str(self.state), *(["--plain"] if plain else [])]
        began = time.monotonic()
        with (self.folder / "manager.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "popham.testing.load.manager", *words],
                stdout=log,
                stderr=log,
                env=environ_with_bytecode(self.folder) | ({} if quotas else _NO_QUOTAS),
            )
        wait_for_port(self.agents_port, self.process)
        took = time.monotonic() - began
        wait_for_port(self.people_port, self.process)
        return took

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the Manager."""
        if self.process is not None:
            end(self.process, number)
            self.process = None


@contextmanager
def manager_fixture() -> Iterator[Fixture]:
    """Make a Manager's state directory in a folder of its own; all of it goes at the end."""
    folder = Path(tempfile.mkdtemp(prefix="popham-bench-"))
    agents, people = free_ports(2)
    clock = SystemClock()
    asked = Founding(
        state=folder / "manager",
        names=("localhost", "127.0.0.1"),
        urls=(f"https://localhost:{agents}",),
        agents=f"127.0.0.1:{agents}",
        people=f"127.0.0.1:{people}",
    )
    made = asyncio.run(found(asked, clock=clock, open_store=lambda path: SqliteStore.open(path, clock=clock)))
    fixture = Fixture(folder, agents, people, made.token, made.keys.ca.issuers_pem.decode())
    try:
        yield fixture
    finally:
        fixture.stop(signal.SIGKILL)
        shutil.rmtree(folder)


@contextmanager
def _serving(process: subprocess.Popen[bytes], port: int, *, ca: str) -> Iterator[tuple[Target, int]]:
    """Yield where a reference serves, once it does, and its process; it is ended afterwards."""
    try:
        wait_for_port(port, process)
        yield Target(host="127.0.0.1", port=port, ca=ca), process.pid
    finally:
        end(process)


@contextmanager
def aiohttp_reference(fixture: Fixture, *, plain: bool) -> Iterator[tuple[Target, int]]:
    """Serve the same work by aiohttp; yields where, and the process."""
    (port,) = free_ports(1)
    tls = fixture.state / "tls"
    files = [] if plain else [str(tls / "listener.pem"), str(tls / "listener.key"), str(tls / "agents.pem")]
    if not plain:
        shutil.copyfile(fixture.state / "keys" / "ca.pem", tls / "agents.pem")
    process = subprocess.Popen([sys.executable, "-m", "bench.reference", str(port), *files])
    with _serving(process, port, ca="" if plain else fixture.ca) as reference:
        yield reference


_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit; worker_rlimit_nofile 19000;
events {{ worker_connections 18000; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{port}{tls}; location / {{ return 200 "0123456789012345678901"; }} {files} }}
}}
"""


@contextmanager
def nginx_reference(fixture: Fixture, *, plain: bool) -> Iterator[tuple[Target, int] | None]:
    """Serve a fixed answer by nginx; yields None where it is not installed."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        yield None
        return
    (port,) = free_ports(1)
    tls = fixture.state / "tls"
    files = (
        ""
        if plain
        else f"ssl_certificate {tls}/listener.pem; ssl_certificate_key {tls}/listener.key; ssl_protocols TLSv1.3;"
        f"ssl_client_certificate {fixture.state}/keys/ca.pem; ssl_verify_client optional;"
    )
    config = fixture.folder / "nginx.conf"
    text = _NGINX.format(folder=fixture.folder, port=port, tls="" if plain else " ssl", files=files)
    config.write_text(text, encoding="utf-8")
    process = subprocess.Popen([program, "-c", str(config), "-p", str(fixture.folder)])
    with _serving(process, port, ca="" if plain else fixture.ca) as reference:
        yield reference


_GO = Path(__file__).parent / "go" / "main.go"


@contextmanager
def go_reference(fixture: Fixture, *, plain: bool) -> Iterator[tuple[Target, int] | None]:
    """Serve a fixed answer by Go's net/http; yields None where there is no toolchain."""
    toolchain = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if toolchain is None:
        yield None
        return
    program = fixture.folder / "go-reference"
    if not program.exists():
        # A toolchain's cache goes with the folder, and nothing is fetched: the program needs Go alone.
        kept = os.environ | {
            "GOCACHE": str(fixture.folder / "go-cache"),
            "GOFLAGS": "-mod=mod",
            "GOPROXY": "off",
        }
        subprocess.run([toolchain, "build", "-o", str(program), str(_GO)], env=kept, check=True)
    (port,) = free_ports(1)
    tls, ca = fixture.state / "tls", fixture.state / "keys" / "ca.pem"
    files = [f"-certificate={tls}/listener.pem", f"-key={tls}/listener.key", f"-agents={ca}"]
    process = subprocess.Popen([str(program), f"-port={port}", *([] if plain else files)])
    with _serving(process, port, ca="" if plain else fixture.ca) as reference:
        yield reference


def environ_with_bytecode(folder: Path) -> dict[str, str]:
    """Return the environment of a process that finds Python's bytecode, as an installation by pip has it.

    The first process writes it below ``folder``; the figures of a first start say nothing.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """End a process that was started here."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once something listens on a port of this machine."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise SystemExit(f"nothing listens on port {port}; the process ended with {process.poll()}")


def free_ports(count: int) -> list[int]:
    """Return ports that nothing uses now, below those that the kernel gives to dialers."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
