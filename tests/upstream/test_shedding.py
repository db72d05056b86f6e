"""What is left out when there is too much to do."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import LinkError
from popham.net.seam import Request
from popham.opamp.codec import parse_upstream
from popham.upstream.shedding import LAG, QUEUE, Load, Shedder, Work, sheds

from .conftest import describe

LOADS = st.builds(Load, st.floats(0, 10), st.integers(0, 10_000))


@given(LOADS)
def test_rel_21_revocations_and_heartbeats_are_never_left_out(load):
    assert not sheds(load, Work.REVOKE)
    assert not sheds(load, Work.HEARTBEAT)


@given(LOADS)
def test_rel_21_what_matters_less_is_left_out_first(load):
    decisions = [sheds(load, work) for work in sorted(Work)]
    assert decisions == sorted(decisions, reverse=True)


@given(LOADS, st.floats(0, 5), st.integers(0, 5_000), st.sampled_from(Work))
def test_rel_21_more_to_do_never_lets_more_in(load, lag, queue, work):
    more = Load(load.lag + lag, load.queue + queue)
    assert sheds(more, work) or not sheds(load, work)


@pytest.mark.parametrize("load", [Load(LAG, 0), Load(0.0, QUEUE), Load()])
def test_rel_21_nothing_is_left_out_within_the_goal(load):
    assert not any(sheds(load, work) for work in Work)


@pytest.mark.parametrize("load", [Load(3 * LAG), Load(0.0, 3 * QUEUE)], ids=["lag", "queue"])
def test_rel_21_content_and_enrollments_go_before_policy_offers(load):
    assert sheds(load, Work.CONTENT)
    assert not sheds(load, Work.POLICY)


def test_who_is_refused_is_told_when_to_come_again():
    shedder = Shedder(lambda: Load(10.0), lambda: 42.0)
    refusal = shedder.refusal(Work.CONTENT)
    assert (refusal.status, refusal.retry_after) == (503, 42.0)
    assert shedder.refusal(Work.HEARTBEAT) is None
    assert shedder.left_out[Work.CONTENT] == 1
    assert shedder.left_out[Work.HEARTBEAT] == 0


# In the hub.


@pytest.fixture
def busy(manager):
    """A load that a test sets."""
    load = [Load(10.0)]
    shedder = Shedder(lambda: load[0], lambda: 42.0)
    hub = manager.hub
    hub._shedder = hub._news._shedder = hub._credentials._shedder = shedder
    return load


async def test_rel_21_under_load_a_heartbeat_is_answered_and_the_offer_comes_with_a_later_one(stock, busy):
    answer = await stock.begin()
    assert not answer.HasField("remote_config")
    assert not answer.HasField("error_response")
    assert stock.record.last_contact is not None
    busy[0] = Load()
    assert (await stock.say()).HasField("remote_config")


async def test_rel_21_a_held_link_is_offered_what_was_left_out_once_there_is_room(stock, manager, busy):
    link, end = manager.hold(stock.peer)
    answer = await manager.hear(end, stock.message(agent_description=describe()))
    assert not answer.HasField("remote_config")
    busy[0] = Load()
    await manager.bring()
    (sent,) = link.sent
    assert parse_upstream(sent).HasField("remote_config")


async def test_rel_21_under_load_links_are_told_later(stock, manager, busy):
    busy[0] = Load()
    link, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    busy[0] = Load(10.0)
    manager.hub.changed(["lab"])
    telling = asyncio.ensure_future(manager.hub.publish())
    await asyncio.sleep(0)
    assert link.sent == []
    telling.cancel()


async def test_rel_21_under_load_a_body_is_not_served_and_trust_documents_are(stock, manager, busy):
    refused = await manager.hub.other(
        Request(method="GET", path="/v1/content/sha256/" + "0" * 64, peer=stock.peer)
    )
    assert (refused.status, refused.headers["Retry-After"]) == (503, "42")
    served = await manager.hub.other(Request(method="GET", path="/v1/trust/ca", peer=stock.peer))
    assert served.status == 200


async def test_rel_21_under_load_nobody_enrolls(manager, busy):
    with pytest.raises(LinkError) as refused:
        await manager.add_agent("late")
    assert refused.value.status == 503
    assert manager.hub.left_out["content"] == 1


async def test_rel_21_under_load_a_revoked_agent_loses_its_link(stock, manager, busy):
    link, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    manager.hub.drop(stock.record.uid, "revoked")
    assert link.ended[0] == 1008
