"""A proxy between a real Manager and a real agent's end: what each says is believed by the others."""

import pytest
from tests.upstream.conftest import files

from popham.manager.relays.relays import ManagerRelays
from popham.net.seam import Refused
from popham.testing.direct import ADMIN, DirectManager
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock
from popham.trust.tuf import TrustedTuf
from popham.upstream.relaying import Scope

from .dock import Dock


class Directory:
    """One proxy, which was given one group."""

    def __init__(self, uid):
        self.uid, self.scope, self.changed = uid, Scope(groups=frozenset({"lab"})), lambda: None

    def scope_of(self, uid):
        return self.scope if uid == self.uid else None

    def name_of(self, uid):
        return "dock" if uid == self.uid else ""

    def uids(self):
        return (self.uid,)

    def places_of(self, uid):
        return []

    def is_settled(self):
        return True

    async def settle(self):
        """Return: it is known at once."""


class Below:
    """The proxy, as an agent speaks with it: in the form of a Manager that is spoken with directly."""

    def __init__(self, dock, manager):
        self._dock, self.keys, self.clock, self.hub = dock, manager.keys, manager.clock, dock.hub

    async def round(self, peer, body):
        refusal = self._dock.hub.admit(peer, held=False, uid=b"")
        if refusal is not None:
            raise Refused(refusal)
        answer = self._dock.hub.round(peer, body)
        return answer if isinstance(answer, bytes) else await answer


class Chain:
    """A Manager, a proxy, and an agent that goes to the one or the other."""

    async def begin(self, folder):
        self.manager = DirectManager(make_keys(VirtualClock()))
        await self.manager.start()
        await self.manager.publish(files())
        proxy = await self.manager.add_agent("dock", "lab")
        await proxy.round()
        self.agent = await self.manager.add_agent("web", "lab")
        self.directory = Directory(proxy.uid)
        self.dock = Dock(folder, clock=self.manager.clock)
        self.dock.tuf = TrustedTuf.from_bytes(self.manager.keys.root, self.manager.keys.targets)
        self.dock.trust_domain = self.manager.keys.ca.trust_domain
        self.dock.record = self.manager.book.record(proxy.uid)
        self.boot_manager(1)
        await self.dock.boot()
        self.below = Below(self.dock, self.manager)
        return self

    def boot_manager(self, boot):
        made = ManagerRelays(
            self.manager.book,
            self.manager.hub,
            self.directory,
            self.manager.store,
            self.manager.keys,
            self.manager.clock,
            boot,
        )
        self.dock.relays, self.placed = made.relays, made.placed

    async def rounds(self):
        """Have the agent make rounds at the proxy, until it has nothing more to say."""
        self.agent._manager = self.below
        async with self.dock.connected():
            for _ in range(3):
                await self.agent.round()
                await self.dock.settle()

    @property
    def above(self):
        return self.manager.book.record(self.agent.uid)


@pytest.fixture
async def chain(tmp_path):
    return await Chain().begin(tmp_path)


async def test_an_agent_gets_its_policies_by_the_proxy_and_the_manager_believes_its_state(chain):
    await chain.rounds()
    wanted = chain.manager.book.wanted("lab")
    assert chain.above.via == (chain.dock.record.uid,)
    assert chain.above.state.content_digest == wanted.content_digest
    assert chain.above.state.nonce, "it was signed after the Manager's nonce was handed on"
    assert chain.above.envelope == chain.dock.book.find(chain.above.key).envelope


async def test_a_policy_that_is_published_goes_through_the_proxy(chain):
    await chain.rounds()
    await chain.manager.publish(files("second\n"))
    chain.dock.relays.groups_changed(["lab"])
    await chain.rounds()
    wanted = chain.manager.book.wanted("lab")
    assert chain.above.state.content_digest == wanted.content_digest
    assert chain.dock.book.wanted("lab").envelope == wanted.envelope


async def test_sec_30_an_agent_of_a_group_that_was_not_given_is_refused(chain):
    chain.directory.scope = Scope(groups=frozenset({"elsewhere"}))
    with pytest.raises(Refused, match="not given"):
        await chain.rounds()
    assert not chain.above.via


async def test_f_t2_an_agent_that_goes_elsewhere_is_forgotten_and_comes_back(chain):
    await chain.rounds()
    chain.agent._manager = chain.manager
    await chain.agent.round()
    assert not chain.above.via
    await chain.dock.settle()
    assert chain.dock.book.find(chain.above.key) is None
    await chain.rounds()
    assert chain.above.via == (chain.dock.record.uid,)


async def test_a_revoked_agent_is_shut_out_at_the_proxy(chain):
    await chain.rounds()
    await chain.manager.service.revoke(ADMIN, "web")
    await chain.manager.bring()
    chain.dock.relays.agent_changed(chain.agent.uid)
    await chain.dock.settle()
    with pytest.raises(Refused, match="revoked"):
        await chain.agent.round()


async def test_rel_8_after_both_began_anew_the_agent_is_known_as_before(chain):
    await chain.rounds()
    await chain.dock.write()
    await chain.dock.boot()
    chain.below = Below(chain.dock, chain.manager)
    chain.boot_manager(2)
    await chain.rounds()
    assert chain.above.via == (chain.dock.record.uid,)
    assert chain.above.last_contact == pytest.approx(chain.manager.clock.now(), abs=10)
