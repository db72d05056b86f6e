"""One machine's enforcer and locator in virtual time, and a director who gives it orders."""

import asyncio
import json

from popham.agent.enforcer import Enforcer
from popham.agent.location import Locator
from popham.agent.sight import LocationSettings, Sight
from popham.agent.state import MemoryAgentState
from popham.errors import LinkError
from popham.model.bundle import BUNDLE_TYPE, Bundle, LocationSet, PolicyRef
from popham.model.communication import CommunicationSettings
from popham.model.criteria_form import criterion_from_dict
from popham.model.location import Location, LocationRules
from popham.model.names import digest
from popham.testing.agent import SimApplier
from popham.testing.host import SimHost
from popham.testing.virtual import VirtualClock, run_virtual
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import seal
from popham.trust.keys import IdentityKey
from popham.trust.tuf import TrustedTuf

UID = "0198c2a0-0000-7000-8000-000000000001"
KEY = IdentityKey.create()
HEARTBEATS = {"default": 300.0, "office": 60.0, "lab": 30.0}
OFFICE = {"address": "10.0.0.0/8"}
EVERYTHING = Sight(LocationSettings(environment=("SITE",), files=("/",), reachable=("*:*",), names=("*",)))


def rules_of(*, check=30.0, remembers=True, default="default", **when):
    """Return rules: location → criteria, or (weight, criteria)."""
    locations = [Location(name=default)]
    for name, given in when.items():
        weight, criteria = given if isinstance(given, tuple) else (10, given)
        locations.append(Location(name=name, weight=weight, when=criterion_from_dict(criteria)))
    return LocationRules(locations=tuple(locations), default=default, check=check, remembers=remembers)


def body_of(name):
    return json.dumps({"body": {"name": name}}).encode()


class Orders:
    """A machine and its director; :meth:`restart` keeps what is on its disk.

    Attributes:
        told: How often there was something to report.
        fetched: Names of the policies fetched from upstream, which is there unless ``away``.
    """

    def __init__(self, keys):
        self.clock = VirtualClock()
        self.keys = keys
        self.host = SimHost()
        self.applier = SimApplier()
        self.state = MemoryAgentState()
        self.state.create_identity(UID, KEY)
        self.serial = 0
        self.bodies, self.fetched = {}, []
        self.told, self.away = 0, False
        self.sight = EVERYTHING
        self.task = None
        self.group = "fleet"
        self.boot()

    def boot(self):
        tuf = TrustedTuf.from_bytes(self.keys.root, self.keys.targets)
        self.enforcer = Enforcer(self.state, self.applier, tuf, self.clock, self.tell)
        self.locator = Locator(self.enforcer, self.host, self.settle, self.tell, allows=self.sight.allows)
        if self.enforcer.assignment is None:
            self.assign("fleet")

    def assign(self, group, candidate=""):
        held = Assignment(
            uid=UID,
            spki_sha256=KEY.keyid,
            group=group,
            seq=self.state.assignment_floor() + 1,
            issued=0,
            candidate=candidate,
        )
        self.group = group
        self.enforcer.assign(seal(ASSIGNMENT_TYPE, held.payload(), self.keys.director))

    def tell(self):
        self.told += 1

    async def settle(self):
        await self.enforcer.settle(self.fetch)

    async def fetch(self, sha256, limit):
        del limit
        if self.away:
            raise LinkError("unreachable", "upstream is away")
        self.fetched.append(json.loads(self.bodies[sha256])["body"]["name"])
        return self.bodies[sha256]

    def ref(self, name):
        body = body_of(name)
        self.bodies[digest(body)] = body
        return PolicyRef(type="files", name=name, revision=1, sha256=digest(body), length=len(body))

    def bundle(self, rules=None, *, download=True, **policies):
        """Return the next bundle: location → name of its policy."""
        self.serial += 1
        names = rules.names if rules else ("default",)
        sets = {
            name: LocationSet(
                policies=(self.ref(policies[name]),) if download and name in policies else (),
                communication=CommunicationSettings(heartbeat=HEARTBEATS.get(name, 300.0), download=download),
            )
            for name in names
        }
        return Bundle(
            group=self.group,
            serial=self.serial,
            version=self.serial,
            issued=0,
            locations=sets,
            rules=rules,
            download=download,
        )

    async def order(self, rules=None, **rest):
        """Give the next bundle, as a round brings it."""
        bundle = self.bundle(rules, **rest)
        self.enforcer.take(seal(BUNDLE_TYPE, bundle.payload(), self.keys.director), {})
        await self.settle()
        return bundle

    def start(self):
        self.task = asyncio.ensure_future(self.locator.run())

    async def end(self):
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def restart(self):
        await self.end()
        self.applier.applied.clear()
        self.boot()
        self.start()

    @property
    def where(self):
        return self.enforcer.standing.location

    @property
    def applied(self):
        """Names of the policies in force, of every set applied."""
        return [tuple(one.partition("@")[0] for one in held) for held in self.applier.applied]

    @property
    def heartbeat(self):
        return self.enforcer.ordered.held.communication.heartbeat

    def tell_story(self, story):
        """Run a story in virtual time, the locator beside it."""

        async def tell():
            self.start()
            try:
                await story()
            finally:
                await self.end()

        run_virtual(tell(), self.clock)
