"""A Manager that may open few files, or has little memory: it refuses, goes on, and serves as before."""

import contextlib
import resource
import socket
import ssl
import threading
from pathlib import Path

import pytest

FILES = 256
STRANGERS = 400
"""Connections that are tried: more than the process may have files."""
SPARE = 32 * 2**20
"""Bytes of address space that are left to the Manager."""
SENDERS, BODY = 48, 4 * 2**20 - 4096
"""Bodies of nearly as many bytes as one may have, sent but for the last byte: six times what is left."""
HEAD = (
    "POST /v1/opamp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
    "Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
)


@pytest.fixture(scope="module")
def afloat(founding):
    """A Manager of its own, with an agent that holds a link."""
    if not hasattr(resource, "prlimit") or not Path("/proc/self/fd").exists():
        pytest.skip("this system cannot limit a running process (prlimit), or does not show one (/proc)")
    fleet = founding().found()
    fleet.group("fleet")
    fleet.web = fleet.machine("web-1")
    fleet.until(lambda: fleet.web.settled() and fleet.web.view["connected"], "web-1 holds a link")
    return fleet


@contextlib.contextmanager
def limited(fleet, kind, most):
    """Limit the running Manager, and take the limit back at the end."""
    _, hard = before = resource.prlimit(fleet.manager.pid, kind)
    resource.prlimit(fleet.manager.pid, kind, (most, hard))
    yield
    if fleet.manager.poll() is None:
        resource.prlimit(fleet.manager.pid, kind, before)


def test_rel_22_with_256_files_a_manager_waits_and_goes_on(afloat):
    fleet = afloat
    files = Path(f"/proc/{fleet.manager.pid}/fd")
    with limited(fleet, resource.RLIMIT_NOFILE, FILES):
        with contextlib.ExitStack() as stack:
            for number in range(STRANGERS):
                port = (fleet.agents_port, fleet.people_port)[number % 2]
                stack.enter_context(socket.create_connection((fleet.address, port), 10))
            fleet.until(lambda: len(list(files.iterdir())) >= FILES - 8, "the Manager has all files it may")
            assert fleet.manager.poll() is None
        fleet.until(fleet.answers, "the Manager serves people again")
        check_as_before(fleet, "afloat with few files")


def test_rel_22_with_little_memory_a_manager_refuses_what_is_large_and_goes_on(afloat):
    fleet = afloat
    token = fleet.join(kind="stock")
    senders = [Sender(fleet, token) for _ in range(SENDERS)]
    with limited(fleet, resource.RLIMIT_AS, address_space(fleet) + SPARE):
        for sender in senders:
            sender.start()
        fleet.until(lambda: all(sender.sent or not sender.is_alive() for sender in senders), "all are heard")
        assert fleet.manager.poll() is None
        Sender.gate.set()
        for sender in senders:
            sender.join(30)
        refused = [sender.end for sender in senders if sender.end]
        assert len(refused) >= SENDERS // 4
        assert not [end for end in refused if end.startswith("HTTP/1.1 2")]
        check_as_before(fleet, "afloat with little memory")


def address_space(fleet):
    """Return the bytes of address space that the Manager has."""
    lines = Path(f"/proc/{fleet.manager.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmSize")) * 1024


class Sender(threading.Thread):
    """Sends a body but for its last byte, and waits.

    Attributes:
        sent: Whether all of that was taken.
        end: What became of it; empty while the Manager holds it.
    """

    gate = threading.Event()

    def __init__(self, fleet, token):
        super().__init__()
        self._fleet = fleet
        self._head = HEAD.format(token=token, length=BODY).encode()
        self.sent = False
        self.end = ""

    def run(self):
        fleet = self._fleet
        context = ssl.create_default_context(cafile=fleet.state / "keys" / "ca.pem")
        try:
            with (
                socket.create_connection((fleet.address, fleet.agents_port), 20) as raw,
                context.wrap_socket(raw, server_hostname="localhost") as sock,
            ):
                sock.sendall(self._head + bytes(BODY - 1))
                self.sent = True
                sock.settimeout(0.1)
                while not self.gate.is_set() and not self.end:
                    with contextlib.suppress(TimeoutError):
                        self.end = sock.recv(100).decode() or "closed"
        except OSError as error:
            self.end = str(error)


def check_as_before(fleet, text):
    """The Manager never ended, and brings a change to its agents: people, database and links are served."""
    assert fleet.manager.poll() is None
    fleet.publish("fleet", fleet.web, text)
    fleet.until(lambda: fleet.web.has(text) and fleet.web.settled(), "web-1 has the change")
