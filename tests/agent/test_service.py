"""The agent's service on its own machine: on, off, enabled, in the way of others, and what is told of it."""

import asyncio
import os
import random
import socket
import ssl
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from popham.agent.local import SERVICE_TIME, LocalDoor, ask
from popham.agent.occupant import who_listens, who_serves
from popham.agent.service import ENABLED, WORDS, AgentService, enable, is_enabled, say_next
from popham.agent.service_settings import PORT, ServiceSettings, check_service
from popham.agent.settings import load_settings
from popham.agent.state import AgentState
from popham.agent.status import Status
from popham.clock import SystemClock
from popham.errors import ConfigError
from popham.statedir import StateDir
from popham.testing.ports import free_ports
from popham.trust.identity import make_self_signed
from popham.trust.keys import IdentityKey

PATIENCE = 30.0


class Nobody:
    """A world that nobody visits."""

    uid = ""

    def find_director(self, keyid):
        return None

    def find_visitor(self, keyid, statement, *, relays=False):
        return None

    def find_founder(self, keyid, documents, statement=b""):
        return None


class Machine:
    """A state directory with an identity, settings that may change, and a service."""

    def __init__(self, folder):
        self.folder = folder / "state"
        self.dir = StateDir.open(self.folder, "agent", create=True)
        self.state = AgentState(self.dir)
        self.key = IdentityKey.create()
        self.state.create_identity(str(uuid.uuid4()), self.key)
        self.settings = ServiceSettings(port=free_ports(1)[0], hosts=("127.0.0.1",))
        self.told, self.reads = [], 0
        self.tried_again, self.listens = asyncio.Event(), asyncio.Event()

    def tell(self, address):
        self.told.append(address)
        self.listens.set()

    def read(self):
        self.reads += 1
        if self.reads > 1:
            self.tried_again.set()
        if isinstance(self.settings, Exception):
            raise self.settings
        return self.settings

    def service(self):
        return AgentService(
            self.state,
            self.folder,
            read=self.read,
            world=Nobody(),
            clock=SystemClock(),
            rng=random.Random(1),
            told=self.tell,
        )


@pytest.fixture
def home(tmp_path):
    found = Machine(tmp_path)
    yield found
    found.dir.close()


def certificate_at(port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain) as secure,
    ):
        assert secure.version() == "TLSv1.3"
        return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True))


def answers(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


async def test_f_l3_it_is_off_until_it_is_started_and_off_again_once_stopped(home):
    service, port = home.service(), home.settings.port
    found = service.describe()
    assert (found["on"], found["address"], found["port"], found["problem"]) == (False, "", port, None)
    assert not answers(port)
    for _ in range(2):  # who starts what is on changes nothing
        found = await service.do("service-start")
        assert (found["on"], found["address"]) == (True, f"https://127.0.0.1:{port}")
    assert answers(port)
    for _ in range(2):
        assert not (await service.do("service-stop"))["on"]
    assert not answers(port)
    assert (await service.do("service-start"))["on"]
    await service.stop()
    assert home.told == [f"https://127.0.0.1:{port}", ""] * 2


async def test_before_it_belongs_to_a_fleet_it_shows_a_certificate_of_its_own(home):
    service = home.service()
    await service.start()
    found = await asyncio.to_thread(certificate_at, home.settings.port)
    assert found.public_key() == home.key.crypto.public_key()
    await service.stop()


async def test_a_renewed_certificate_is_shown_from_the_next_handshake_on(home):
    service, port = home.service(), home.settings.port
    service.renewed()  # nothing listens yet
    await service.start()
    home.state.save_certificate(make_self_signed(home.key, "the new one"))
    service.renewed()
    found = await asyncio.to_thread(certificate_at, port)
    (name,) = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "the new one"
    await service.stop()
    assert [path.name for path in home.folder.iterdir() if path.name.startswith(".tmp-")] == []


async def test_f_l3_a_port_that_is_taken_is_named_and_the_service_stays_off(home):
    service = home.service()
    with socket.create_server(("127.0.0.1", home.settings.port)):
        with pytest.raises(ConfigError) as caught:
            await service.start()
        assert caught.value.code == "config.listen"
        assert str(home.settings.port) in caught.value.problem
        found = service.describe()
        assert (found["on"], found["problem"]["code"]) == (False, "config.listen")
        assert "service start" in found["next"]
    await service.start()
    assert service.describe()["problem"] is None
    await service.stop()


async def test_f_l3_another_port_needs_no_restart_and_a_wrong_one_is_a_sentence(home):
    service = home.service()
    home.settings = ConfigError("service", "it is wrong", "Correct it")
    assert service.describe()["problem"]["problem"] == "it is wrong"
    home.settings, wrong = ServiceSettings(), home.settings
    assert service.describe()["problem"] is None
    home.settings = wrong
    with pytest.raises(ConfigError):
        await service.start()
    (port,) = free_ports(1)
    home.settings = ServiceSettings(port=port, hosts=("127.0.0.1",), tls=False)
    found = await service.do("service-start")
    assert (found["address"], found["problem"]) == (f"http://127.0.0.1:{port}", None)
    assert answers(port)
    await service.stop()


async def test_f_l3_two_on_one_socket_do_not_clash_and_a_dead_ones_is_replaced(home, tmp_path):
    path = tmp_path / "visit.sock"
    home.settings = ServiceSettings(socket=str(path))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first, second = home.service(), home.service()
    await first.start()
    assert (first.address, path.stat().st_mode & 0o777) == ("unix", 0o660)
    with pytest.raises(ConfigError) as caught:
        await second.start()
    assert str(path) in caught.value.problem
    assert (caught.value.code, second.describe()["on"], first.describe()["on"]) == (
        "config.listen",
        False,
        True,
    )
    await first.stop()
    await second.start()
    await second.stop()
    assert not path.exists()


async def test_f_l3_enabled_it_starts_with_the_agent_and_a_busy_port_is_tried_again(home, monkeypatch):
    monkeypatch.setattr("popham.agent.service.AT_FIRST", 0.01)
    service = home.service()
    assert not (await service.do("service"))["enabled"]
    assert (await service.do("service-enable"))["enabled"]
    assert not service.describe()["on"]
    home.reads = 0
    home.tried_again.clear()
    with socket.create_server(("127.0.0.1", home.settings.port)):
        running = asyncio.ensure_future(service.run())
        async with asyncio.timeout(PATIENCE):
            await home.tried_again.wait()
        assert (running.done(), service.describe()["problem"]["code"]) == (False, "config.listen")
    async with asyncio.timeout(PATIENCE):
        await home.listens.wait()
    assert service.describe()["on"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not answers(home.settings.port)
    assert (home.told[-1], is_enabled(home.state)) == ("", True)
    assert not (await service.do("service-disable"))["enabled"]


async def test_f_l3_an_agent_whose_service_is_not_enabled_listens_nowhere(home):
    service = home.service()
    running = asyncio.ensure_future(service.run())
    await asyncio.sleep(0)
    assert not service.describe()["on"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_f_l3_that_it_is_enabled_is_a_file_of_the_state_directory(home):
    enable(home.state, on=True)
    assert (home.folder / ENABLED).is_file()
    enable(home.state, on=False)
    enable(home.state, on=False)
    assert not (home.folder / ENABLED).exists()


async def test_f_p7_an_address_that_may_not_come_is_put_out(home):
    home.settings = ServiceSettings(
        port=home.settings.port, hosts=("127.0.0.1",), deny=("127.0.0.0/8",), tls=False
    )
    service = home.service()
    await service.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", home.settings.port)
    try:
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
    except ConnectionError:
        pass
    writer.close()
    await service.stop()


@pytest.mark.parametrize("claimed", ["", 'Signature-Input: a=();keyid="' + "0" * 64 + '"\r\n'])
async def test_sec_a_stranger_is_refused_before_its_body_came(home, claimed):
    port = free_ports(1)[0]
    home.settings = ServiceSettings(port=port, hosts=("127.0.0.1",), tls=False)
    service = home.service()
    await service.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /v1/visit HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n{claimed}\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
    writer.close()
    await service.stop()
    assert service.describe()["refused"]["count"] == 1


def test_what_to_do_next_is_said_in_each_standing():
    base = {"problem": None, "on": False, "enabled": False, "visitor": None}
    assert "service start" in say_next(base)
    assert "service enable" in say_next(base)
    assert "enable" not in say_next(base | {"enabled": True})
    assert "service enable" in say_next(base | {"on": True})
    assert "Manager" in say_next(base | {"on": True, "enabled": True})
    assert say_next(base | {"on": True, "enabled": True, "visitor": {}}) == ""
    assert say_next(base | {"problem": {"hint": "Stop that"}}).startswith("Stop that")


async def test_f_l3_the_door_passes_words_on_and_says_what_could_not_be_done(home, tmp_path):
    path = tmp_path / "door.sock"
    door = LocalDoor(path, Status(home.state, SystemClock()))
    await door.open()
    early = await ask(path, "service-start")
    assert early["failure"]["code"] == "state.not_enrolled"
    service = home.service()
    door.service = service.do
    assert (await ask(path, "service-start", seconds=SERVICE_TIME))["on"]
    assert (await ask(path, "service-stop", seconds=SERVICE_TIME))["on"] is False
    home.settings = ConfigError("service", "it is wrong", "Correct it")
    failed = await ask(path, "service-start", seconds=SERVICE_TIME)
    assert failed == {"failure": home.settings.as_dict()}
    assert "error" in await ask(path, "service-sing")
    await door.close()


def test_the_words_of_the_door_are_these():
    assert set(WORDS) == {"service", *(f"service-{word}" for word in ("start", "stop", "enable", "disable"))}


@pytest.mark.parametrize(
    ("given", "text", "hosts"),
    [
        ({}, f"https://*:{PORT}", ("0.0.0.0", "::")),
        ({"port": 443, "hosts": ("192.0.2.7",)}, "https://192.0.2.7:443", ("192.0.2.7",)),
        ({"hosts": ("::1",), "tls": False}, f"http://[::1]:{PORT}", ("::1",)),
        ({"port": 8080, "tls": False}, "http://127.0.0.1:8080", ("127.0.0.1", "::1")),
        ({"tls": False, "plain": True}, f"http://*:{PORT}", ("0.0.0.0", "::")),
        ({"socket": "/run/popham/visit.sock", "port": 8080}, "https://*:8080", ("0.0.0.0", "::")),
    ],
)
def test_f_l3_where_it_listens(given, text, hosts):
    settings = ServiceSettings(**given)
    check_service(settings, "agent.toml")
    assert (settings.text, settings.addresses) == (text, hosts)


def test_f_l3_with_a_socket_alone_there_is_no_port():
    settings = ServiceSettings(socket="/run/popham/visit.sock")
    assert (settings.listens_on, settings.text) == (None, "unix")


@pytest.mark.parametrize(
    ("toml", "code"),
    [
        ('hosts = ["0.0.0.0"]\ntls = false', "config.service"),
        ('hosts = ["example.com"]\ntls = false', "config.service"),
        ("hosts = []", "config.service"),
        ('deny = ["10.0.0.0/33"]', "config.peers"),
        ('socket = "visit.sock"', "config.path"),
        ("port = 70000", "config."),
        ("prot = 1", "config."),
    ],
)
def test_f_p7_settings_that_cannot_be_used_are_refused(tmp_path, toml, code):
    path = tmp_path / "agent.toml"
    path.write_text(f"[service]\n{toml}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, env={})
    assert caught.value.code.startswith(code)
    assert "service" in str(caught.value)


def test_who_listens_is_named_where_the_system_tells():
    if not Path("/proc/net/tcp").exists():
        pytest.skip("this system does not tell")
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = who_listens(server.getsockname()[1])
        assert f"(process {os.getpid()})" in said
    assert who_listens(1) == ""


def test_who_serves_a_socket_is_named_and_nobody_where_it_is_dead(tmp_path):
    path = str(tmp_path / "s")
    assert who_serves(path) is None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert who_serves(path) is None
        server.listen()
        assert who_serves(path) is not None
    assert who_serves(path) is None


def test_an_agent_that_is_not_visited_does_not_import_what_a_service_needs():
    ask = "import sys, popham.agent.app\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, check=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "aiohttp.web",
        "http_message_signatures",
        "popham.net.visited",
        "popham.downstream.service",
    }
