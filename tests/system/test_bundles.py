"""Whoever holds the Manager's database or its address cannot make an agent accept anything (F.Y16)."""

import base64
import json
import sqlite3
import ssl
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from popham.model.bundle import BUNDLE_TYPE, Bundle
from popham.model.names import canonical
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer, ServerToAgent
from popham.opamp.wire import BUNDLE_KEY
from popham.trust.dsse import Envelope, seal
from popham.trust.keys import SigningKey


@pytest.fixture(scope="module")
def till(fleet):
    """An agent that makes a round each second, with a good policy in force."""
    fleet.group("tills", preset="Pull by heartbeat", heartbeat="1s")
    machine = fleet.machine("till-1", "tills")
    fleet.publish("tills", machine, "older")
    fleet.until(lambda: machine.has("older") and machine.settled(), "the first policy is in force")
    machine.older = newest(fleet)
    fleet.publish("tills", machine, "good")
    fleet.until(lambda: machine.has("good") and machine.settled(), "the good policy is in force")
    return machine


def newest(fleet):
    """Return the newest envelope of group tills in the Manager's database."""
    with sqlite3.connect(fleet.state / "popham.db") as database:
        query = 'SELECT envelope FROM bundles WHERE "group" = ? ORDER BY version DESC LIMIT 1'
        return database.execute(query, ("tills",)).fetchone()[0]


def altered(envelope):
    """Return a bundle that is newer and has another serial, whole but for a signature."""
    bundle = Bundle.from_payload(Envelope.parse(envelope, types=(BUNDLE_TYPE,)).payload)
    return replace(bundle, serial=bundle.serial + 1, version=bundle.version + 1_000).payload()


def swapped(envelope, payload):
    """Return an envelope with another payload under the signatures that it has."""
    parts = json.loads(envelope)
    parts["payload"] = base64.b64encode(payload).decode()
    return canonical(parts)


def listens(fleet, said):
    """Serve at the Manager's own address, with its own certificate, and offer what ``said`` holds."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self):
            """Answer one round."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = ServerToAgent(instance_uid=AgentToServer.FromString(body).instance_uid)
            answer.remote_config.config.config_map[BUNDLE_KEY].body = said[0]
            answer.remote_config.config_hash = b"\x01" * 32
            data = answer.SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *parts):
            """Say nothing."""

    made = ThreadingHTTPServer((fleet.address, fleet.agents_port), Answering)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(fleet.state / "tls" / "listener.pem", fleet.state / "tls" / "listener.key")
    made.socket = context.wrap_socket(made.socket, server_side=True, do_handshake_on_connect=False)
    made.daemon_threads = True
    return made


def test_f_y16_sec_3_what_a_made_up_listener_offers_is_refused_and_the_good_set_stays(fleet, till):
    genuine = newest(fleet)
    forged = altered(genuine)
    offers = {
        "signed by another director": (seal(BUNDLE_TYPE, forged, SigningKey.create()), "trust.signature"),
        "older, replayed": (till.older, "trust.rollback"),
        "changed under its signature": (swapped(genuine, forged), "trust.signature"),
    }
    assert fleet.end_manager() == 0
    said = [b""]
    stranger = listens(fleet, said)
    serving = threading.Thread(target=stranger.serve_forever)
    serving.start()
    try:
        for what, (envelope, code) in offers.items():
            said[0] = envelope
            fleet.until(lambda c=code: c in till.status["error_code"], f"it refuses a bundle that is {what}")
            assert till.has("good")
    finally:
        stranger.shutdown()
        serving.join()
        stranger.server_close()
    fleet.start_manager()
    fleet.until(
        lambda: "trust.signature" in fleet.popham("describe", "agent", "till-1").stdout, "it says why"
    )
    fleet.publish("tills", till, "better")
    fleet.until(lambda: till.has("better") and till.settled(), "a genuine bundle is taken again")


def test_f_y16_a_bundle_changed_in_the_managers_database_is_refused(fleet, till):
    fleet.publish("tills", till, "genuine")
    fleet.until(lambda: till.has("genuine") and till.settled(), "a genuine bundle is in force")
    assert fleet.end_manager() == 0
    genuine = newest(fleet)
    payload = altered(genuine)
    read = json.loads(payload)
    columns = ("envelope", "content_digest", "serial", "version")
    values = (swapped(genuine, payload), *(read[name] for name in columns[1:]))
    with sqlite3.connect(fleet.state / "popham.db") as database:
        change = f"UPDATE bundles SET {' = ?, '.join(columns)} = ?"
        last = 'version = (SELECT max(version) FROM bundles WHERE "group" = ?)'
        database.execute(f'{change} WHERE "group" = ? AND {last}', (*values, "tills", "tills"))
    database.close()
    fleet.start_manager()
    fleet.until(lambda: till.view["sync"] != "in sync", "the Manager wants something else")
    fleet.until(
        lambda: "trust.signature" in fleet.popham("describe", "agent", "till-1").stdout, "it says why"
    )
    assert till.has("genuine")
    fleet.publish("tills", till, "signed anew")
    fleet.until(lambda: till.has("signed anew") and till.settled(), "a genuine bundle is taken again")
