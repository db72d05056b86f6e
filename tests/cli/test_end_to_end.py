"""The command line against a real Manager's API over TLS on loopback."""

import asyncio
import json
import random
import socket
import threading
from contextlib import contextmanager
from queue import Queue

import pytest
import uvicorn
from click.testing import CliRunner

from popham.api.app import create_app
from popham.cli.contexts import Context, Contexts
from popham.cli.invocation import Invocation
from popham.cli.main import cli
from popham.clock import SystemClock
from popham.manager.bundles import Bundles
from popham.manager.definitions import found_fleet
from popham.manager.grant import put_grant
from popham.manager.keys import create_keys
from popham.manager.links import NoLinks
from popham.manager.service import ManagerService
from popham.store.memory import MemoryStore
from popham.store.rows import AgentRow

POLICY = """\
apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec:
  type: files
  files: [{path: /etc/popham.d/motd, content: hello}]
---
apiVersion: popham/v1
kind: Group
metadata: {name: paris}
spec:
  inheritance: {policies: {files: false}}
  policies: {files: motd}
"""


async def _make(keys, more, ask_above):
    """Return the application and an admin's token; ``more`` stores what else there is."""
    clock, store = SystemClock(), MemoryStore()
    service = ManagerService(
        store,
        keys=keys,
        clock=clock,
        rng=random.Random(7),
        on_groups_changed=lambda names: None,
        links=NoLinks(),
        ask_above=ask_above,
    )

    def fill(tx):
        now = clock.now()
        found_fleet(tx, Bundles(keys.director), now=now)
        agent = AgentRow(uid="u1", name="web-1", group="fleet", kind="own", admission="new", first_seen=now)
        tx.put_agent(agent)
        more(tx)
        return put_grant(tx, name="ann", role="admin", lifetime=60, now=now, draw=random.randbytes)[1]

    return create_app(service), await store.write(fill)


@contextmanager
def serving(keys, tmp_path, *, more=lambda tx: None, ask_above=0):
    """Serve the API in a thread of its own; yields URL and token."""
    certificate, key = keys.ca.issue_listener(["127.0.0.1"])
    for name, data in (("cert.pem", certificate), ("key.pem", key)):
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    held = socket.create_server(("127.0.0.1", 0))
    told = Queue()

    async def serve():
        app, token = await _make(keys, more, ask_above)
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_level="warning",
            ssl_certfile=str(tmp_path / "cert.pem"),
            ssl_keyfile=str(tmp_path / "key.pem"),
        )
        server = uvicorn.Server(config)
        told.put((server, token))
        await server.serve(sockets=[held])

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    server, token = told.get(timeout=10)
    try:
        yield f"https://127.0.0.1:{held.getsockname()[1]}", token
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "keys").mkdir()
    urls = ("https://127.0.0.1:4320",)
    return create_keys(tmp_path / "keys", urls=urls, trust_domain="popham", clock=SystemClock())


def test_f_t1_an_administrator_runs_a_fleet_from_the_command_line(keys, tmp_path):
    path = tmp_path / "config.toml"
    (tmp_path / "policy.yaml").write_text(POLICY)
    with serving(keys, tmp_path) as (url, token):
        pem = keys.ca.pem if isinstance(keys.ca.pem, str) else keys.ca.pem.decode()
        Contexts.load(path).put("demo", Context(url=url, ca=pem, token=token)).save()

        def popham(*args, code=0, stdin=None):
            found = CliRunner().invoke(
                cli, ["--config", str(path), *args], obj=Invocation(environ={}), input=stdin
            )
            assert found.exit_code == code, found.stderr
            return found

        applied = popham("apply", "-f", str(tmp_path / "policy.yaml")).stdout.splitlines()
        assert applied == ["policy motd created", "group paris created", "paris: serial 0 -> 1, 0 agents"]
        assert "policy motd unchanged" in popham("apply", "-f", str(tmp_path / "policy.yaml")).stdout
        assert "1 agent waits" in popham("get", "agents").stderr
        assert popham("accept", "agent", "web-1").stdout == "agent web-1 accepted\n"
        found = json.loads(popham("get", "agents", "web-1", "-o", "json").stdout)
        assert (found["admission"], found["presence"]) == ("accepted", "never seen")
        assert "files: motd  (set on paris)" in popham("describe", "group", "paris").stdout
        assert "admission:" in popham("describe", "agent", "web-1").stdout
        assert popham("token", "create", "-g", "paris").stdout.startswith("pop1.")
        assert popham("token", "create", "--stock").stdout.startswith("pops_")
        assert "waits" in popham("check-in", "--all").stdout
        assert popham("copy", "policy", "motd", "motd2").stdout == "policy motd2 created\n"
        assert "conflict.assigned" in popham("delete", "policy", "motd", "--yes", code=1).stderr
        assert popham("delete", "policy", "motd2", stdin="motd2\n").exit_code == 0
        assert popham("revoke", "agent", "web-1", "--yes").stdout == "agent web-1 revoked\n"
        assert "agent.revoke" in popham("audit").stdout


def test_sec_1_another_ca_is_refused_before_the_token_is_sent(keys, tmp_path):
    (tmp_path / "other").mkdir()
    other = create_keys(tmp_path / "other", urls=keys.urls, trust_domain="popham", clock=SystemClock())
    pem = other.ca.pem if isinstance(other.ca.pem, str) else other.ca.pem.decode()
    with serving(keys, tmp_path) as (url, token):
        environ = {"POPHAM_URL": url, "POPHAM_TOKEN": token, "POPHAM_CA": pem, "HOME": str(tmp_path)}
        found = CliRunner().invoke(cli, ["get", "agents"], obj=Invocation(environ=environ))
    assert (found.exit_code, "trust.manager_certificate" in found.stderr) == (1, True)


def test_a_manager_that_is_not_there_is_one_sentence(tmp_path):
    held = socket.create_server(("127.0.0.1", 0))
    port = held.getsockname()[1]
    held.close()
    environ = {"POPHAM_URL": f"https://127.0.0.1:{port}", "POPHAM_TOKEN": "t", "HOME": str(tmp_path)}
    found = CliRunner().invoke(cli, ["get", "agents"], obj=Invocation(environ=environ))
    assert found.exit_code == 1
    assert found.stderr.startswith(f"popham: the Manager at https://127.0.0.1:{port} cannot be reached")


FLEET = """\
apiVersion: popham/v1
kind: Group
metadata: {name: fleet}
spec: {communication: {preset: Pull by heartbeat, heartbeat: 24h}}
"""


def test_f_c11_a_plan_by_api_and_command_line_changes_nothing_and_an_apply_says_the_same(keys, tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    with serving(keys, tmp_path) as (url, token):
        pem = keys.ca.pem if isinstance(keys.ca.pem, str) else keys.ca.pem.decode()
        environ = {"POPHAM_URL": url, "POPHAM_TOKEN": token, "POPHAM_CA": pem, "HOME": str(tmp_path)}

        def popham(*args):
            found = CliRunner().invoke(cli, args, obj=Invocation(environ=environ))
            assert found.exit_code == 0, found.stderr
            return found

        planned = popham("plan", "-f", str(file), "--age", "1h").stdout
        assert (
            "fleet  all       1       Push, heartbeat 5m, spread 5m -> Pull by heartbeat, heartbeat 1d, spread 5m"
            in planned
        )
        assert "It is not kept: some agents have a heartbeat of 1d after this." in planned
        assert "push" in popham("get", "groups").stdout.lower()
        costs = json.loads(popham("plan", "-f", str(file), "-o", "json").stdout)["costs"]
        assert (costs["before"]["links"], costs["after"]["links"]) == (1, 0)
        assert "held links 1 -> 0" in popham("apply", "-f", str(file)).stderr
        again = json.loads(popham("apply", "-f", str(file), "-o", "json").stdout)
        assert again["costs"] is None
