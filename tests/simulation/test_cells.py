"""Switching among all four cells: which end opens, and when, is one command at the Manager, with no gap and no double."""

import random
from collections import Counter, defaultdict
from itertools import pairwise, permutations

import pytest

from popham.model.communication import Dialer, Mode
from popham.model.status import Presence, SyncState, presence, sync_state
from popham.testing.network import Pipe
from popham.testing.virtual import pass_time
from popham.upstream.record import Record

from .conftest import FOUR_CELLS, LAB

SWITCH, HOUR, BEAT = 10.0, 3600.0, 5.0
GROUP = LAB + (
    "  communication: {{mode: {cell[0]}, dialer: {cell[1]}, heartbeat: {heartbeat}, spread: off,"
    " never_dial: {never_dial}}}\n"
)
PAIRS = list(permutations(FOUR_CELLS, 2))


async def publish(simulation, text, cell, heartbeat="5s", never_dial="off"):
    said = GROUP.format(text=text, cell=cell, heartbeat=heartbeat, never_dial=never_dial)
    await simulation.manager.publish(said)


def known(simulation, agent):
    return simulation.manager.book.record(agent.state.uid)


def state(simulation, agent):
    return known(simulation, agent).state


def in_sync(simulation, agents):
    wanted = simulation.manager.book.wanted("lab").content_digest
    return {sync_state(wanted, state(simulation, agent)) for agent in agents} == {SyncState.IN_SYNC}


def on_time(simulation, agents):
    found = [known(simulation, agent) for agent in agents]
    now = simulation.clock.now()
    return {presence(one.last_contact, one.promise, now) for one in found} == {Presence.ON_TIME}


def walk(pairs, length, seed):
    """Return a walk over the cells that takes every ordered pair as often as any other, as far as its length allows."""
    draw = random.Random(seed)  # a simulation, not a secret
    left = Counter(dict.fromkeys(pairs, 1))
    at, path = pairs[0][0], [pairs[0][0]]
    for _ in range(length):
        ways = [(left[pair], draw.random(), pair[1]) for pair in pairs if pair[0] == at]
        _, _, to = max(ways)
        left[at, to] -= 1
        at = to
        path.append(at)
    return path


class Watch:
    """Notes what must not happen: doubled revisions, and links that are broken before another way worked."""

    def __init__(self, monkeypatch):
        self.revisions, self.broken = defaultdict(list), []
        self.worked = Counter()
        noted, ended, contact = Record.note_state, Pipe.end, Record.contact
        watch = self

        def note_state(record, said, envelope):
            watch.revisions[record.uid].append((said.revision, envelope))
            return noted(record, said, envelope)

        def end(pipe, code):
            if not pipe.code:
                watch.broken.append((pipe.name, watch.worked[pipe.name], code))
                watch.worked[pipe.name] = 0
            ended(pipe, code)

        def note_contact(record, now, address):
            watch.worked[record.name] += 1
            contact(record, now, address)

        monkeypatch.setattr(Record, "note_state", note_state)
        monkeypatch.setattr(Pipe, "end", end)
        monkeypatch.setattr(Record, "contact", note_contact)


@pytest.mark.parametrize("lasting", [HOUR / 4, pytest.param(HOUR, marks=pytest.mark.soak)])
def test_f_c3_every_pair_of_cells_every_ten_seconds_with_no_gap_and_no_double(
    simulate, monkeypatch, caplog, lasting
):
    watch = Watch(monkeypatch)

    async def story(simulation):
        path = walk(PAIRS, int(lasting / SWITCH), seed=1)
        assert min(Counter(pairwise(path)).values()) >= 20 * lasting / HOUR, "every pair is taken many times"
        await publish(simulation, "0", path[0])
        agents = await simulation.add_agents("lab", ["a", "b"])
        await pass_time(SWITCH)
        drivers = [agent.driver for agent in agents]
        for number, cell in enumerate(path[1:], 1):
            await publish(simulation, str(number), cell)
            await pass_time(SWITCH)
            assert in_sync(simulation, agents), (path[number - 1], cell)
            assert on_time(simulation, agents)
            said = {(one.mode, one.dialer, one.fallback) for one in (state(simulation, a) for a in agents)}
            assert said == {(*cell, "")}, (path[number - 1], cell)
            links = [pipe for pipe in simulation.network.pipes if not pipe.code]
            assert len(links) == (len(agents) if cell[0] is Mode.PUSH else 0)
            assert {pipe.reversed for pipe in links} <= {cell[1] is Dialer.MANAGER}
            if cell[1] is Dialer.MANAGER:
                dialled = [agent.dials for agent in agents]
                await pass_time(BEAT + 1)
                assert [agent.dials for agent in agents] == dialled, "who is visited opens nothing"
        for agent in agents:
            assert [one for (one,) in agent.applier.applied] == [f"motd@{n + 1}" for n in range(len(path))]
            assert not any(agent.said), "nothing failed on the way"
        assert [agent.driver for agent in agents] == drivers, "nobody was restarted"

    simulate(story)
    assert not caplog.records, "nothing is worth a word"
    assert {code for _, _, code in watch.broken[:-2]} <= {1000}
    assert min(worked for _, worked, _ in watch.broken[:-2]) >= 1, "a link is let go once another way worked"
    assert len(watch.revisions) == 2
    for said in watch.revisions.values():
        assert all(a < b or (a, one) == (b, other) for (a, one), (b, other) in pairwise(said))
