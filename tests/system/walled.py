"""A machine in a network namespace beside another one, for tests that run once more in namespaces of their own.

Behind a wall, what the machine's own side opens outward is counted and goes no further; what comes in is answered.
Nothing of this machine's own network is touched.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

INSIDE = "TESTS_BEHIND_A_WALL"
AGAIN = ("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--timeout=270", "-k", "inside")
MANAGER, NEAR, FAR = "198.51.100.1", "203.0.113.1", "203.0.113.2"
"""Addresses for documentation. Source: RFC 5737."""
FAKETIME = ("usr/lib/*/faketime/libfaketime.so.1", "usr/lib/faketime/libfaketime.so.1")
DAY = 86_400
END = """
import fcntl, os, selectors, struct, sys
name, other, counts = sys.argv[1], int(sys.argv[2]), sys.argv[3]
end = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(end, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF: packets alone
print("ready", flush=True)
ways = selectors.DefaultSelector()
ways.register(end, selectors.EVENT_READ, other)
ways.register(other, selectors.EVENT_READ, end)

def opens(packet):
    if packet[0] >> 4 != 4:
        return b"?"  # nothing here speaks IPv6; what the machine says of itself is dropped, and opens nothing
    if packet[9] == 6:
        flags = packet[(packet[0] & 15) * 4 + 13]
        return b"S" if flags & 0x12 == 0x02 else b""
    return b"" if packet[9] == 1 else b"U"

while True:
    for key, _ in ways.select():
        packet = os.read(key.fd, 65536)
        kind = opens(packet) if counts and key.fd == end else b""
        if kind:
            with open(counts, "ab") as file:
                file.write(kind)
            continue
        try:
            os.write(key.data, packet)
        except OSError:
            pass  # the other end is down; packets may be lost
"""
"""One end of a wire between two namespaces; the walled one lets no connection begin."""


@dataclass
class Wall:
    """What a test knows of the machine behind it.

    Attributes:
        inside: Words before a command that is to run there.
        counts: The file that notes what the machine would open; None if it may open what it likes.
        address: Where it is reached.
    """

    inside: tuple
    counts: Path | None
    address: str = FAR

    def tried(self, kind="S"):
        """Return how many packets of a kind were sent to open something outward: S for TCP, U for UDP and others."""
        return self.counts.read_text().count(kind) if self.counts.exists() else 0

    def try_out(self):
        """Have somebody behind the wall dial outward, so that a count of none means something."""
        dial = f"import socket; socket.create_connection(('{MANAGER}', 9), 0.2)"
        subprocess.run([*self.inside, sys.executable, "-c", dial], check=False, capture_output=True)


def run(*words):
    """Run a command to its end; it must succeed."""
    subprocess.run(words, check=True, capture_output=True)


def plug(inside, name, wire, address, counts=None):
    """Start an end of the wire in a namespace; return its process once the interface is up."""
    words = [*inside, sys.executable, "-c", END, name, str(wire.fileno()), str(counts or "")]
    process = subprocess.Popen(words, pass_fds=[wire.fileno()], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    run(*inside, "ip", "address", "add", f"{address}/30", "dev", name)
    run(*inside, "ip", "link", "set", name, "up")
    return process


@contextlib.contextmanager
def stand_wall(counts=None):
    """Make a namespace joined to this one by a wire, behind a wall if that counts; the Manager's address is here."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{MANAGER}/32", "dev", "lo")
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    processes = [subprocess.Popen(["unshare", "-n", "sleep", "600"])]
    wall = Wall(("nsenter", "-t", str(processes[0].pid), "-n"), counts)
    try:
        mine, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{processes[0].pid}/ns/net")
        while mine.readlink() == theirs.readlink():
            assert processes[0].poll() is None
        run(*wall.inside, "ip", "link", "set", "lo", "up")
        processes += [
            plug((), "near", ends[0], NEAR),
            plug(wall.inside, "far", ends[1], FAR, wall.counts),
        ]
        run(*wall.inside, "ip", "route", "add", "default", "via", NEAR)
        yield wall
    finally:
        for process in processes:
            process.kill()
            process.communicate()
        for end in ends:
            end.close()


def find_faketime():
    """Return the libraries that lie about the time, as far as there are any."""
    return sorted(path for pattern in FAKETIME for path in Path("/").glob(pattern))


def days_ahead(days):
    """Return the environment in which a process believes that it is so many days later."""
    return {
        "LD_PRELOAD": str(find_faketime()[0]),
        "FAKETIME": f"+{days}d",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


def run_inside(file, what, *, later=False):
    """Run the test of ``file`` once more, in a namespace of its own; skip loudly where that cannot be.

    ``later``: it has processes believe that it is later than it is.
    """
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"NOT TESTED: {what}: there is no {', '.join(missing)} on this machine")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"NOT TESTED: {what}: this account may not make a network namespace")
    tun = ["unshare", "-n", "ip", "tuntap", "add", "a", "mode", "tun"]
    if subprocess.run(tun, check=False, capture_output=True).returncode:
        pytest.skip(f"NOT TESTED: {what}: there is no /dev/net/tun on this machine")
    if later and not find_faketime():
        pytest.skip(f"NOT TESTED: {what}: there is no libfaketime on this machine")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, *AGAIN, file],
        env=os.environ | {INSIDE: "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if done.stdout.startswith("s"):
        said = next(line for line in done.stdout.splitlines() if line.startswith("SKIPPED"))
        pytest.skip(f"NOT TESTED: {what}: {said}")
    assert done.stdout.startswith("."), "it ran"
