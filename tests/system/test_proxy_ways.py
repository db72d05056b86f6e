"""Ways to a Proxy Manager: a mailbox that dials neither side, through web servers, by CGI, and through web proxies."""

from dataclasses import replace

import pytest

from popham.testing.ports import free_ports
from popham.trust.join import JoinString

from .alias import bridge
from .conftest import Machine
from .proxies import ADDRESS, Proxy
from .strange import HttpProxy, Loop
from .web_servers import example, serves

SERVICE = """
[service]
port = {port}
hosts = ["127.0.0.1"]
socket = "{socket}"
socket_group = "{group}"
"""
PLACE = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: {name}}}
spec: {{address: {address}, port: {port}, {more}}}
"""
NGINX = """
map $http_upgrade $popham_connection {{ default upgrade; "" ""; }}
server {{
  listen 127.0.0.1:{port};
  client_max_body_size 4m;
  location /popham/ {{
    proxy_pass http://unix:{socket}:/;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $popham_connection;
    proxy_read_timeout 120s;
  }}
}}
"""
APACHE = """
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
  ProxyPass "/SQC/" "unix:{socket}|http://localhost/" upgrade=websocket
  ScriptAlias "/CGI" "{script}"
</VirtualHost>
<Directory "{folder}">
  Require all granted
</Directory>
"""
PULL, HOLD = "Pull by visit", "Push over the Manager's connection"


@pytest.fixture(scope="module")
def fleet(founding):
    fleet = founding().found()
    fleet.group("mail", preset=PULL, heartbeat="1s")
    fleet.group("letters")
    fleet.group("notes")
    return fleet


@pytest.fixture(scope="module")
def loop():
    found = Loop()
    yield found
    found.close()


class Box:
    """A mailbox whose service is on a socket behind web servers; one agent dials in."""

    def __init__(self, fleet, nginx, apache, sockets):
        self.fleet = fleet
        self.socket = sockets / "proxy.sock"
        self.direct, self.nginx, self.apache = free_ports(3)
        toml = SERVICE.format(port=self.direct, socket=self.socket, group=apache.group)
        self.proxy = Proxy(fleet, "box", ["letters", "notes"], group="mail", toml=toml).join()
        self.proxy.popham("service", "start")
        nginx.start(NGINX.format(port=self.nginx, socket=self.socket), self.nginx)
        text = example(
            "agent-by-cgi",
            "visit",
            **{
                "exec /usr/bin/popham agent cgi": f"exec {bridge(apache)}",
                "/run/popham/visit.sock": self.socket,
            },
        )
        script = apache.write("visit", text, 0o755)
        there = {"port": self.apache, "socket": self.socket, "script": script, "folder": apache.folder}
        apache.start(APACHE.format(**there), self.apache)
        self.agent = self.proxy.machine("letter", "letters", run=False)
        fleet.publish("letters", self.agent, "zero")

    def visited(self, preset, *, port, address="localhost", **spec):
        """Have the Manager visit it by this way, and in this mode, and a change reach the agent."""
        more = ", ".join(f"{key}: '{value}'" for key, value in spec.items())
        fleet = self.fleet
        fleet.group("mail", preset=preset, heartbeat="1s")
        fleet.apply(PLACE.format(name="box", address=address, port=port, more=more))
        scheme = "http" if spec.get("tls") == "off" else "https"
        url = f"{scheme}://{address}:{port}{spec.get('prefix', '')}"
        fleet.until(lambda: (self.proxy.view["visit"] or {}).get("url") == url, f"it knows of {url}")
        if self.agent.process is None:
            self.agent.start()
        text = f"by {url} as {preset}".replace("'", "")
        fleet.publish("letters", self.agent, text)
        fleet.until(lambda: self.agent.has(text) and self.agent.settled(), f"a change came {text}")
        view = self.proxy.view
        assert (self.agent.view["via"], view["dialer"], view["visit"]["url"]) == (["box"], "manager", url)
        return view


@pytest.fixture(scope="module")
def box(fleet, nginx, apache, sockets):
    return Box(fleet, nginx, apache, sockets)


def test_f_t2_f_p2_a_mailbox_is_visited_through_nginx_in_pull_and_over_a_held_link(box, nginx):
    box.visited(PULL, port=box.nginx, prefix="/popham", tls="off")
    assert not serves(box.proxy)["held"]
    box.visited(HOLD, port=box.nginx, prefix="/popham", tls="off")
    box.fleet.until(lambda: serves(box.proxy)["held"], "the Manager holds a link")
    log = (nginx.folder / "access.log").read_text()
    assert 'POST /popham/v1/visit HTTP/1.1" 200' in log


def test_f_t2_f_p2_it_is_visited_by_an_alias_of_apache_over_a_held_link(box):
    box.visited(HOLD, port=box.apache, prefix="/SQC", tls="off")
    box.fleet.until(lambda: serves(box.proxy)["held"], "the Manager holds a link")


def test_f_t2_f_l4_it_is_visited_by_cgi_in_pull(box, apache):
    box.visited(PULL, port=box.apache, prefix="/CGI", tls="off")
    assert ' 200 "POST /CGI/v1/visit' in (apache.folder / "access.log").read_text()


def test_f_p4_the_manager_reaches_it_through_a_web_proxy_with_a_password(box, loop):
    web = HttpProxy("manager:right")
    spec = {"http_proxy": f"http://{ADDRESS}:{loop.serve(web.talk)}", "http_proxy_password": "manager:right"}
    box.visited(HOLD, port=box.direct, address=ADDRESS, **spec)
    assert f"CONNECT {ADDRESS}:{box.direct} HTTP/1.1" in web.asked


def test_f_p4_an_agent_reaches_its_proxy_through_a_web_proxy_with_a_password(box, fleet, loop):
    web = HttpProxy("clerk:right")
    way = f"http://clerk:right@{ADDRESS}:{loop.serve(web.talk)}"
    machine = Machine(fleet, "inner")
    machine.config.write_text(f'http_proxy = "{way}"\n' + machine.config.read_text())
    join = replace(JoinString.parse(fleet.join("notes")), urls=(box.proxy.url,))
    machine.popham("enroll", join.encode())
    machine.start()
    fleet.until(lambda: machine.settled() and machine.view["via"] == ["box"], "it is in sync, at the proxy")
    asked = len(web.asked)
    assert asked > 1
    assert set(web.asked) == {f"CONNECT {ADDRESS}:{box.proxy.port} HTTP/1.1"}


def test_f_t2_the_service_of_a_proxy_is_started_stopped_enabled_and_disabled_on_its_machine(box, fleet):
    proxy = box.proxy
    assert serves(proxy)["on"]
    proxy.popham("service", "stop")
    assert not serves(proxy)["on"]
    said = proxy.popham("service", "status", code=1).stdout
    assert "popham proxy service start" in said
    proxy.popham("service", "enable")
    assert not serves(proxy)["on"]
    assert proxy.end() == 0
    proxy.start()
    fleet.until(lambda: proxy.status.get("service", {}).get("address"), "it listens since it began")
    proxy.popham("service", "disable", "--now")
    assert not serves(proxy)["on"]


def test_f_l12_a_proxy_that_dials_nobody_is_born_by_a_visit_and_waits_to_be_accepted(fleet):
    (port,) = free_ports(1)
    toml = f'[service]\nhosts = ["{ADDRESS}"]\nport = {port}\n'
    proxy = Proxy(fleet, "vault", ["notes"], group="mail", toml=toml)
    made = fleet.popham("token", "create", "--proxy", "vault", "-g", "mail").stdout.strip()
    said = proxy.popham("enroll", "--listen", made).stderr
    assert "it dials nobody" in said
    proxy.start()
    fleet.until(lambda: proxy.status.get("service", {}).get("address"), "it listens")
    fleet.apply(PLACE.format(name="vault", address=ADDRESS, port=port, more="tls: agent"))
    fleet.until(
        lambda: "accept" in proxy.status.get("problem", ""), "it was visited, and waits to be accepted"
    )
    assert proxy.view["admission"] == "new"
    fleet.popham("accept", "agent", "vault")
    fleet.until(proxy.relays, "it relays")
    agent = proxy.machine("deposit", "notes")
    fleet.until(lambda: agent.settled() and agent.view["via"] == ["vault"], "an agent joins through it")
    assert proxy.view["dialer"] == "manager"


def test_f_t2_new_names_of_a_proxy_stand_in_its_certificate_at_once(fleet, box):
    proxy = Proxy(fleet, "gate", ["notes"]).join()
    before = proxy.status["certificate_until"]
    proxy.define(["notes"], names=["localhost", ADDRESS])
    fleet.until(
        lambda: proxy.status["proxy"]["listens"].startswith("wss://localhost:"), "it shows the new name"
    )
    assert proxy.status["certificate_until"] >= before
    proxy.url = f"https://localhost:{proxy.port}"
    agent = proxy.machine("named", "notes")
    fleet.until(lambda: agent.settled() and agent.view["via"] == ["gate"], "an agent joins by the new name")
