"""Reports wait while others are told, in order and within bounds, and nothing of them is lost."""

import asyncio
import uuid
from dataclasses import dataclass, field

import pytest

from popham.net.seam import HeldLink
from popham.opamp.codec import decode_frame, encode_frame, parse_upstream
from popham.testing.direct import DirectManager
from popham.testing.virtual import VirtualClock
from popham.upstream import backlog as bounds
from popham.upstream.backlog import HOLD, SLICE, Backlog

from .conftest import OTELCOL, Stock, describe, otelcol, status

LINKS = 3 * SLICE
REPORT = encode_frame(b"a report, or anything that is no heartbeat")
HEARTBEAT = encode_frame(b"\n\x10" + bytes(16) + b"\x10\x01")


@dataclass(eq=False)
class End:
    """One end of a link; only who it is matters."""

    name: str = ""


@dataclass
class Ears:
    """What was heard, in order; an answer says it again."""

    heard: list = field(default_factory=list)
    later: asyncio.Future | None = None

    def __call__(self, end, data):
        self.heard.append((end, data))
        return self.later or b"heard " + data


@pytest.fixture
def ears():
    return Ears()


@pytest.fixture
def waiting(ears):
    """A backlog that holds back."""
    found = Backlog(VirtualClock(), ears)
    found.hold()
    return found


async def turns(count=1):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_waits_is_heard_after_the_telling_in_order_and_in_slices(waiting, ears):
    ends = [End() for _ in range(LINKS)]
    answers = [waiting.keep(end, REPORT) for end in ends]
    await turns(3)
    assert ears.heard == []
    waiting.let_go()
    most = 0
    while waiting:
        before = len(ears.heard)
        await turns()
        most = max(most, len(ears.heard) - before)
    assert most == SLICE
    assert [end for end, _ in ears.heard] == ends
    assert {answer.result() for answer in answers} == {b"heard " + REPORT}


async def test_what_one_link_said_keeps_its_order_and_a_heartbeat_stays_behind_it(waiting, ears):
    end = End()
    assert waiting.takes(end, REPORT)
    waiting.keep(end, REPORT)
    assert waiting.takes(end, HEARTBEAT)
    waiting.keep(end, HEARTBEAT)
    waiting.let_go()
    await turns(2)
    assert [data for _, data in ears.heard] == [REPORT, HEARTBEAT]
    assert (len(waiting), waiting.size) == (0, 0)


async def test_a_heartbeat_of_another_link_never_waits(waiting):
    waiting.keep(End(), REPORT)
    assert not waiting.takes(End(), HEARTBEAT)


async def test_what_comes_after_others_waits_behind_them_though_the_telling_is_over(waiting):
    waiting.keep(End(), REPORT)
    waiting.let_go()
    assert waiting.takes(End(), REPORT)


async def test_however_many_come_at_once_only_a_slice_is_heard_in_a_turn(ears):
    backlog = Backlog(VirtualClock(), ears)
    assert [backlog.takes(End(), REPORT) for _ in range(SLICE + 1)] == [False] * SLICE + [True]
    await turns(2)
    assert not backlog.takes(End(), REPORT)


@pytest.mark.parametrize(("bound", "size"), [("MESSAGES", 4), ("SIZE", 4 * len(REPORT))])
async def test_rel_6_past_the_bound_the_oldest_is_heard_at_once(waiting, ears, monkeypatch, bound, size):
    monkeypatch.setattr(bounds, bound, size)
    ends = [End() for _ in range(6)]
    for end in ends:
        waiting.keep(end, REPORT)
        assert len(waiting) <= 4
        assert waiting.size <= 4 * len(REPORT)
    assert [end for end, _ in ears.heard] == ends[:2]


async def test_a_link_that_closes_has_what_it_said_heard_first(waiting, ears):
    gone, other = End("gone"), End("other")
    waiting.keep(other, REPORT)
    waiting.keep(gone, REPORT)
    waiting.keep(gone, HEARTBEAT)
    waiting.release_link(gone)
    assert ears.heard == [(gone, REPORT), (gone, HEARTBEAT)]
    assert len(waiting) == 1


async def test_whoever_waits_no_more_takes_nothing_from_what_is_heard(waiting, ears):
    answer = waiting.keep(End(), REPORT)
    answer.cancel()
    other = waiting.keep(End(), REPORT)
    ears.later = asyncio.get_running_loop().create_future()
    waiting.let_go()
    await turns(2)
    ears.later.set_result(b"durable")
    assert await other == b"durable"
    assert len(ears.heard) == 2


async def test_what_cannot_be_heard_is_raised_where_its_answer_is_awaited(waiting, ears):
    ears.later = asyncio.get_running_loop().create_future()
    ears.later.set_exception(OSError("disk"))
    answer = waiting.keep(End(), REPORT)
    waiting.let_go()
    with pytest.raises(OSError, match="disk"):
        await answer


async def test_what_waits_for_long_is_overdue(ears):
    clock = VirtualClock()
    backlog = Backlog(clock, ears)
    backlog.hold()
    assert not backlog.overdue()
    backlog.keep(End(), REPORT)
    clock.elapsed += HOLD
    assert backlog.overdue()
    backlog.release()
    assert not backlog.overdue()


# In the hub: many links, all told at once.


@dataclass
class Fleet:
    """Stock agents on held links, each with its own end."""

    agents: list
    ends: list
    links: list[HeldLink]

    def offers(self):
        return [parse_upstream(link.sent[-1]).remote_config.config_hash for link in self.links]


async def hold_fleet(manager, count):
    await manager.publish(otelcol())
    agents, ends, links = [], [], []
    for number in range(count):
        peer = await manager.stock_peer("lab") if number == 0 else agents[0].peer
        peer = type(peer)(address="192.0.2.1", bearer=peer.bearer)
        agent = Stock(manager, peer, key=uuid.UUID(int=number + 1).bytes)
        link, end = manager.hold(peer)
        first = await manager.hear(end, agent.message(agent_description=describe(f"col-{number}")))
        digest = first.remote_config.config_hash
        await manager.hear(end, agent.message(remote_config_status=status(digest)))
        agents.append(agent)
        ends.append(end)
        links.append(link)
    return Fleet(agents, ends, links)


def say(fleet, number, **parts):
    """Have one agent say something over its link; returns the answer, or what it waits for."""
    message = fleet.agents[number].message(**parts)
    return fleet.ends[number].message(encode_frame(message.SerializeToString()))


def states(manager):
    return [
        (record.remote, record.ear.sequence, record.described, record.saved == record.edition)
        for record in sorted(manager.book.records(), key=lambda found: found.key)
    ]


async def run(manager, *, holds):
    """Tell a fleet and have all report, held back meanwhile or not; returns the states and the answers."""
    fleet = await hold_fleet(manager, 2 * SLICE)
    await manager.publish(otelcol("otlp"))
    if holds:
        manager.hub._backlog.hold()
    answers = []
    for number, digest in enumerate(fleet.offers()):
        answers.append(say(fleet, number, remote_config_status=status(digest, 2)))
        answers.append(say(fleet, number, remote_config_status=status(digest)))
        if not holds:
            await asyncio.gather(*(found for found in answers[-2:] if not isinstance(found, bytes)))
    assert (len(manager.hub._backlog) == 4 * SLICE) is holds
    manager.hub._backlog.let_go()
    said = [found if isinstance(found, bytes) else await found for found in answers]
    return states(manager), [decode_frame(found) for found in said]


async def test_held_back_or_not_agents_end_in_the_same_state_with_the_same_answers(keys):
    found = []
    for holds in (False, True):
        manager = DirectManager(keys)
        await manager.start()
        found.append(await run(manager, holds=holds))
    assert found[0] == found[1]


async def test_a_heartbeat_during_the_telling_is_answered_at_once(manager):
    fleet = await hold_fleet(manager, 2)
    manager.hub._backlog.hold()
    report = say(fleet, 0, agent_description=describe("renamed"))
    assert not isinstance(report, bytes)
    answer = say(fleet, 1)
    assert isinstance(answer, bytes)
    assert not parse_upstream(decode_frame(answer)).HasField("error_response")
    manager.hub._backlog.let_go()
    assert parse_upstream(decode_frame(await report)).instance_uid == fleet.agents[0].key


async def test_a_report_of_a_link_that_closes_meanwhile_is_durable(manager):
    fleet = await hold_fleet(manager, 2)
    manager.hub._backlog.hold()
    report = say(fleet, 0, agent_description=describe("renamed"))
    fleet.ends[0].closed(1006)
    await report
    record = manager.book.find(fleet.agents[0].key)
    assert record.description == {"service.name": "renamed"}
    assert record.saved == record.edition
    assert record.link is None
    row = await manager.store.read(lambda tx: tx.agent(record.uid))
    assert "renamed" in row.description


async def test_reports_wait_only_while_links_are_told(manager):
    fleet = await hold_fleet(manager, 2)
    await manager.publish(OTELCOL.format(exporter="otlp", heartbeat="30s"))
    answer = say(fleet, 0, remote_config_status=status(fleet.offers()[0]))
    assert len(manager.hub._backlog) == 0
    assert parse_upstream(decode_frame(await answer)).instance_uid == fleet.agents[0].key
