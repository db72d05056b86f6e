"""The API in front of a real service on the memory store."""

import random
from dataclasses import dataclass, field
from functools import cached_property

import httpx2
import pytest

from popham.api.app import create_app
from popham.manager.bundles import Bundles
from popham.manager.definitions import found_fleet
from popham.manager.grant import Role, put_grant
from popham.manager.keys import create_keys
from popham.manager.links import NoLinks
from popham.manager.service import ManagerService
from popham.store.memory import MemoryStore
from popham.store.rows import AgentRow

NOW = 1_800_000_000.0
UID = "0191d5a8-0000-7000-8000-000000000001"


class StandingClock:
    """A clock that stands until a test moves it."""

    def __init__(self):
        self.time = NOW

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


class OneLink(NoLinks):
    """Holds a link to one agent."""

    def connected(self, uid):
        return uid == UID

    def check_in(self, uid):
        return uid == UID


@dataclass
class Rig:
    """A service with a token of each role and an agent that waits to be accepted."""

    service: ManagerService
    store: MemoryStore
    clock: StandingClock
    tokens: dict[str, str]
    changed: list[str] = field(default_factory=list)

    @cached_property
    def app(self):
        """Return the application: to make one is most of what a request costs here."""
        return create_app(self.service)

    def client(self, who: str = "admin", *, app=None) -> httpx2.AsyncClient:
        """Return a client that shows ``who``'s token; ``none`` shows nothing."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who != "none" else {}
        transport = httpx2.ASGITransport(app or self.app, raise_app_exceptions=False, client=("192.0.2.9", 1))
        return httpx2.AsyncClient(base_url="https://manager.test", transport=transport, headers=headers)


@pytest.fixture
async def rig(tmp_path):
    clock, store, rng = StandingClock(), MemoryStore(), random.Random(7)
    keys = create_keys(tmp_path, urls=("https://127.0.0.1:4320",), trust_domain="popham", clock=clock)
    changed = []
    service = ManagerService(
        store, keys=keys, clock=clock, rng=rng, on_groups_changed=changed.extend, links=OneLink()
    )

    def fill(tx):
        found_fleet(tx, Bundles(keys.director), now=NOW)
        tx.put_agent(
            AgentRow(uid=UID, name="web-1", group="fleet", kind="own", admission="new", first_seen=NOW)
        )
        return {
            role: put_grant(tx, name=role, role=role, lifetime=3600.0, now=NOW, draw=rng.randbytes)[1]
            for role in Role
        }

    return Rig(service, store, clock, await store.write(fill), changed)
