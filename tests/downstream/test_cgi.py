"""The bridge that web servers start for each visit: what it carries, and what it says where it cannot."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from popham.downstream import cgi

SCRIPT = Path(cgi.__file__)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nSignature: popham=:x:\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes"


class Service:
    """A Unix socket that gives one canned answer to each connection, and keeps what came."""

    def __init__(self, path, answer):
        self.path, self.answer, self.asked = str(path), answer, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                taken, _ = self.socket.accept()
            except OSError:
                return
            with taken:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += taken.recv(65536) or b"\r\n\r\n"
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                while len(body) < length:
                    body += taken.recv(65536)
                self.asked.append((head.decode(), body))
                if self.answer is not None:
                    taken.sendall(self.answer)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


@pytest.fixture
def serving(tmp_path):
    made = []

    def serve(answer=GOOD):
        made.append(Service(tmp_path / f"{len(made)}.sock", answer))
        return made[-1]

    yield serve
    for one in made:
        one.close()


def request(path, body=b"", *, command=(sys.executable, "-S", "-E", str(SCRIPT)), **variables):
    """Run the bridge as a web server does, and return (status, headers, body)."""
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/SQC",
        "PATH_INFO": "/v1/visit",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "GATEWAY_INTERFACE": "CGI/1.1",
        "POPHAM_SERVICE_SOCKET": str(path),
    } | variables
    environ = {key: value for key, value in environ.items() if value is not None}
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ}
    done = subprocess.run(
        command, env=kept | environ, input=body, capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""
    head, _, rest = done.stdout.partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")]
    headers = {name: value for name, _, value in lines}
    return int(headers["Status"][:3]), headers, rest


def problem(found):
    status, headers, body = found
    assert headers["Content-Type"] == "application/problem+json"
    said = json.loads(body)
    assert said["detail"]
    assert said["hint"]
    return status, said["code"], said["detail"]


def test_f_l4_a_visit_is_carried_to_the_agents_socket_and_its_answer_back(serving):
    service = serving()
    signed = {
        "HTTP_SIGNATURE": "popham=:abc=:",
        "HTTP_SIGNATURE_INPUT": 'popham=("@method");keyid="k"',
        "HTTP_CONTENT_DIGEST": "sha-256=:x:",
        "HTTP_POPHAM_AUDIENCE": "0191d5a8-0000-7000-8000-000000000001",
        "HTTP_POPHAM_OPERATION": "content",
        "CONTENT_TYPE": "application/x-protobuf",
        "HTTP_AUTHORIZATION": "Basic secret",
        "HTTP_COOKIE": "a=b",
    }
    status, headers, body = request(service.path, b"body", QUERY_STRING="sha256=ab", **signed)
    assert (status, body) == (200, b"yes")
    assert headers == {
        "Status": "200 OK",
        "Content-Type": "application/x-protobuf",
        "Signature": "popham=:x:",
        "Content-Length": "3",
    }
    ((head, sent),) = service.asked
    lines = head.split("\r\n")
    assert lines[0] == "POST /v1/visit?sha256=ab HTTP/1.1"
    assert sent == b"body"
    assert {
        "Content-Length: 4",
        "Signature: popham=:abc=:",
        'Signature-Input: popham=("@method");keyid="k"',
        "Content-Digest: sha-256=:x:",
        "Popham-Operation: content",
        "Content-Type: application/x-protobuf",
    } <= set(lines)
    # What a web server knows of its own realm is no matter of the agent's.
    assert "secret" not in head
    assert "Cookie" not in head


@pytest.mark.parametrize(
    ("name", "info"), [("/v1/visit", ""), ("/cgi-bin/popham", "/v1/visit"), ("", "/a/b/v1/visit")]
)
def test_f_l4_any_alias_serves(serving, name, info):
    assert request(serving().path, SCRIPT_NAME=name, PATH_INFO=info)[0] == 200


def test_a_signed_refusal_and_an_answer_without_a_body_come_back_as_they_are(serving):
    gone = b"HTTP/1.1 204 No Content\r\nPopham-Nonce: n\r\n\r\n"
    assert request(serving(gone).path) == (204, {"Status": "204 No Content", "Popham-Nonce": "n"}, b"")
    stale = b"HTTP/1.1 428 Precondition Required\r\nSignature: s\r\nContent-Length: 0\r\n\r\n"
    assert request(serving(stale).path)[0] == 428


def test_a_body_without_a_length_is_read_to_its_end(serving):
    service = serving()
    found = request(service.path, b"abc", CONTENT_LENGTH=None, HTTP_TRANSFER_ENCODING="chunked")
    assert (found[0], service.asked[0][1]) == (200, b"abc")


def test_a_service_that_is_off_is_told_from_a_dead_machine(tmp_path):
    status, code, detail = problem(request(tmp_path / "none.sock"))
    assert (status, code) == (502, "visit.off")
    assert str(tmp_path / "none.sock") in detail


@pytest.mark.parametrize(
    "answer", [b"", None, b"SSH-2.0\r\n\r\n", GOOD[:-1], b"HTTP/1.1 200 OK\r\nContent-Le"]
)
def test_something_else_behind_the_socket_is_no_answer(serving, answer):
    assert problem(request(serving(answer).path))[:2] == (502, "visit.off")


def test_f_l4_a_link_through_cgi_is_a_forbidden_pair(tmp_path):
    found = problem(request(tmp_path / "any", REQUEST_METHOD="GET", HTTP_UPGRADE="websocket"))
    assert found[:2] == (501, "visit.cgi")


@pytest.mark.parametrize(
    "variables",
    [{"REQUEST_METHOD": "GET"}, {"PATH_INFO": "/v1/visits"}, {"PATH_INFO": "", "SCRIPT_NAME": ""}],
)
def test_another_path_or_method_is_not_carried(serving, variables):
    service = serving()
    assert problem(request(service.path, **variables))[:2] == (404, "visit.not_found")
    assert service.asked == []


@pytest.mark.parametrize(
    ("variables", "status", "code"),
    [
        ({"CONTENT_LENGTH": str(cgi.LIMIT + 1)}, 413, "visit.too_large"),
        ({"CONTENT_LENGTH": "many"}, 400, "visit.failed"),
        ({"CONTENT_LENGTH": "-1"}, 400, "visit.failed"),
        ({"CONTENT_LENGTH": "10"}, 400, "visit.failed"),
        ({"QUERY_STRING": "a b"}, 400, "visit.failed"),
        ({"HTTP_SIGNATURE": "a\r\nX: b"}, 400, "visit.failed"),
    ],
)
def test_a_request_that_cannot_be_carried_is_refused(serving, variables, status, code):
    service = serving()
    assert problem(request(service.path, b"abc", **variables))[:2] == (status, code)
    assert service.asked == []


def test_more_than_may_be_sent_without_a_length_is_refused(serving):
    service = serving()
    body = bytes(cgi.LIMIT + 1)
    found = problem(request(service.path, body, CONTENT_LENGTH=None, HTTP_TRANSFER_ENCODING="chunked"))
    assert (found[:2], service.asked) == ((413, "visit.too_large"), [])


def test_a_service_that_does_not_answer_is_given_up(tmp_path):
    silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    silent.bind(str(tmp_path / "s"))
    silent.listen()
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/v1/visit", "CONTENT_LENGTH": "0"}
    with silent, pytest.raises(cgi.Problem) as caught:
        cgi.carry(environ, 0, str(tmp_path / "s"), cgi.time.monotonic())
    assert (caught.value.status, caught.value.code) == (504, "visit.off")


def test_a_body_that_never_comes_is_given_up():
    reading, writing = os.pipe()
    try:
        with pytest.raises(cgi.Problem) as caught:
            cgi.read_body({"CONTENT_LENGTH": "3"}, reading, cgi.time.monotonic())
    finally:
        os.close(reading)
        os.close(writing)
    assert (caught.value.status, caught.value.code) == (408, "visit.slow")


@pytest.mark.parametrize("length", [cgi.LIMIT + 1, 10**11, "9" * 5000])
def test_sec_9_a_body_that_says_it_is_too_large_is_not_waited_for(length):
    reading, writing = os.pipe()
    try:
        with pytest.raises(cgi.Problem) as caught:
            cgi.read_body({"CONTENT_LENGTH": str(length)}, reading, cgi.time.monotonic())
    finally:
        os.close(reading)
        os.close(writing)
    assert (caught.value.status, caught.value.code) == (413, "visit.too_large")


@pytest.mark.parametrize(
    "command",
    [(sys.executable, "-m", "popham", "agent", "cgi"), (sys.executable, "-E", "-m", "popham.downstream.cgi")],
)
def test_it_is_a_command_and_a_module_too(serving, command):
    assert request(serving().path, command=command)[0] == 200


def test_the_socket_may_be_named_by_an_option(serving):
    command = (sys.executable, "-m", "popham", "agent", "cgi", "--socket", serving().path)
    assert request("/nowhere", command=command)[0] == 200


def test_started_by_hand_it_says_who_starts_it():
    command = [sys.executable, str(SCRIPT)]
    environ = {key: value for key, value in os.environ.items() if key != "REQUEST_METHOD"}
    for words, said in (([], "web server"), (["--what"], "usage")):
        done = subprocess.run([*command, *words], env=environ, capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (64, b"")
        assert said in done.stderr.decode()


def test_it_imports_next_to_nothing():
    """It is started for every visit, and has 80 ms for all it does."""
    ask = "import sys; sys.argv[1:] = ['agent', 'cgi']; from popham.cli.start import main\n"
    ask += "try: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    environ = {key: value for key, value in os.environ.items() if key != "REQUEST_METHOD"}
    done = subprocess.run(
        [sys.executable, "-c", ask], env=environ, capture_output=True, check=True, text=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "popham.downstream.cgi" in loaded
    assert not loaded & {"click", "asyncio", "ssl", "typing", "json", "popham.errors", "popham.cli.main"}
