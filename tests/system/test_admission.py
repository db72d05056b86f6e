"""Who comes into the fleet, and who does not: over IPv6, so that both doors are tried with it."""

import http.client
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from popham.clock import SystemClock
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.trust.ca import Authority
from popham.trust.join import EnrollmentKey, JoinString


@pytest.fixture(scope="module")
def fleet(founding):
    return founding("::1").found()


def ask(fleet, port, method, path, *, newest=None, headers=None, body=None):
    """Return status and body of one request over TLS that trusts the Manager's CA and shows nothing."""
    context = ssl.create_default_context(cafile=str(fleet.state / "keys" / "ca.pem"))
    if newest is not None:
        context.maximum_version = newest
    asked = http.client.HTTPSConnection(fleet.address, port, context=context, timeout=60)
    try:
        asked.request(method, path, body=body, headers=headers or {})
        answer = asked.getresponse()
        return answer.status, answer.read()
    finally:
        asked.close()


def test_f_p3_an_unknown_agent_is_new_and_receives_its_policies_once_accepted(fleet):
    fleet.group("lab")
    fleet.group("pier")
    lab = fleet.machine("lab-1", "lab", accept=False, run=False)
    fleet.publish("lab", lab, "welcome")
    lab.start()
    fleet.until(lambda: "waiting to be accepted" in str(lab.status), "it waits")
    assert "waiting to be accepted" in lab.popham("status", code=None).stdout
    listed = fleet.popham("get", "agents")
    assert listed.stdout.splitlines()[1].split()[:4] == ["lab-1", "lab", "own", "new"]
    assert "popham accept agent lab-1" in listed.stderr
    assert not lab.has("welcome")
    assert fleet.popham("accept", "agent", "lab-1").stdout == "agent lab-1 accepted\n"
    lab.popham("check-in")
    fleet.until(lambda: lab.has("welcome") and lab.settled(), "its policies arrive")


def test_f_p3_a_refused_agent_receives_nothing(fleet):
    lab = fleet.machine("lab-2", "lab", accept=False)
    fleet.popham("refuse", "agent", "lab-2")
    fleet.until(lambda: "refused" in str(lab.status), "it knows")
    assert "refused" in lab.popham("status", code=None).stdout
    assert lab.view["admission"] == "refused"
    assert lab.end() == 0


def test_f_p3_revoking_closes_the_link_and_shuts_the_agent_out(fleet):
    lab = fleet.machine("lab-3", "pier")
    fleet.until(lambda: lab.view["connected"], "lab-3 holds a link")
    fleet.popham("revoke", "agent", "lab-3", "--yes")
    fleet.until(lambda: not lab.view["connected"], "its link is closed")
    fleet.until(lambda: "revoked" in lab.status.get("problem", ""), "it is told")
    assert lab.view["admission"] == "revoked"
    assert lab.end() == 0
    lab.start()
    fleet.until(
        lambda: "this agent is revoked (enrollment.revoked)" in lab.status.get("problem", ""),
        "a new link is refused",
    )
    assert lab.popham("status", code=1).stdout.startswith("agent:          running")
    assert not lab.view["connected"]
    assert lab.end() == 0


SENTENCES = {
    "use up": "this token is used up: 1 agent has joined by it (enrollment.used_up_token)",
    "revoke": "this token was revoked (enrollment.revoked_token)",
    "expire": "this token has expired (enrollment.expired_token)",
}


@pytest.mark.parametrize("spoil", SENTENCES)
def test_a_token_that_serves_no_more_is_one_sentence_and_77(fleet, spoil):
    fields = {"kind": "enrollment", "group": "fleet", "uses": None, "cidr": "", "accepts": True}
    made = fleet.client.create_token(**fields, lifetime=1.0 if spoil == "expire" else None)
    if spoil == "use up":
        fleet.unjoined("early").popham("enroll", made["secret"])
    elif spoil == "revoke":
        fleet.popham("token", "revoke", made["token"]["id"])
    else:
        fleet.until(lambda: time.time() > made["token"]["expires"], "it expires")
    late = fleet.unjoined(f"late-{spoil[:3]}")
    said = late.popham("enroll", made["secret"], code=77).stderr
    assert said == f"popham: {SENTENCES[spoil]}. Make a new one: popham token create.\n"
    assert "(state.not_enrolled)" in late.popham("run", code=1).stderr


class Stranger(ThreadingHTTPServer):
    """A listener with a CA of its own, that writes down all it is told."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Answering)
        self.heard = []
        self.ca = Authority.create("popham", SystemClock())
        certificate, key = self.ca.issue_listener(["127.0.0.1"])
        (folder / "cert.pem").write_bytes(certificate)
        (folder / "key.pem").write_bytes(key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    """Answers any request with its own CA."""

    def do_GET(self):
        self.server.heard.append(f"{self.requestline}\n{self.headers}")
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.ca.pem)))
        self.end_headers()
        self.wfile.write(self.server.ca.pem)

    do_POST = do_GET  # noqa: N815  # the name that the standard library calls

    def log_message(self, *parts):
        """Say nothing."""


@pytest.fixture
def stranger(tmp_path):
    made = Stranger(tmp_path)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_sec_20_a_manager_with_another_ca_learns_nothing_of_the_token(fleet, stranger):
    genuine = JoinString.parse(fleet.join())
    lured = JoinString((stranger.url,), genuine.ca, genuine.root, genuine.seed)
    said = fleet.unjoined("lured").popham("enroll", lured.encode(), code=1).stderr
    assert said.startswith("popham: ")
    assert "(trust." in said
    assert said.count("\n") == 1
    assert [line.split()[:2] for line in stranger.heard] == [["GET", "/v1/trust/ca"]]
    told = "".join(stranger.heard)
    assert EnrollmentKey.from_seed(genuine.seed).token_id not in told
    assert lured.encode() not in told


def test_a_context_with_another_ca_is_refused_before_the_token_is_sent(fleet, stranger):
    said = fleet.popham("get", "agents", code=1, POPHAM_CA=stranger.ca.pem.decode()).stderr
    assert "(trust.manager_certificate)" in said


def test_f_o10_both_doors_speak_tls_1_3_over_ipv6_and_nothing_less(fleet):
    assert fleet.host == "[::1]"
    assert fleet.popham("get", "agents").stdout
    for port, path in ((fleet.agents_port, "/livez"), (fleet.people_port, "/livez")):
        assert ask(fleet, port, "GET", path)[0] == 200
        with pytest.raises(ssl.SSLError):
            ask(fleet, port, "GET", path, newest=ssl.TLSVersion.TLSv1_2)
        plain = http.client.HTTPConnection(fleet.address, port, timeout=60)
        plain.request("GET", path)
        with pytest.raises((OSError, http.client.HTTPException)):
            plain.getresponse()
        plain.close()


def test_f_o10_an_agent_holds_its_link_over_ipv6(fleet):
    six = fleet.machine("six-1", "pier")
    fleet.until(lambda: six.view["connected"] and six.view["address"] == "::1", "its link is held")


def test_f_y13_whoever_shows_nothing_receives_nothing(fleet):
    digest = "0" * 64
    spoken = {"Content-Type": "application/x-protobuf"}
    for method, path in (("POST", "/v1/opamp"), ("GET", f"/v1/content/sha256/{digest}")):
        said = AgentToServer(instance_uid=bytes(range(16))).SerializeToString() if method == "POST" else None
        status, body = ask(fleet, fleet.agents_port, method, path, headers=spoken, body=said)
        assert status == 401, (path, body)
    status, body = ask(fleet, fleet.people_port, "GET", "/api/v1/agents")
    assert (status, json.loads(body)["code"].partition(".")[0]) == (401, "grant")


def test_a_token_that_nobody_made_is_denied_with_77(fleet):
    said = fleet.popham("get", "agents", code=77, POPHAM_TOKEN="pop_00_none").stderr
    assert "(grant." in said
