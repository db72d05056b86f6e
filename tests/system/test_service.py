"""Real processes: an agent's service is started, visited, stopped and enabled, while the agent runs."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from popham.agent.records import Identity
from popham.downstream import cgi
from popham.net.signing import Operation, open_answer, sign_request
from popham.opamp.codec import parse_agent
from popham.testing.ports import free_ports
from popham.trust.keys import SigningKey, load_private

from .conftest import PATIENCE


class Visitor:
    """Visits an agent as its Manager does, with the Manager's key, over whatever ``send`` is."""

    def __init__(self, fleet, machine, send):
        self.director = SigningKey.load(fleet.state / "keys" / "director.pem")
        identity = msgspec.json.decode((machine.state / "identity.json").read_bytes(), type=Identity)
        self.uid, self.public = identity.uid, load_private(identity.key, "it").public_key()
        self.send, self.nonce = send, ""

    def ask(self, body=b"", *, again=True):
        """Return (status, body) of a believed answer, after a repeat if the nonce was not the current one."""
        asked = sign_request(
            self.director.crypto,
            self.director.keyid,
            method="POST",
            body=body,
            audience=self.uid,
            operation=Operation.VISIT,
            nonce=self.nonce,
            now=0.0,
        )
        status, headers, answer = self.send(asked.headers, body)
        found = open_answer(asked, status=status, headers=headers, body=answer, find=lambda _: self.public)
        self.nonce = found.nonce
        return self.ask(body, again=False) if status == 428 and again else (status, answer)


def over_tls(port, certificates):
    """Return what sends over TLS, and keeps the certificate that was shown."""

    def send(headers, body):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=PATIENCE)
        connection.request("POST", "/any/prefix/v1/visit", body=body, headers=dict(headers))
        certificates.append(connection.sock.getpeercert(binary_form=True))
        answer = connection.getresponse()
        found = answer.status, dict(answer.headers), answer.read()
        connection.close()
        return found

    return send


def over_cgi(path):
    """Return what sends by the bridge, as a web server does."""

    def send(headers, body):
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        environ |= {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "/SQC", "PATH_INFO": "/v1/visit"}
        environ |= {
            "CONTENT_LENGTH": str(len(body)),
            "POPHAM_SERVICE_SOCKET": str(path),
            "PATH": os.environ["PATH"],
        }
        command = [sys.executable, "-S", "-E", cgi.__file__]
        done = subprocess.run(
            command, env=environ, input=body, capture_output=True, check=True, timeout=PATIENCE
        )
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        found = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        return int(found["Status"][:3]), found, rest

    return send


def status_of(machine, code=0):
    return json.loads(machine.popham("service", "status", "--json", code=code).stdout)


def refuses(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) != 0


def test_f_l3_the_service_is_off_until_it_is_started_and_no_restart_is_needed(fleet):
    (port,) = free_ports(1)
    web = fleet.machine("web-1", toml=f"[service]\nport = {port}\n")
    fleet.until(lambda: web.view["connected"], "web-1 holds a link")
    found = status_of(web, code=1)
    assert (found["on"], found["enabled"], found["port"], found["path"]) == (False, False, port, "/v1/visit")
    assert "popham agent service start" in found["next"]
    assert refuses(port)
    said = web.popham("service", "start").stderr
    assert f"https://*:{port}" in said
    assert "popham agent service enable" in said
    certificates = []
    visitor = Visitor(fleet, web, over_tls(port, certificates))
    status, report = visitor.ask()
    assert (status, str(parse_agent(report).instance_uid.hex())) == (200, visitor.uid.replace("-", ""))
    names = x509.load_der_x509_certificate(certificates[0]).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert visitor.uid in str(names.value)
    found = status_of(web)
    assert found["visitor"]["keyid"] == visitor.director.keyid
    assert (found["visitor"]["address"], found["refused"]) == ("127.0.0.1", None)
    text = web.popham("service", "status").stdout
    assert "last visitor:" in text
    assert f"https://*:{port}" in web.popham("status").stdout
    # Somebody else is refused, counted, and named.
    visitor.director = SigningKey.create()
    status, _, body = visitor.send(
        sign_request(
            visitor.director.crypto,
            visitor.director.keyid,
            method="POST",
            audience=visitor.uid,
            operation=Operation.VISIT,
            nonce="",
            now=0.0,
        ).headers,
        b"",
    )
    assert (status, json.loads(body)["code"]) == (403, "visit.stranger")
    refused = status_of(web)["refused"]
    assert (refused["code"], refused["count"]) == ("visit.stranger", 1)
    web.popham("service", "stop")
    assert refuses(port)
    assert web.process.poll() is None


def test_f_l3_enabled_it_is_on_after_a_restart_and_disabled_it_is_not(fleet):
    (port,) = free_ports(1)
    web = fleet.machine("web-2", toml=f"[service]\nport = {port}\n")
    fleet.until(lambda: web.view["connected"], "web-2 holds a link")
    said = web.popham("service", "enable").stderr
    assert "popham agent service start" in said
    assert refuses(port)
    assert web.end() == 0
    web.start()
    fleet.until(lambda: not refuses(port), "the service listens after the restart")
    found = status_of(web)
    assert (found["on"], found["enabled"]) == (True, True)
    assert "it is on until it is stopped" in web.popham("service", "disable").stderr
    assert not refuses(port)
    assert web.end() == 0
    assert refuses(port)
    found = status_of(web, code=1)
    assert (found["running"], found["enabled"]) == (False, False)
    assert "popham agent run" in found["next"]
    # An agent that does not run can be enabled, too; it cannot be started.
    web.popham("service", "enable")
    assert status_of(web, code=1)["enabled"]
    assert "(link.no_agent)" in web.popham("service", "start", code=1).stderr


def test_f_l3_a_port_that_is_taken_is_named_with_who_has_it_and_another_needs_no_restart(fleet):
    taken, other = free_ports(2)
    first = fleet.machine("web-3", toml=f"[service]\nport = {taken}\n")
    second = fleet.machine("web-4", toml=f"[service]\nport = {taken}\n")
    for machine in (first, second):
        fleet.until(lambda machine=machine: machine.view["connected"], "it holds a link")
    first.popham("service", "start")
    said = second.popham("service", "start", code=78).stderr
    assert f"port {taken} is taken" in said or f"port {taken} cannot be listened on" in said
    assert "(config.listen)" in said
    if Path("/proc/net/tcp").exists():
        assert f"'popham agent run' (process {first.process.pid})" in said
    found = status_of(second, code=1)
    assert found["problem"]["code"] == "config.listen"
    assert second.process.poll() is None
    second.config.write_text(second.config.read_text().replace(f"port = {taken}", f"port = {other}"))
    second.popham("service", "start")
    assert not refuses(other)
    assert status_of(second)["problem"] is None


def test_f_l4_by_cgi_a_visit_reaches_the_agents_socket_and_a_service_that_is_off_is_told(fleet, tmp_path):
    path = tmp_path / "visit.sock"
    web = fleet.machine("web-5", toml=f'[service]\nsocket = "{path}"\n')
    fleet.until(lambda: web.view["connected"], "web-5 holds a link")
    visitor = Visitor(fleet, web, over_cgi(path))
    status, _, body = visitor.send({}, b"")
    assert (status, json.loads(body)["code"]) == (502, "visit.off")
    assert "unix" in web.popham("service", "start").stderr
    assert visitor.ask()[0] == 200
    assert status_of(web)["visitor"]["address"] == ""
    web.popham("service", "stop")
    assert not path.exists()


@pytest.mark.parametrize(
    ("toml", "code"),
    [
        ('hosts = ["0.0.0.0"]\ntls = false', "config.service"),
        ('allow = ["10.0.0.0/33"]', "config.peers"),
        ("port = 0", "config."),
        ('socket = "visit.sock"', "config.path"),
    ],
)
def test_f_p7_a_service_that_cannot_be_is_one_sentence_at_the_start(fleet, tmp_path, toml, code):
    config = tmp_path / "agent.toml"
    config.write_text(f'state = "{tmp_path / "state"}"\n[service]\n{toml}\n')
    done = fleet.popham("agent", "service", "start", "--config", str(config), code=78)
    assert f"({code}" in done.stderr
    assert done.stderr.count("\n") == 1
