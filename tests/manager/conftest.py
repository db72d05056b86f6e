"""A Manager's service on a database in memory."""

import random
import uuid
from dataclasses import dataclass, field

import pytest

from popham.manager.bundles import Bundles, open_row
from popham.manager.definitions import Terms, found_fleet
from popham.manager.grant import Grant, Role
from popham.manager.keys import create_keys
from popham.manager.links import NotRelayed
from popham.manager.service import ManagerService
from popham.model.documents import SourceFile
from popham.model.fleet import AgentKind
from popham.store.memory import MemoryStore
from popham.trust.keys import IdentityKey

NOW = 1_800_000_000.0
ADMIN = Grant(actor="ada", role=Role.ADMIN, source="192.0.2.7")
VIEWER = Grant(actor="vic", role=Role.VIEWER, source="192.0.2.8")


class Time:
    """A clock that moves when told to."""

    def __init__(self):
        self.at = NOW

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


@dataclass
class FakeLinks:
    """The table of open links."""

    held: set = field(default_factory=set)
    seen: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    changed: list = field(default_factory=list)
    down: list = field(default_factory=list)
    visits: dict = field(default_factory=dict)

    def connected(self, uid):
        return uid in self.held

    def check_in(self, uid):
        self.asked.append(uid)
        return uid in self.held

    def agent_changed(self, uid):
        self.changed.append(uid)

    def visit(self, uid):
        return self.visits.get(uid)

    def visit_of_definition(self, name):
        return self.visits.get(name)

    relayed = NotRelayed()

    def proxies_changed(self, names):
        self.changed += [f"proxy {name}" for name in names]

    def definitions_changed(self, names):
        self.changed += [f"definition {name}" for name in names]

    async def tokens_changed(self):
        self.changed.append("tokens")

    def last_contact(self, uid):
        return self.seen.get(uid)

    def downtimes(self):
        return self.down


@dataclass
class Bench:
    """A service, and what stands around it."""

    store: MemoryStore
    keys: object
    clock: Time
    links: FakeLinks
    told: list
    service: ManagerService = None

    async def apply(self, *texts, grant=ADMIN, dry_run=False, force=False, **terms):
        files = [SourceFile(f"{number}.yaml", text) for number, text in enumerate(texts)]
        return await self.service.apply(grant, files, dry_run=dry_run, force=force, terms=Terms(**terms))

    async def serials(self):
        rows = await self.store.read(lambda tx: tx.bundles())
        return {row.group: row.serial for row in rows}

    async def bundle(self, group):
        return open_row(await self.store.read(lambda tx: tx.bundle(group)))

    async def audit(self):
        return await self.store.read(lambda tx: tx.audit())


def group(name, spec="{}", metadata=""):
    return f"apiVersion: popham/v1\nkind: Group\nmetadata: {{name: {name}{metadata}}}\nspec: {spec}\n"


def policy(name="motd", content="hi", more=""):
    spec = f"{{type: files, files: [{{path: /etc/popham.d/motd, content: {content!r}}}]{more}}}"
    return f"apiVersion: popham/v1\nkind: Policy\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def otelcol(name="col", exporter="debug"):
    spec = f"{{type: otelcol, config: {{exporters: {{{exporter}: null}}}}}}"
    return f"apiVersion: popham/v1\nkind: Policy\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def machine():
    """Return what one of our agents joins with."""
    key = IdentityKey.create()
    uid = str(uuid.UUID(int=random.getrandbits(128), version=4))
    return {"uid": uid, "kind": AgentKind.OWN, "spki": key.keyid, "public_key": key.public.der}


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return create_keys(
        tmp_path_factory.mktemp("keys"), urls=("https://127.0.0.1:4320",), trust_domain="popham", clock=Time()
    )


@pytest.fixture
async def bench(keys):
    found = Bench(store=MemoryStore(), keys=keys, clock=Time(), links=FakeLinks(), told=[])
    found.service = ManagerService(
        found.store,
        keys=keys,
        clock=found.clock,
        rng=random.Random(7),
        on_groups_changed=lambda names: found.told.append(sorted(names)),
        links=found.links,
    )
    await found.store.write(lambda tx: found_fleet(tx, Bundles(keys.director), now=NOW))
    return found
