"""Machines in network namespaces of their own, joined by wires to a switch; and what may happen to wires.

The tests that use them run once more, in a namespace of network and of processes, which ends with them: nothing of
this machine's own network is touched, and nothing of theirs outlives them, however they end.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = "TESTS_IN_NAMESPACES"
ALONE = ("unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child")
AGAIN = ("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-m", "soak or not soak", "-k", "inside")
SWITCH, NETWORK, LEAST = "switch", "203.0.113", 10
"""A network for documentation, and the last part of its first address. Source: RFC 5737."""
DESK, DOOR = "192.0.2.1", "192.0.2.2"
"""Ends of the wire from the people to the Manager, which nothing happens to. Source: likewise."""
DROPS = (("netem", "loss", "100%"), ("blackhole",))
"""Queues that lose all that is sent; the first that the kernel knows is used."""


def run(*words):
    """Run a command to its end; it must succeed."""
    subprocess.run(words, check=True, capture_output=True)


class Wire:
    """A machine's namespace, and its wire to the switch.

    Attributes:
        address: Where the machine is reached.
        inside: Words before a command that is to run there.
    """

    def __init__(self, name, number, drop):
        """Make the namespace of the machine ``name``, and join it to the switch."""
        self.name, self.address, self._drop = name, f"{NETWORK}.{LEAST + number}", drop
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        mine, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{self._holder.pid}/ns/net")
        while mine.readlink() == theirs.readlink():
            assert self._holder.poll() is None
        self.inside = ("nsenter", "-t", str(self._holder.pid), "-n")
        self.join(name, "wire", f"{self.address}/24")
        run(*self.inside, "ip", "link", "set", "lo", "up")
        run("ip", "link", "set", name, "master", SWITCH)

    def join(self, here, there, address):
        """Lay a wire of two ends; the far one is in the machine, and has an address."""
        holder = str(self._holder.pid)
        run("ip", "link", "add", "name", here, "type", "veth", "peer", "name", there, "netns", holder)
        run(*self.inside, "ip", "address", "add", address, "dev", there)
        run(*self.inside, "ip", "link", "set", there, "up")
        run("ip", "link", "set", here, "up")

    def cut(self):
        """Unplug it: both ends notice."""
        run("ip", "link", "set", self.name, "down")

    def mute(self):
        """Lose all that the machine sends; it still hears."""
        run(*self.inside, "tc", "qdisc", "add", "dev", "wire", "root", *self._drop)

    def deafen(self):
        """Lose all that is sent to the machine; it still sends."""
        run("tc", "qdisc", "add", "dev", self.name, "root", *self._drop)

    def heal(self):
        """Have it be as it was, whatever happened to it."""
        run("ip", "link", "set", self.name, "up")
        ends = ((*self.inside, "tc", "qdisc", "del", "dev", "wire", "root"),)
        for words in (*ends, ("tc", "qdisc", "del", "dev", self.name, "root")):
            subprocess.run(words, check=False, capture_output=True)  # there may be nothing to be taken away

    def remove(self):
        """Let go of the namespace; it is gone with the last process in it."""
        self._holder.communicate()


@contextlib.contextmanager
def lay_wires(names):
    """Yield the wires of machines by name, laid in this namespace; the first is the Manager's, and has the people's."""
    drop = find_drop()
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "name", SWITCH, "type", "bridge")
    run("ip", "address", "add", f"{NETWORK}.1/24", "dev", SWITCH)
    run("ip", "link", "set", SWITCH, "up")
    with contextlib.ExitStack() as stack:
        stack.callback(run, "ip", "link", "del", SWITCH)
        wires = {}
        for number, name in enumerate(names):
            wires[name] = Wire(name, number, drop)
            stack.callback(wires[name].remove)
        wires[names[0]].join("desk", "door", f"{DOOR}/30")
        run("ip", "address", "add", f"{DESK}/30", "dev", "desk")
        yield wires


def find_drop(*before):
    """Return the words for a queue that loses all; None where the kernel knows none. ``before`` enter a namespace."""
    for words in DROPS:
        tried = [*before, "tc", "qdisc", "replace", "dev", "lo", "root", *words]
        if subprocess.run(tried, check=False, capture_output=True).returncode == 0:
            run_off = [*before, "tc", "qdisc", "del", "dev", "lo", "root"]
            subprocess.run(run_off, check=False, capture_output=True)
            return words
    return None


def run_inside(file, what, folder, *, seconds=120):
    """Run the tests of ``file`` with *inside* in their names in namespaces; skip loudly where that cannot be.

    ``folder`` is where they may write, ``seconds`` how long they may take.
    """
    missing = [name for name in ("unshare", "nsenter", "ip", "tc") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"NOT TESTED: {what}: there is no {', '.join(missing)} on this machine")
    pair = ["ip", "link", "add", "name", "one", "type", "veth", "peer", "name", "other"]
    lacking = {
        "make namespaces": ["true"],
        "lay wires in them": pair,
        "have a switch there": ["ip", "link", "add", "name", "one", "type", "bridge"],
    }
    for deed, words in lacking.items():
        if subprocess.run([*ALONE, *words], capture_output=True, check=False).returncode:
            pytest.skip(f"NOT TESTED: {what}: this account, or this kernel, may not {deed}")
    if find_drop("unshare", "--net") is None:
        pytest.skip(f"NOT TESTED: {what}: this kernel knows no queue that loses what is sent")
    options = (f"--timeout={seconds}", f"--basetemp={folder / 'inside'}")
    done = subprocess.run(
        [*ALONE, sys.executable, *AGAIN, *options, file],
        env=os.environ | {INSIDE: "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("."), f"it ran: {done.stdout}"
