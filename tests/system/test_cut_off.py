"""A policy that removes a machine's default route, in network namespaces of its own; its machine undoes it.

The test runs itself once more inside a namespace, where the Manager is; the agent is in another, and reaches
it by its default route only.  Nothing of this machine's own network is touched.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import POPHAM

INSIDE = "TESTS_IN_NAMESPACE"
AGAIN = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "inside")
MANAGER, NEAR, FAR = "198.51.100.1", "203.0.113.1", "203.0.113.2"
"""Addresses for documentation. Source: RFC 5737."""
KNOWN = 30.0
"""Seconds in which it is undone once it is known. Source: guarantees, REL-11."""
END = """
import fcntl, os, selectors, struct, sys
name, other = sys.argv[1], int(sys.argv[2])
end = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(end, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF: packets alone
print("ready", flush=True)
ways = selectors.DefaultSelector()
ways.register(end, selectors.EVENT_READ, other)
ways.register(other, selectors.EVENT_READ, end)
while True:
    for key, _ in ways.select():
        packet = os.read(key.fd, 65536)
        try:
            os.write(key.data, packet)
        except OSError:
            pass  # the other end is down; packets may be lost
"""
"""One end of a wire between two namespaces: an interface whose packets go to a socket."""
ROUTE = f"""\
#!/bin/sh
case "$(cat $1)" in
up) exec ip route replace default via {NEAR} ;;
*) exec ip route del default ;;
esac
"""


def run(*words):
    """Run a command to its end; it must succeed."""
    subprocess.run(words, check=True, capture_output=True)


def plug(inside, name, wire, address):
    """Start an end of the wire in a namespace; return its process once the interface is up."""
    words = [*inside, sys.executable, "-c", END, name, str(wire.fileno())]
    process = subprocess.Popen(words, pass_fds=[wire.fileno()], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    run(*inside, "ip", "address", "add", f"{address}/30", "dev", name)
    run(*inside, "ip", "link", "set", name, "up")
    return process


@pytest.fixture
def beside():
    """A namespace beside this one, joined to it by a wire; returns the words that run a command there."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{MANAGER}/32", "dev", "lo")
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    processes = [subprocess.Popen(["unshare", "-n", "sleep", "600"])]
    try:
        mine, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{processes[0].pid}/ns/net")
        while mine.readlink() == theirs.readlink():
            assert processes[0].poll() is None
        inside = ("nsenter", "-t", str(processes[0].pid), "-n")
        run(*inside, "ip", "link", "set", "lo", "up")
        processes += [plug((), "near", ends[0], NEAR), plug(inside, "far", ends[1], FAR)]
        run(*inside, "ip", "route", "add", "default", "via", NEAR)
        yield inside
    finally:
        for process in processes:
            process.kill()
            process.communicate()
        for end in ends:
            end.close()


def test_rel_11_inside(founding, beside):
    fleet = founding(MANAGER).found()
    fleet.group("web", preset="Pull by heartbeat", heartbeat="2s")
    machine = fleet.unjoined("first")
    script = fleet.folder / "route"
    script.write_text(ROUTE)
    script.chmod(0o755)
    file = machine.root / "motd"
    toml = f'[commands]\nroute = ["{script}", "{file}"]\n[health]\nwindow = 3\n'
    machine.config.write_text(machine.config.read_text() + toml)
    own = ("--config", str(machine.config))
    run(*beside, *POPHAM, "agent", "enroll", fleet.join("web"), *own)
    with (fleet.folder / machine.log).open("ab") as log:
        words = [*beside, *POPHAM, "agent", "run", *own]
        agent = subprocess.Popen(words, stdout=log, stderr=log, env=fleet.env)
    fleet.processes.append(agent)
    fleet.until(machine.settled, "it has joined")
    # Placed files that the command names as an argument are data; the script itself is out of reach.
    fleet.publish("web", machine, "up", extra="reload: route")
    fleet.until(machine.settled, "it has the policy")
    fleet.until(lambda: "watched:" not in machine.popham("status", code=None).stdout, "it has proven itself")
    fleet.publish("web", machine, "down", extra="reload: route")
    fleet.until(lambda: machine.has("down"), "the route is gone")
    took = fleet.until(lambda: machine.has("up"), "it is undone", patience=KNOWN + 30)
    assert took <= KNOWN
    (undone,) = json.loads(machine.popham("status", "-o", "json", code=None).stdout)["undone"]
    assert undone["error_code"] == "policy.undone_contact"


def test_rel_11_a_policy_that_removes_the_default_route_is_undone_by_its_machine():
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"NOT TESTED: removing a default route: there is no {', '.join(missing)} on this machine")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: removing a default route: this account may not make a network namespace")
    if subprocess.run(
        ["unshare", "-n", "ip", "tuntap", "add", "a", "mode", "tun"], check=False, capture_output=True
    ).returncode:
        pytest.skip("NOT TESTED: removing a default route: there is no /dev/net/tun on this machine")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, *AGAIN, __file__],
        env=os.environ | {INSIDE: "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("."), "neither skipped nor left out"


if INSIDE in os.environ:
    del test_rel_11_a_policy_that_removes_the_default_route_is_undone_by_its_machine
else:
    del test_rel_11_inside
