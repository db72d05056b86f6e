"""An evil proxy and agents of its own groups that are elsewhere: it moves nobody, and closes nobody's link (SEC-27)."""

import random
import uuid
from collections import Counter

import pytest
from tests.manager.relays.conftest import said, state_of

from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.presence import LINKED

from .blows import KINDS, Blow, Evil
from .fleet import EvilFleet
from .siege import strike

MESSAGES = 120
NEWEST = 10_000
"""Above all revisions that the agents of the fleet have signed."""


@pytest.fixture
async def rig(keys):
    found = await EvilFleet().begin(keys)
    found.fleet.give(found.pier.uid, "lab", "other")
    await found.pier.relay()
    yield found
    await found.end()


@pytest.mark.parametrize("seed", range(3))
async def test_sec_27_whatever_an_evil_proxy_says_agents_stay_where_they_were_heard(rig, seed):
    rng, evil, counts = random.Random(seed), Evil(rig), Counter()
    manager, (one, other) = rig.manager, rig.mine
    state = rig.sign(one, NEWEST, rig.pier.nonce.hex(), "lab")
    await rig.pier.relay(said(one, state, held=True), presence=bytes([LINKED]))
    link, end = manager.hold(other.peer())
    await manager.hear(end, other.end.report(force=True))
    for _ in range(MESSAGES):
        rig.fleet.clock.elapsed += rng.choice((0, 1, 9))
        kinds = rng.choices(KINDS + ("said",) * len(KINDS), k=rng.randint(1, 3))
        whole = rng.choice(("", "", "bytes", "boot"))
        await strike(
            rig, evil.render([Blow(kind, rng.getrandbits(32)) for kind in kinds], whole, seed), counts
        )
        await rig.pier.relay(presence=bytes([LINKED]))
        await manager.hear(end, other.end.report(force=True))
        here, there = rig.fleet.record(one), rig.fleet.record(other)
        assert (here.via, here.envelope) == ((rig.pier.uid,), state)
        assert (there.via, there.link, link.ended) == ((), link, None)
        assert not rig.broken
    assert counts[200] > MESSAGES / 2


async def test_sec_27_an_old_nonce_or_another_proxys_takes_no_agent_from_a_good_proxy(rig):
    dock, pier, agent, fleet = rig.dock, rig.pier, rig.mine[0], rig.fleet
    mine = state_of(agent, 1, nonce=dock.nonce.hex())
    await dock.relay(said(agent, mine))
    fleet.clock.elapsed += 20.0
    await pier.relay(said(agent, state_of(agent, 2, nonce=pier.nonce.hex())))
    assert fleet.record(agent).via == (pier.uid,)
    stolen = state_of(agent, 3, nonce=pier.nonce.hex())
    for state in (b"", mine, stolen):
        await dock.relay(said(agent, state, held=True), presence=bytes([LINKED] * 9))
        await dock.relay(agents_known=[wire.Known(key=uuid.UUID(agent.uid).bytes)])
        assert fleet.record(agent).via == (pier.uid,)
        assert fleet.record(agent).state.revision == 2
        assert fleet.relays.placed.count(dock.uid) == 0
