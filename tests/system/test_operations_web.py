"""Operations of an agent that is visited through nginx, Apache and CGI: carried there, and what they made back."""

import asyncio
import contextlib
import hashlib
import io
import os
import re
import socket
import tarfile

import pytest

from popham.errors import VisitError
from popham.model.operation import OPERATION_TYPE, OUTPUT_LIMIT
from popham.testing.ports import free_ports

from .alias import start_alias
from .operations_lab import PERMITS, Lab
from .strange import Loop
from .web_servers import Apache, Caller, running, visit_now

SERVICE = """
[service]
port = {port}
tls = false
socket = "{socket}"
socket_group = "{group}"
"""
AGENT = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: served}}
spec: {{address: 127.0.0.1, port: {port}, prefix: {prefix}, tls: "off"}}
"""
NGINX = """
server {{
  listen 127.0.0.1:{port};
  location /popham/ {{ proxy_pass http://unix:{socket}:/; proxy_http_version 1.1; client_max_body_size 4m; }}
}}
"""
APACHE = """
Listen 127.0.0.1:{port}
ProxyPass "/SQC/" "http://127.0.0.1:{agent}/"
"""
PREFIXES = {"nginx": "/popham", "apache": "/SQC", "cgi": "/SQC"}


class Recorder:
    """Passes connections on to a port of this machine, and keeps what was asked there."""

    def __init__(self, port):
        self._port = port
        self._asked = []

    async def talk(self, reader, writer):
        """Pass one connection on."""
        asked = bytearray()
        self._asked.append(asked)
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.closing(back):
            await asyncio.gather(self._pass(reader, back, asked), self._pass(there, writer, bytearray()))

    @staticmethod
    async def _pass(reader, writer, kept):
        while data := await reader.read(65536):
            kept += data
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    def requests(self, word):
        """Return the requests that hold ``word``, byte by byte as they came."""
        found = []
        for asked in self._asked:
            data = bytes(asked)
            while data:
                head, _, rest = data.partition(b"\r\n\r\n")
                length = int(re.search(rb"(?i)\ncontent-length: *([0-9]+)", head)[1])
                found.append(head + b"\r\n\r\n" + rest[:length])
                data = rest[length:]
        return [one for one in found if word in one]


class Served:
    """A machine whose service is behind web servers, and where each of them is."""

    def __init__(self, fleet, nginx, apache, cgi, sockets, loop):
        self.fleet = fleet
        self.lab = Lab(fleet, ())
        self.ports = dict(zip(PREFIXES, free_ports(3), strict=True))
        (agent,) = free_ports(1)
        path = sockets / "visit.sock"
        service = SERVICE.format(port=agent, socket=path, group=nginx.group)
        fleet.group("web", preset="Pull by visit", heartbeat="1h")
        self.machine = self.lab.add("served", "web", served=False, text=PERMITS + service)
        fleet.until(lambda: self.machine.view["applied"], "the agent has joined")
        self.machine.popham("service", "start")
        nginx.start(NGINX.format(port=self.ports["nginx"], socket=path), self.ports["nginx"])
        apache.start(APACHE.format(port=self.ports["apache"], agent=agent), self.ports["apache"])
        start_alias(cgi, path, self.ports["cgi"])
        self.recorder = Recorder(self.ports["nginx"])
        self.recorded = loop.serve(self.recorder.talk)

    def by(self, server, port=None):
        """Have it visited through a web server, and return the URL."""
        port, prefix = port or self.ports[server], PREFIXES[server]
        self.fleet.apply(AGENT.format(port=port, prefix=prefix))
        url = f"http://127.0.0.1:{port}{prefix}"
        visit_now(self.fleet, self.machine, url)
        self.fleet.until(lambda: not self.machine.view["visit"]["code"], "it is visited there")
        return url


class Fetching(Caller):
    """Fetches an output of an agent by hand, and keeps it."""

    def fetch(self, url, sha256):
        """Return the output."""
        kept = {}

        class Outputs:
            def lacks(self):
                return () if kept else (sha256,)

            async def take(self, sha256, body):
                kept[sha256] = body

        async def fetch(visit):
            await visit.fetch(Outputs())

        self._call(fetch, url)
        return kept[sha256]


@pytest.fixture(scope="module")
def loop():
    found = Loop()
    yield found
    found.close()


@pytest.fixture(scope="module")
def cgi():
    """Another Apache, to be started by the module."""
    yield from running(Apache, "apache2")


@pytest.fixture(scope="module")
def served(fleet, nginx, apache, cgi, sockets, loop):
    return Served(fleet, nginx, apache, cgi, sockets, loop)


@pytest.mark.parametrize("server", PREFIXES)
def test_f_l7_f_o4_operations_and_outputs_are_carried_by_a_web_server(served, server):
    served.by(server)
    lab, fleet = served.lab, served.fleet
    ran = lab.order("run", "served", args={"name": "many"})
    made = lab.order("diagnose", "served")
    for ordered in (ran, made):
        assert ordered.over()["served"]["state"] == "succeeded"
        fleet.until(lambda ordered=ordered: ordered.targets["served"]["output"]["kept"], "it was brought")
    assert fleet.client.output(ran.name, "served").startswith(b"1\n2\n")
    with tarfile.open(fileobj=io.BytesIO(fleet.client.output(made.name, "served"))) as tar:
        assert "popham-diagnosis/status.json" in tar.getnames()
    assert not served.machine.view["visit"]["code"]


def test_f_l4_f_o4_an_output_of_the_largest_size_is_carried_by_cgi(served):
    body = os.urandom(OUTPUT_LIMIT)
    sha256 = hashlib.sha256(body).hexdigest()
    folder = served.machine.state / "outputs"
    folder.mkdir(exist_ok=True)
    (folder / sha256).write_bytes(body)
    url = f"http://127.0.0.1:{served.ports['cgi']}/SQC"
    for _ in range(20):
        # The Manager visits with the same key: of two at once one may find its nonce used up, twice at worst.
        try:
            assert Fetching(served.fleet, served.machine).fetch(url, sha256) == body
        except VisitError as error:
            if error.code != "visit.nonce":
                raise
        else:
            return
    pytest.fail("its nonce was used up 20 times")


def test_f_o4_a_visit_that_is_said_again_by_somebody_on_the_way_is_refused_and_orders_nothing(served):
    served.by("nginx", served.recorded)
    lab = served.lab
    before = lab.ran("served")
    assert lab.order("run", "served", args={"name": "count"}).over()["served"]["state"] == "succeeded"
    assert lab.ran("served") == before + 1
    captured = served.recorder.requests(OPERATION_TYPE.encode())
    assert captured, "the order was seen on the way"
    for request in captured:
        with socket.create_connection(("127.0.0.1", served.ports["nginx"]), 30) as again:
            again.sendall(request)
            assert again.recv(12) == b"HTTP/1.1 428"
    assert lab.order("check-in", "served").over()["served"]["state"] == "succeeded"
    assert lab.ran("served") == before + 1
