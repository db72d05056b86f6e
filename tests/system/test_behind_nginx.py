"""An agent's service behind Debian's nginx: prefixes, TLS of its own, a realm, gzip, and held links."""

import pytest

from popham.testing.ports import free_ports

from .web_servers import LARGE, Caller, example, refusal, serves, visit_now

VARIANTS = """
server {{
  listen 127.0.0.1:{port};
  listen 127.0.0.1:{born} ssl;
  ssl_certificate web1.pem;
  ssl_certificate_key web1.key;
  gzip on;
  gzip_types *;
  gzip_min_length 1;
  gzip_proxied any;
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $popham_connection;
  location /whole/ {{ proxy_pass http://unix:{socket}; }}
  location /tcp/ {{ proxy_pass http://127.0.0.1:{agent}/; }}
  location /deep/er/ {{ proxy_pass http://127.0.0.1:{agent}/SQC/; }}
  location /nowhere/ {{ proxy_pass http://127.0.0.1:{nobody}/; }}
  location /unheld/ {{ proxy_set_header Upgrade ""; proxy_set_header Connection ""; proxy_pass http://127.0.0.1:{agent}/; }}
  location /small/ {{ client_max_body_size 1k; proxy_pass http://127.0.0.1:{agent}/; }}
  location /born/ {{ proxy_pass http://unix:{second}:/; }}
  location /realm/ {{
    auth_basic "Popham";
    auth_basic_user_file users;
    proxy_set_header Authorization "";
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $popham_connection;
    proxy_pass http://unix:{socket}:/;
  }}
}}
"""
SOCKET = """
[service]
socket = "{socket}"
socket_group = "{group}"
"""
SERVICE = (
    SOCKET
    + """\
port = {port}
tls = false
"""
)
BORN = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: second}}
spec:
  address: localhost
  port: {port}
  prefix: /born
  tls: web
  {ca}
"""


class Behind:
    """A machine whose service is behind nginx, and how to get there."""

    def __init__(self, fleet, nginx, sockets, authority):
        self.fleet, self.nginx, self.authority = fleet, nginx, authority
        self.secure, self.plain, self.born, self.agent, nobody = free_ports(5)
        self.socket, self.second = sockets / "visit.sock", sockets / "second.sock"
        toml = SERVICE.format(port=self.agent, socket=self.socket, group=nginx.group)
        self.machine = fleet.machine("web1", "shops", toml=toml)
        fleet.until(lambda: self.machine.view["applied"], "the agent has joined")
        self.machine.popham("service", "start")
        certificate, key = authority.issue_listener(["localhost", "web1.example"])
        changed = {
            "443 ssl": f"127.0.0.1:{self.secure} ssl",
            "/etc/nginx/web1.pem": nginx.write("web1.pem", certificate.decode()),
            "/etc/nginx/web1.key": nginx.write("web1.key", key.decode(), 0o600),
            "/run/popham/visit.sock": self.socket,
        }
        nginx.write("users", "manager:{PLAIN}right\n")
        places = {"port": self.plain, "born": self.born, "agent": self.agent, "nobody": nobody}
        variants = VARIANTS.format(socket=self.socket, second=self.second, **places)
        nginx.start(example("agent-behind-nginx", "popham.conf", **changed) + variants, self.plain)
        self.caller = Caller(fleet, self.machine)
        self.way = {"tls": "web", "ca": authority.pem.decode()}
        self.ca = "ca: |\n" + "".join(f"    {line}\n" for line in self.way["ca"].splitlines())
        self.front = f"https://localhost:{self.secure}/popham"

    def at(self, prefix):
        return f"http://127.0.0.1:{self.plain}{prefix}"


@pytest.fixture(scope="module")
def behind(fleet, nginx, sockets, web_authority):
    fleet.group("shops", preset="Pull by visit")
    return Behind(fleet, nginx, sockets, web_authority)


@pytest.fixture(scope="module", autouse=True)
def second(behind):
    """A machine that waits to be born while the first tests run: its first visit is spread over some seconds."""
    fleet = behind.fleet
    fleet.group("born", preset="Pull by visit", heartbeat="2s")
    machine = fleet.unjoined("second")
    service = SOCKET.format(socket=behind.second, group=behind.nginx.group)
    machine.config.write_text(machine.config.read_text() + service)
    machine.popham("enroll", "--listen", fleet.join("born", cidr="127.0.0.1/32"))
    machine.start()
    fleet.publish("born", machine, "one")
    fleet.until(behind.second.exists, "it listens")
    fleet.apply(BORN.format(port=behind.born, ca=behind.ca))
    return machine


def test_f_l4_the_example_leads_to_the_agents_socket_with_tls_in_front(behind):
    report = behind.caller.visit(behind.front, **behind.way)
    assert report.instance_uid.hex() == behind.caller.uid.replace("-", "")


@pytest.mark.parametrize("prefix", ["/whole", "/tcp", "/deep/er"])
def test_f_l4_a_prefix_may_be_stripped_or_not_and_an_answer_packed(behind, prefix):
    assert behind.caller.visit(behind.at(prefix)).instance_uid


def test_f_l4_a_web_server_is_believed_by_its_authority_only(behind):
    unknown = refusal(behind.caller.visit, behind.front, tls="web")
    named = behind.front.replace("localhost", "127.0.0.1")
    assert (unknown.code, refusal(behind.caller.visit, named, **behind.way).code) == (
        "visit.tls",
        "visit.tls",
    )


@pytest.mark.parametrize("prefix", ["/tcp", "/whole"])
def test_f_l4_a_link_is_held_through_nginx(behind, prefix):
    assert behind.caller.hold(behind.at(prefix)).instance_uid


def test_f_l4_a_link_is_held_through_nginx_with_tls(behind):
    assert behind.caller.hold(behind.front, **behind.way).instance_uid


def test_f_y13_a_realm_in_front_lets_the_right_password_in(behind):
    assert behind.caller.visit(behind.at("/realm"), password="manager:right").instance_uid
    assert behind.caller.hold(behind.at("/realm"), password="manager:right").instance_uid
    for password in ("manager:wrong", ""):
        assert refusal(behind.caller.visit, behind.at("/realm"), password=password).code == "visit.password"
        assert refusal(behind.caller.hold, behind.at("/realm"), password=password).code == "visit.password"


def test_f_l4_what_nginx_says_itself_is_told_apart(behind):
    found = {
        prefix: refusal(behind.caller.visit, behind.at(prefix)).code for prefix in ("/other", "/nowhere")
    }
    assert found == {"/other": "visit.not_found", "/nowhere": "visit.off"}
    assert refusal(behind.caller.hold, behind.at("/unheld")).code == "visit.no_upgrade"
    assert refusal(behind.caller.bring, behind.at("/small"), 2000).code == "visit.too_large"


def test_f_l4_a_body_of_the_largest_size_passes_the_example(behind):
    behind.caller.bring(behind.front, LARGE, **behind.way)


def test_f_l3_a_service_that_is_stopped_is_told_from_a_dead_machine(behind):
    behind.machine.popham("service", "stop")
    try:
        error = refusal(behind.caller.visit, behind.front, **behind.way)
        assert error.code == "visit.off"
        assert "popham agent service start" in error.hint
    finally:
        behind.machine.popham("service", "start")
    assert behind.caller.visit(behind.front, **behind.way).instance_uid


def test_f_l2_f_l4_the_example_brings_a_policy_by_visits_through_nginx(behind):
    changed = {
        "address: web1.example": "address: localhost",
        "port: 443": f"port: {behind.secure}",
        "tls: web": f"tls: web\n  {behind.ca}",
        "/etc/popham.d": behind.machine.root,
    }
    fleet, machine = behind.fleet, behind.machine
    fleet.apply(example("agent-behind-nginx", "fleet.yaml", **changed))
    visit_now(fleet, machine, behind.front)
    fleet.until(lambda: machine.has("Visited through nginx.\n"), "the policy came by a visit")
    fleet.until(machine.settled, "the Manager knows")
    fleet.until(lambda: machine.view["visit"]["last"], "the visit is over")
    assert not machine.view["visit"]["code"]
    assert serves(machine)["visitor"]["operation"] in {"visit", "stream"}
    assert "way: pull, dialled by the manager" in " ".join(machine.popham("status").stdout.split())


def test_f_l12_f_l4_a_machine_is_born_through_nginx(behind, second):
    fleet = behind.fleet
    fleet.until(lambda: second.has("one"), "it is born, and has the policy")
    fleet.until(second.settled, "the Manager knows")
    assert (second.view["admission"], second.view["address"]) == ("accepted", "127.0.0.1")
    fleet.until(lambda: not second.view["visit"]["code"], "a visit came to its end")


def test_f_p2_f_l4_a_change_comes_at_once_over_the_managers_link_through_nginx(behind):
    fleet, machine = behind.fleet, behind.machine
    fleet.group("shops", preset="Push over the Manager's connection", heartbeat="1h")
    where = f"{{address: localhost, port: {behind.plain}, prefix: /tcp, tls: 'off'}}"
    fleet.apply(f"apiVersion: popham/v1\nkind: Agent\nmetadata: {{name: web1}}\nspec: {where}\n")
    visit_now(fleet, machine, f"http://localhost:{behind.plain}/tcp")
    fleet.until(lambda: serves(machine)["held"] and machine.view["connected"], "the link is held")
    for text in ("one", "two"):
        fleet.publish("shops", machine, text)
        fleet.until(lambda text=text: machine.has(text) and machine.settled(), f"{text} came over the link")
    assert machine.view["address"] == "127.0.0.1", "where it was dialled"
