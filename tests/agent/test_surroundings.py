"""What a machine sees around it: from made-up kernels and files, and from this very machine."""

import asyncio
import socket
import threading
import time

import pytest

from popham.agent import surroundings
from popham.agent.netlink import Link, Network
from popham.agent.surroundings import Machine, resolve_name
from popham.model.criteria import Needs
from popham.net.lookups import THREADS_MAX, Lookups

NOTHING = Network(links=(), addresses=(), routers=())


def link(name, *, index=2, hardware=1, kind="", member=False, up=True):
    return Link(index=index, name=name, hardware=hardware, kind=kind, member=member, up=up)


def machine(root, network=NOTHING, **rest):
    return Machine({"SITE": "paris"}, root=root, read=lambda: network, **rest)


async def join_lookups():
    """Wait until the threads of lookups have ended, and what they found has come back."""
    for thread in threading.enumerate():
        if thread.name.startswith("lookup "):
            await asyncio.to_thread(thread.join)


async def resolver_of(root, text, **behind):
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/resolv.conf").write_text(text)
    for folder, inner in behind.items():
        path = root / "run" / folder.replace("_", "/", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(inner)
    found = await machine(root).look(Needs())
    return found.dns_servers, found.dns_suffixes


async def test_f_g3_this_machine_sees_itself():
    found = await Machine({"HOME": "/root"}).look(Needs())
    assert found.host_name == socket.gethostname()
    assert found.interfaces["lo"] == "loopback"
    assert not [address for address in found.addresses if address.startswith("127.")]
    assert found.environment == {"HOME": "/root"}
    assert found.manager is None


async def test_f_g3_what_is_asked_for_is_looked_up_and_nothing_else(tmp_path):
    (tmp_path / "docked").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        names = {"intern.example": ("10.0.0.1",), "here.example": ("127.0.0.1",)}
        here = machine(tmp_path, resolve=lambda name: names.get(name, ()))
        files = {str(tmp_path / name) for name in ("docked", "undocked", "docked/below", "dangling")}
        wanted = Needs(
            names=frozenset({"intern.example", "nope.example"}),
            reachable=frozenset({f"127.0.0.1:{port}", f"here.example:{port}", "nope.example:1", "[::1]:1"}),
            files=frozenset(files),
        )
        found = await here.look(wanted)
    assert found.names == {"intern.example": ("10.0.0.1",), "nope.example": ()}
    assert found.reachable == {
        f"127.0.0.1:{port}": True,
        f"here.example:{port}": True,
        "nope.example:1": False,
        "[::1]:1": False,
    }
    assert {path.rpartition("/")[2] for path, there in found.files.items() if there} == {"docked"}
    assert (await here.look(Needs())).names == {}


async def test_f_g3_what_hangs_is_given_up_blocks_nothing_and_is_not_asked_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "BOUND", 0.05)
    go, asked = threading.Event(), []

    def hang(name):
        asked.append(name)
        go.wait(10)
        return ("10.0.0.1",)

    here = machine(tmp_path, resolve=hang)
    wanted = Needs(names=frozenset({"slow.example"}), reachable=frozenset({"dead.example:443"}))
    try:
        for _ in range(3):
            begin = time.monotonic()
            found = await here.look(wanted)
            assert found.names == {"slow.example": None}
            assert found.reachable == {"dead.example:443": False}
            assert time.monotonic() - begin < 1
        assert sorted(asked) == ["dead.example", "slow.example"]
    finally:
        go.set()
    await join_lookups()
    monkeypatch.undo()
    assert (await here.look(Needs(names=wanted.names))).names == {"slow.example": ("10.0.0.1",)}


async def test_f_g3_one_name_serves_all_the_criteria_that_ask_for_it(tmp_path):
    asked = []

    def resolve(name):
        asked.append(name)
        return ("127.0.0.1",)

    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        both = {f"here.example:{server.getsockname()[1]}" for server in (one, other)}
        wanted = Needs(names=frozenset({"here.example"}), reachable=frozenset(both))
        found = await machine(tmp_path, resolve=resolve).look(wanted)
    assert found.names == {"here.example": ("127.0.0.1",)}
    assert found.reachable == dict.fromkeys(both, True)


async def test_all_that_is_looked_up_together_has_an_end_too(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "BOUND", 0.2)
    monkeypatch.setattr(surroundings, "BOUND_OF_ALL", 0.3)
    go = threading.Event()
    names = frozenset(f"n{number}.example" for number in range(500))
    begin = time.monotonic()
    try:
        found = await machine(tmp_path, resolve=lambda _: go.wait(10) and ()).look(Needs(names=names))
    finally:
        go.set()
    assert set(found.names.values()) == {None}
    assert time.monotonic() - begin < 2


async def test_only_so_many_calls_hang_at_once():
    go, lookups = threading.Event(), Lookups()
    try:
        for number in range(THREADS_MAX):
            assert await lookups.ask(str(number), lambda: go.wait(10), seconds=0.001) is None
        assert await lookups.ask("one more", lambda: 7, seconds=1) is None
    finally:
        go.set()
    await join_lookups()
    assert await lookups.ask("later", lambda: 7, seconds=10) == 7


async def test_where_the_system_gives_no_more_threads_nothing_is_known_and_it_is_asked_again(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    lookups = Lookups()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert await lookups.ask("name", lambda: 7, seconds=10) is None
    assert await lookups.ask("name", lambda: 7, seconds=10) == 7


async def test_a_name_that_nobody_can_look_up_is_unknown_and_one_that_is_not_there_is_known(tmp_path):
    def resolve(name):
        if name == "asleep.example":
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return ()

    found = await machine(tmp_path, resolve=resolve).look(
        Needs(names=frozenset({"asleep.example", "nope.example"}))
    )
    assert found.names == {"asleep.example": None, "nope.example": ()}


def test_real_names_are_resolved():
    assert resolve_name("127.0.0.1") == ("127.0.0.1",)
    assert resolve_name("x" * 64 + ".example") == ()


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (link("lo", hardware=772), "loopback"),
        (link("eth0"), "ethernet"),
        (link("bond0", kind="bond"), "ethernet"),
        (link("eth0", kind="veth"), "ethernet"),
        (link("veth1a2b", kind="veth", member=True), "other"),
        (link("docker0", kind="bridge"), "other"),
        (link("dummy0", kind="dummy"), "other"),
        (link("wlan0"), "wireless"),
        (link("wwan0", hardware=519), "mobile"),
        (link("ppp0", hardware=512), "mobile"),
        (link("wg0", hardware=65534, kind="wireguard"), "vpn"),
        (link("tun0", hardware=65534, kind="tun"), "vpn"),
        (link("tap0", kind="tun"), "vpn"),
        (link("ipip1", hardware=768, kind="ipip"), "vpn"),
        (link("can0", hardware=280), "other"),
    ],
)
async def test_f_g3_interfaces_have_the_types_that_criteria_name(tmp_path, seen, kind):
    folder = tmp_path / "sys/class/net/wlan0"
    folder.mkdir(parents=True)
    (folder / "uevent").write_text("DEVTYPE=wlan\nINTERFACE=wlan0\n")
    network = Network(links=(seen,), addresses=(), routers=())
    assert (await machine(tmp_path, network).look(Needs())).interfaces == {seen.name: kind}


async def test_f_g3_an_interface_that_is_down_has_neither_type_nor_address(tmp_path):
    network = Network(
        links=(link("eth0", index=2), link("eth1", index=3, up=False), link("lo", index=1, hardware=772)),
        addresses=((1, "127.0.0.1"), (1, "::1"), (1, "192.0.2.9"), (2, "10.1.2.3"), (3, "10.9.9.9")),
        routers=("10.1.2.1",),
    )
    found = await machine(tmp_path, network).look(Needs())
    assert found.interfaces == {"eth0": "ethernet", "lo": "loopback"}
    assert found.addresses == ("192.0.2.9", "10.1.2.3")
    assert found.gateways == ("10.1.2.1",)


async def test_f_g3_resolvers_and_search_domains_come_from_resolv_conf(tmp_path):
    text = "# made\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver nonsense\nsearch Old.example\nsearch Paris.Example. example\noptions ndots:1\nsearch\n"
    servers, suffixes = await resolver_of(tmp_path, text)
    assert servers == ("10.0.0.53", "fe80::1%eth0")
    assert suffixes == ("paris.example", "example")


async def test_f_g3_behind_a_stub_the_resolvers_it_asks_count(tmp_path):
    stub = "nameserver 127.0.0.53\noptions edns0\nsearch .\n"
    assert await resolver_of(tmp_path, stub) == (("127.0.0.53",), ())
    real = "nameserver 10.0.0.53\nsearch paris.example\n"
    assert await resolver_of(tmp_path, stub, **{"systemd_resolve/resolv.conf": real}) == (
        ("10.0.0.53",),
        ("paris.example",),
    )


async def test_files_that_are_missing_or_binary_are_no_error(tmp_path):
    (tmp_path / "etc").mkdir()
    assert (await machine(tmp_path).look(Needs())).dns_servers == ()
    (tmp_path / "etc/resolv.conf").write_bytes(b"\xff\xfenameserver \x00\n" * 100_000)
    assert (await machine(tmp_path).look(Needs())).dns_servers == ()


async def test_f_g3_the_domain_of_the_host_name_is_a_suffix(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "web-7.paris.example")
    found = await machine(tmp_path).look(Needs())
    assert found.dns_suffixes == ("paris.example",)


async def test_where_the_kernel_cannot_be_asked_the_addresses_dialled_from_are_known(tmp_path):
    found = await Machine({}, root=tmp_path, read=lambda: None).look(Needs())
    assert (found.interfaces, found.gateways) == ({}, ())
    assert all(not address.startswith("127.") for address in found.addresses)
