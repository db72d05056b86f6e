"""An agent's service behind Debian's Apache, by reverse proxy: an alias as SQC has it, TLS, a realm, and held links."""

import base64
import hashlib

import pytest

from popham.errors import VisitError
from popham.testing.ports import free_ports

from .web_servers import LARGE, Caller, example, refusal, serves, visit_now

VARIANTS = """
Listen 127.0.0.1:{secure}
<VirtualHost 127.0.0.1:{secure}>
  SSLEngine on
  SSLCertificateFile web.pem
  SSLCertificateKeyFile web.key
  ProxyPass "/SQC/" "http://127.0.0.1:{agent}/" upgrade=websocket
</VirtualHost>

Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
  ProxyPass "/whole/" "http://127.0.0.1:{agent}/whole/" upgrade=websocket
  ProxyPass "/unix/" "unix:{socket}|http://localhost/" upgrade=websocket
  # Another name, since what "upgrade" says is said of all ways to one URL.
  ProxyPass "/unheld/" "http://localhost:{agent}/"
  ProxyPass "/nowhere/" "http://127.0.0.1:{nobody}/" retry=0
  <Location "/packed/">
    ProxyPass "http://127.0.0.1:{agent}/" upgrade=websocket
    SetOutputFilter DEFLATE
  </Location>
  <Location "/realm/">
    ProxyPass "http://127.0.0.1:{agent}/" upgrade=websocket
    AuthType Basic
    AuthName "Popham"
    AuthUserFile users
    Require valid-user
    RequestHeader unset Authorization
  </Location>
</VirtualHost>

# As Apache before 2.4.47 has it.
Listen 127.0.0.1:{older}
<VirtualHost 127.0.0.1:{older}>
  ProxyWebsocketFallbackToProxyHttp Off
  RewriteEngine On
  RewriteCond "%{{HTTP:Upgrade}}" "websocket" [NC]
  RewriteRule "^/SQC/(.*)$" "ws://127.0.0.1:{agent}/$1" [P,L]
  ProxyPass "/SQC/" "http://127.0.0.1:{agent}/"
</VirtualHost>
"""
SERVICE = """
[service]
port = {port}
tls = false
socket = "{socket}"
socket_group = "{group}"
"""


class Behind:
    """A machine whose service is behind Apache, and how to get there."""

    def __init__(self, fleet, apache, sockets, authority):
        self.fleet = fleet
        self.front, self.secure, self.plain, self.older, self.agent, nobody = free_ports(6)
        socket = sockets / "visit.sock"
        toml = SERVICE.format(port=self.agent, socket=socket, group=apache.group)
        self.machine = fleet.machine("web2", "branches", toml=toml)
        fleet.until(lambda: self.machine.view["applied"], "the agent has joined")
        self.machine.popham("service", "start")
        certificate, key = authority.issue_listener(["localhost"])
        apache.write("web.pem", certificate.decode())
        apache.write("web.key", key.decode(), 0o600)
        digest = base64.b64encode(hashlib.sha1(b"right", usedforsecurity=False).digest()).decode()
        apache.write("users", f"manager:{{SHA}}{digest}\n")
        variants = VARIANTS.format(
            secure=self.secure,
            port=self.plain,
            older=self.older,
            agent=self.agent,
            nobody=nobody,
            socket=socket,
        )
        text = example("agent-behind-apache", "popham.conf", **{"127.0.0.1:23440": f"127.0.0.1:{self.agent}"})
        apache.start(f"Listen 127.0.0.1:{self.front}\n{text}{variants}", self.plain)
        self.caller = Caller(fleet, self.machine)
        self.way = {"tls": "web", "ca": authority.pem.decode()}

    def at(self, prefix):
        """Return the URL of a variant."""
        return f"http://127.0.0.1:{self.plain}{prefix}"


@pytest.fixture(scope="module")
def behind(fleet, apache, sockets, web_authority):
    fleet.group("branches", preset="Pull by visit")
    return Behind(fleet, apache, sockets, web_authority)


def test_f_l4_the_example_leads_to_the_agents_port(behind):
    report = behind.caller.visit(f"http://127.0.0.1:{behind.front}/SQC")
    assert report.instance_uid.hex() == behind.caller.uid.replace("-", "")
    assert behind.caller.hold(f"http://127.0.0.1:{behind.front}/SQC").instance_uid


@pytest.mark.parametrize("prefix", ["/whole", "/unix", "/packed"])
def test_f_l4_a_prefix_may_be_stripped_or_not_and_an_answer_packed(behind, prefix):
    assert behind.caller.visit(behind.at(prefix)).instance_uid
    assert behind.caller.hold(behind.at(prefix)).instance_uid


def test_f_l4_apache_has_tls_of_its_own(behind):
    url = f"https://localhost:{behind.secure}/SQC"
    assert behind.caller.visit(url, **behind.way).instance_uid
    assert behind.caller.hold(url, **behind.way).instance_uid


def test_f_l4_an_older_apache_holds_links_by_mod_proxy_wstunnel(behind):
    url = f"http://127.0.0.1:{behind.older}/SQC"
    assert behind.caller.visit(url).instance_uid
    assert behind.caller.hold(url).instance_uid


def test_f_y13_a_realm_in_front_lets_the_right_password_in(behind):
    assert behind.caller.visit(behind.at("/realm"), password="manager:right").instance_uid
    assert behind.caller.hold(behind.at("/realm"), password="manager:right").instance_uid
    for password in ("manager:wrong", ""):
        assert refusal(behind.caller.visit, behind.at("/realm"), password=password).code == "visit.password"
        assert refusal(behind.caller.hold, behind.at("/realm"), password=password).code == "visit.password"


def test_f_l4_what_apache_says_itself_is_told_apart(behind):
    found = {
        prefix: refusal(behind.caller.visit, behind.at(prefix)).code for prefix in ("/other", "/nowhere")
    }
    assert found == {"/other": "visit.not_found", "/nowhere": "visit.off"}
    assert refusal(behind.caller.hold, behind.at("/unheld")).code == "visit.no_upgrade"


def test_f_l4_a_body_of_the_largest_size_passes_the_example(behind):
    behind.caller.bring(f"http://127.0.0.1:{behind.front}/SQC", LARGE)


def test_f_l3_a_service_that_is_stopped_is_told_from_a_dead_machine(behind):
    url = f"http://127.0.0.1:{behind.front}/SQC"
    behind.machine.popham("service", "stop")
    try:
        error = refusal(behind.caller.visit, url)
        assert error.code == "visit.off"
        assert "popham agent service start" in error.hint
    finally:
        behind.machine.popham("service", "start")
    behind.fleet.until(lambda: comes(behind, url), "Apache asks the agent again")


def comes(behind, url):
    try:
        return bool(behind.caller.visit(url))
    except VisitError:
        return False


def test_f_p2_f_l4_the_example_holds_a_link_through_apache_and_a_change_comes_at_once(behind):
    fleet, machine = behind.fleet, behind.machine
    changed = {
        "address: web2.example": "address: localhost",
        "port: 80": f"port: {behind.front}",
        "/etc/popham.d": machine.root,
    }
    fleet.apply(example("agent-behind-apache", "fleet.yaml", **changed))
    visit_now(fleet, machine, f"http://localhost:{behind.front}/SQC")
    fleet.until(lambda: machine.has("Told at once, through Apache.\n"), "the policy came")
    fleet.until(lambda: serves(machine)["held"] and machine.view["connected"], "the link is held")
    fleet.settings["branches"] = "{preset: Push over the Manager's connection}"
    for text in ("one", "two"):
        fleet.publish("branches", machine, text)
        fleet.until(lambda text=text: machine.has(text) and machine.settled(), f"{text} came over the link")


def test_f_l2_f_l4_a_policy_comes_by_visits_through_apache(behind):
    fleet, machine = behind.fleet, behind.machine
    where = f"{{address: localhost, port: {behind.older}, prefix: /SQC, tls: 'off'}}"
    fleet.apply(f"apiVersion: popham/v1\nkind: Agent\nmetadata: {{name: web2}}\nspec: {where}\n")
    fleet.group("branches", preset="Pull by visit")
    visit_now(fleet, machine, f"http://localhost:{behind.older}/SQC")
    fleet.until(lambda: serves(machine)["held"] is False, "the link is let go")
    fleet.publish("branches", machine, "three")
    fleet.client.check_in(["web2"])
    fleet.until(lambda: machine.has("three") and machine.settled(), "it came by a visit")
