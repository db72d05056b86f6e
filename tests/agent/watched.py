"""A machine whose sets are watched: policies may cut it off, fail their checks, or end its agent."""

import asyncio
import itertools
from collections import Counter

from popham.agent.enforcer import Enforcer
from popham.agent.health import Health
from popham.agent.location import Locator
from popham.agent.probation import Trials
from popham.agent.state import AgentState, MemoryAgentState
from popham.errors import PolicyError
from popham.model.bundle import BUNDLE_TYPE, PolicyRef
from popham.model.names import canonical, digest
from popham.trust.dsse import seal
from popham.trust.tuf import TrustedTuf

from .orders import KEY, UID, Orders

WINDOW = 600.0


class Killed(BaseException):
    """The process ends here: nobody catches this."""


class FragileStorage:
    """A disk that takes so many changes, and then the process ends before the next one."""

    def __init__(self, files):
        self.files = files
        self.left = None

    def read(self, name, limit):
        del limit
        return self.files.get(name)

    def write(self, name, data, mode=0o600):
        del mode
        self.spend()
        self.files[name] = bytes(data)

    def remove(self, name):
        if name in self.files:
            self.spend()
            del self.files[name]

    def names(self, folder):
        return sorted(name.removeprefix(f"{folder}/") for name in self.files if name.startswith(f"{folder}/"))

    def spend(self):
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1


class Site:
    """What is in force on the machine, whatever process put it there: the applier's own journal is trusted."""

    supported = frozenset({"files"})

    def __init__(self):
        self.names = ()
        self.log = []
        self.broken = frozenset()
        self.spend = lambda: None

    async def check(self, policies):
        self.read(policies)

    def read(self, policies):
        names = tuple(policy.ref.name for policy in policies)
        if self.broken.intersection(names):
            raise PolicyError("validate", "it does not parse")
        return names

    async def apply(self, policies):
        names = self.read(policies)
        self.spend()
        self.names = names
        self.log.append(names)
        self.spend()


class Watched(Orders):
    """One machine, its watch, and an upstream that is there unless a policy ``cut…`` holds or it is ``dead``.

    Attributes:
        probes: Times at which servers were asked.
        slept: For how long the machine has slept, in seconds.
        failing: Check commands that fail → the last line of what they say.
        checked: Times at which checks ran.
    """

    def __init__(self, keys, window=WINDOW):
        self.window = window
        self.dead = False
        self.slept = 0.0
        self.probes, self.checked, self.failing = [], [], {}
        self.checks = {}
        self.storage = FragileStorage({})
        self.tasks = []
        super().__init__(keys)

    def boot(self):
        if isinstance(self.state, MemoryAgentState):
            self.state, self.applier = AgentState(self.storage), Site()
            self.state.create_identity(UID, KEY)
        self.state = AgentState(self.storage)
        self.applier.spend = self.storage.spend
        tuf = TrustedTuf.from_bytes(self.keys.root, self.keys.targets)
        trials = Trials(self.state, self.clock, self.window)
        self.enforcer = Enforcer(self.state, self.applier, tuf, self.clock, self.tell, trials)
        self.locator = Locator(self.enforcer, self.host, self.settle, self.tell, allows=self.sight.allows)
        self.health = Health(
            self.enforcer,
            reach=self.reach,
            check=self.check,
            draw=lambda: 0.5,
            asleep=lambda: self.slept,
        )
        if self.enforcer.assignment is None:
            self.assign("fleet")

    @property
    def cut(self):
        return any(name.startswith("cut") for name in self.applier.names)

    @property
    def reachable(self):
        return not self.dead and not self.cut

    async def reach(self, seconds):
        self.probes.append(self.clock.elapsed)
        if not self.reachable:
            await asyncio.sleep(seconds)
        return self.reachable

    async def check(self, name, secrets):
        del secrets
        self.checked.append(self.clock.elapsed)
        if name in self.failing:
            raise PolicyError(
                "check", f"the check command {name!r} ended with exit status 1: {self.failing[name]}"
            )

    def ref(self, name):
        body = {"name": name} | ({"check": self.checks[name]} if name in self.checks else {})
        encoded = canonical({"body": body})
        self.bodies[digest(encoded)] = encoded
        return PolicyRef(type="files", name=name, revision=1, sha256=digest(encoded), length=len(encoded))

    async def round(self):
        """Make one round, as a driver does: what is unanswered is a failure."""
        if self.reachable:
            self.enforcer.heard()
            await self.settle()
            if self.reachable:
                self.enforcer.heard()
                return
        self.health.lost()

    async def give(self, name, **rest):
        """Give a bundle with one policy for the default location, in one round."""
        bundle = self.bundle(default=name, **rest)
        await self.take(bundle)

    async def take(self, bundle):
        self.enforcer.heard()
        self.enforcer.take(seal(BUNDLE_TYPE, bundle.payload(), self.keys.director), {})
        await self.settle()
        await self.round()

    def start(self):
        self.tasks = [asyncio.ensure_future(self.health.run())]

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks = []

    async def restart(self, *, clean=False):
        """End the process, as a kill does unless ``clean``, and begin another."""
        if clean:
            self.enforcer.trials.end_process()
        await self.end()
        self.storage.left = None
        self.boot()
        await self.enforcer.begin_process()
        self.start()

    @property
    def tries(self):
        """How often each set came into force in place of another."""
        log = [(), *self.applier.log]
        return Counter(now for before, now in itertools.pairwise(log) if now != before)

    @property
    def said(self):
        progress = self.enforcer.progress
        return progress.outcome, progress.error_code
