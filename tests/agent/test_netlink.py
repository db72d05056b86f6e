"""The kernel's own word on the network, in a network of our own where this system lets us have one."""

import json
import os
import shutil
import struct
import subprocess
import sys

import pytest

from popham import posix
from popham.agent import netlink
from popham.agent.netlink import NetworkWatch, read_network

LOOK = """
import json
from popham.agent.netlink import read_network
found = read_network()
up = {link.index: link for link in found.links}
print(json.dumps({
    "links": {link.name: [link.up, link.kind, link.member] for link in found.links},
    "addresses": sorted((up[index].name, address) for index, address in found.addresses),
    "gateways": sorted(found.routers),
}))
"""
MOVE = """
import asyncio, subprocess, sys, time
from popham.agent.surroundings import Machine
from popham.model.criteria import Needs
from tests_orders import follow

async def main():
    locator, enforcer = follow(Machine({}))
    running = asyncio.ensure_future(locator.run())
    async with asyncio.timeout(20):
        # The second look is for what changed before the kernel was listened to; from then on it has to tell.
        await enforcer.until(lambda: enforcer.looks >= 2)
        begin = time.monotonic()
        subprocess.run(["ip", "address", "add", "10.1.2.3/24", "dev", "p0"], check=True)
        await enforcer.until(lambda: enforcer.where == "office")
        took = time.monotonic() - begin
        subprocess.run(["ip", "link", "set", "p0", "down"], check=True)
        await enforcer.until(lambda: enforcer.where == "default")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print(took)

asyncio.run(main())
"""


def in_namespace(script, code, *, path=""):
    """Run shell lines and then Python in a network namespace of its own."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("there is no unshare(1) or ip(8) on this machine")
    kind = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-U", "-r", "-n"]
    if subprocess.run([*kind, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"this account may not make a network namespace: {' '.join(kind)}")
    lines = f'set -e\n{script}\nexec "{sys.executable}" -c "$CODE"'
    paths = os.pathsep.join(filter(None, [path, *sys.path]))
    done = subprocess.run(
        [*kind, "sh", "-c", lines],
        env=os.environ | {"CODE": code, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode and "Operation not permitted" in done.stderr:
        pytest.skip(f"this kernel lets nobody change such a namespace: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


PAIR = "ip link set lo up\nip link add p0 type veth peer name p1\nip link set p0 up\nip link set p1 up"


def test_f_g3_addresses_gateways_and_interfaces_are_what_the_kernel_says():
    script = f"""{PAIR}
ip link add name v0 type veth peer name v1
ip link add b0 type bridge && ip link set p1 master b0 || true
ip address add 10.1.2.3/24 dev p0
ip address add 192.0.2.1 peer 192.0.2.2 dev p0
ip address add fd00::3/64 dev p0 nodad
ip route add default via 10.1.2.1
ip route add default metric 50 nexthop via 10.1.2.7 nexthop via 10.1.2.8
ip route add 10.8.0.0/16 via 10.1.2.9
ip -6 route add default via fd00::1 dev p0"""
    found = json.loads(in_namespace(script, LOOK))
    assert found["gateways"] == ["10.1.2.1", "10.1.2.7", "10.1.2.8", "fd00::1"]
    assert {
        ("lo", "127.0.0.1"),
        ("p0", "10.1.2.3"),
        ("p0", "192.0.2.1"),
        ("p0", "fd00::3"),
    } <= {tuple(pair) for pair in found["addresses"]}
    links = found["links"]
    assert links["p0"] == [True, "veth", False]
    assert links["v0"] == [False, "veth", False]
    if "b0" in links:  # not every kernel has bridges
        assert links["b0"][1] == "bridge"
        assert links["p1"] == [True, "veth", True]
    assert links["lo"][0] is True


FOLLOW = """
import asyncio
from popham.agent.location import Locator
from popham.model.criteria_form import criterion_from_dict
from popham.model.location import Location, LocationRules
from popham.model.status import Outcome

class Follows:
    class progress:
        outcome = Outcome.APPLIED
    rules = LocationRules(
        locations=(Location(name="default"), Location(name="office", weight=1, when=criterion_from_dict({"address": "10.0.0.0/8"}))),
        check=3600.0,
    )
    where, looks = "default", 0
    looked = asyncio.Event()

    def move(self, found, by):
        self.looks += 1
        moved, self.where = found.location != self.where, found.location
        self.looked.set()
        return moved

    async def until(self, holds):
        while not holds():
            self.looked.clear()
            await self.looked.wait()

async def settle():
    pass

def follow(host):
    enforcer = Follows()
    return Locator(enforcer, host, settle, lambda: None, allows=lambda _: True), enforcer
"""


def test_f_g3_a_new_address_changes_the_location_within_a_second_without_polling(tmp_path):
    (tmp_path / "tests_orders.py").write_text(FOLLOW)
    took = float(in_namespace(PAIR, MOVE, path=str(tmp_path)))
    assert took < 1.0


def test_a_machine_without_netlink_is_looked_at_by_polling(monkeypatch):
    monkeypatch.delattr(posix.socket, "AF_NETLINK")
    assert posix.open_netlink(0) is None
    assert read_network() is None
    assert NetworkWatch.open(lambda: None) is None


class Kernel:
    """A socket that answers with what it was given."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.reader, self.writer = os.pipe()
        os.write(self.writer, b"x")

    def fileno(self):
        return self.reader

    def send(self, data):
        return len(data)

    def recv(self, _size):
        return self.answers.pop(0) if self.answers else b""

    def close(self):
        os.close(self.reader)
        os.close(self.writer)


@pytest.mark.parametrize(
    "answer",
    [
        struct.pack("=IHHII", 4, 16, 0, 18, 0) + bytes(40),
        struct.pack("=IHHII", 20, 2, 0, 18, 0) + bytes(4),
        struct.pack("=IHHII", 20, 16, 0, 18, 0) + bytes(4),
    ],
    ids=["a length below the header", "an error", "a body cut short"],
)
def test_what_the_kernel_says_in_another_form_is_no_knowledge(monkeypatch, answer):
    monkeypatch.setattr(netlink, "open_netlink", lambda _groups: Kernel(answer))
    assert read_network() is None


def test_an_answer_has_a_bound(monkeypatch):
    class Endless(Kernel):
        def recv(self, _size):
            return struct.pack("=IHHII", 16, 16, 0, 0, 0) * 4096

    monkeypatch.setattr(netlink, "open_netlink", lambda _groups: Endless())
    assert read_network() == netlink.Network(links=(), addresses=(), routers=())


def test_attributes_that_end_in_the_middle_end():
    assert list(netlink._attributes(struct.pack("=HH", 2, 3))) == []
    assert list(netlink._attributes(struct.pack("=HHI", 8, 3, 7) + b"\x08")) == [(3, struct.pack("=I", 7))]
