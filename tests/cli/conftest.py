"""A command line without a network: its client talks to a Manager made of canned answers."""

import json
from dataclasses import dataclass, field

import httpx2
import pytest
from click.testing import CliRunner

from popham.cli.invocation import Invocation
from popham.cli.main import cli
from popham.client import Client

UIDS = [f"0191d5a8-0000-7000-8000-00000000000{n}" for n in range(10)]


def _agent(number: int = 1, **fields):
    """Return an agent as the API renders it."""
    return {
        "uid": UIDS[number],
        "name": f"web-{number}",
        "group": "paris",
        "kind": "own",
        "admission": "accepted",
        "presence": "on time",
        "connected": True,
        "sync": "in sync",
        "reason": "",
        "mode": "push",
        "dialer": "agent",
        "heartbeat": 300.0,
        "wanted": 3,
        "applied": 3,
        "last_contact": 1_800_000_000.0,
        "age": 12.5,
        "next_contact": 1_800_000_300.0,
        "since": 1_800_000_000.0,
        "first_seen": 1_799_000_000.0,
        "address": "192.0.2.7",
        "version": "0.1.0",
        "labels": {},
        "certificate_until": None,
        "detail": {},
    } | fields


@dataclass
class CannedManager:
    """Answers by method and path, in the order they were given; the last one stays.

    It is no Manager: it has no rules, and so cannot show that one is kept.
    """

    answers: dict[str, list[tuple[int, object]]] = field(default_factory=dict)
    requests: list[tuple[str, str, object]] = field(default_factory=list)

    def on(self, route: str, *bodies, status: int = 200):
        """Answer ``METHOD /path`` with these bodies."""
        self.answers.setdefault(route, []).extend((status, body) for body in bodies)

    def fail(self, route: str, status: int, code: str, detail: str, hint: str = "", **more):
        """Answer ``METHOD /path`` with a problem."""
        self.on(route, {"code": code, "detail": detail, "hint": hint, **more}, status=status)

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request, as a transport."""
        path = request.url.path.removeprefix("/api/v1")
        body = json.loads(request.content) if request.content else None
        self.requests.append((request.method, request.url.raw_path.decode().removeprefix("/api/v1"), body))
        queue = self.answers.get(f"{request.method} {path}")
        if not queue:
            return httpx2.Response(404, json={"code": "not_found.route", "detail": "nothing is served here"})
        status, answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(status, json=answer) if answer is not None else httpx2.Response(status)


@pytest.fixture
def agent():
    """Return a function that makes an agent as the API renders it."""
    return _agent


@pytest.fixture
def manager():
    return CannedManager()


@pytest.fixture
def popham(manager, tmp_path):
    """Return a function that runs a command line against ``manager``."""

    def connect(context):
        return Client(context.url, context.token, transport=httpx2.MockTransport(manager.handle))

    def run(
        *args: str,
        stdin: str | None = None,
        wait=None,
        environ=None,
        color=False,
        asked=False,
        draws=False,
        now=lambda: 1_800_000_000.0,
    ):
        given = {"POPHAM_URL": "https://manager.test:8443", "POPHAM_TOKEN": "pop_a_b", "HOME": str(tmp_path)}
        invocation = Invocation(
            environ=given if environ is None else environ,
            connect=connect,
            wait=wait or _never,
            asked=lambda: asked,
            draws=lambda: draws,
            now=now,
        )
        return CliRunner().invoke(cli, args, input=stdin, obj=invocation, prog_name="popham", color=color)

    return run


def _never(seconds: float):
    raise AssertionError("this command waits for nothing")
