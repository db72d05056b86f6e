"""A Proxy Manager's nonce goes to its agents in each directive, and beside each offer; a Manager has none."""

import pytest

from popham.opamp.codec import parse_custom, parse_upstream
from popham.opamp.schema.popham.v1.popham_pb2 import Directive
from popham.testing.direct import DirectManager

from .conftest import files, otelcol

FIRST, SECOND = b"\x01" * 16, b"\x02" * 16


class Proxy(DirectManager):
    """A hub that has a nonce."""

    def __init__(self, keys):
        super().__init__(keys)
        self.nonce = FIRST

    async def start(self):
        await super().start()
        self.hub._telling._nonce = lambda: self.nonce


@pytest.fixture
async def proxy(keys):
    found = Proxy(keys)
    await found.start()
    await found.publish(files())
    return found


def directive_of(message):
    found = parse_custom(message.custom_message)
    assert isinstance(found, Directive)
    return found


async def held(manager, agent):
    link, end = manager.hold(agent.peer())
    agent.end.opened()
    return link, end, await manager.hear(end, agent.end.report(force=True))


async def settle(manager, agent, end, answer):
    """Let an agent hear an answer, and say all that it has to say."""
    while answer is not None:
        await agent.end.receive(answer.SerializeToString())
        message = agent.end.report(force=False)
        answer = await manager.hear(end, message) if message is not None else None


async def test_each_directive_and_each_offer_has_the_newest_nonce(proxy):
    agent = await proxy.add_agent("a", "lab")
    link, end, first = await held(proxy, agent)
    assert directive_of(first).nonce == FIRST
    assert first.HasField("remote_config")
    await settle(proxy, agent, end, first)
    assert agent.end.record().nonce == FIRST.hex()
    proxy.nonce = SECOND
    await proxy.publish(files("two"))
    (told,) = [parse_upstream(data) for data in link.sent]
    assert told.HasField("remote_config")
    assert directive_of(told).nonce == SECOND
    await settle(proxy, agent, end, told)
    assert proxy.book.find(agent.end.uid).state.nonce == SECOND.hex()


async def test_an_offer_that_many_share_does_not_keep_an_old_nonce(proxy):
    agents = [await proxy.add_agent(name, "lab") for name in ("a", "b")]
    said = []
    for agent, proxy.nonce in zip(agents, (FIRST, SECOND), strict=True):
        _, _, answer = await held(proxy, agent)
        assert answer.HasField("remote_config")
        said.append(directive_of(answer).nonce)
    assert said == [FIRST, SECOND]


async def test_a_quiet_answer_has_none(proxy):
    agent = await proxy.add_agent("a", "lab")
    _, end, first = await held(proxy, agent)
    await settle(proxy, agent, end, first)
    proxy.nonce = SECOND
    quiet = await proxy.hear(end, agent.end.report(force=True))
    assert not quiet.HasField("custom_message")


async def test_a_manager_hands_out_none(keys):
    manager = DirectManager(keys)
    await manager.start()
    await manager.publish(files())
    agent = await manager.add_agent("a", "lab")
    _, _, answer = await held(manager, agent)
    assert directive_of(answer).nonce == b""
    await agent.round()
    assert manager.book.find(agent.end.uid).state.nonce == ""


async def test_a_stock_agent_hears_of_none(proxy):
    await proxy.publish(otelcol())
    said = proxy.hub._telling._tails
    agent = await proxy.add_agent("a", "fleet")
    await agent.round()
    assert not [tail for key, (_, tail) in said.items() if not key[1] and FIRST in tail]


async def want(proxy, agent):
    """Have the state of an agent wanted anew, as a proxy's book has it."""
    record = proxy.book.record(agent.uid)
    record.want_state, record.settled = True, None
    proxy.hub.tell(agent.uid)
    return record


async def test_a_state_that_is_wanted_is_asked_for_until_one_with_the_newest_nonce_came(proxy):
    agent = await proxy.add_agent("a", "lab")
    link, end, first = await held(proxy, agent)
    await settle(proxy, agent, end, first)
    before = proxy.book.find(agent.end.uid).state
    proxy.nonce = SECOND
    link.sent.clear()
    record = await want(proxy, agent)
    (told,) = [parse_upstream(data) for data in link.sent]
    assert (directive_of(told).want_state, directive_of(told).nonce) == (True, SECOND)
    # It was lost on the way: the next heartbeat brings it once more.
    again = await proxy.hear(end, agent.end.report(force=True))
    assert directive_of(again).want_state
    assert record.want_state
    await settle(proxy, agent, end, again)
    assert not record.want_state
    assert record.state.nonce == SECOND.hex()
    assert record.state.revision > before.revision
    quiet = await proxy.hear(end, agent.end.report(force=True))
    assert not quiet.HasField("custom_message")


async def test_an_agent_that_knows_no_nonces_is_not_asked_for_one(proxy):
    agent = await proxy.add_agent("a", "lab")
    link, end, first = await held(proxy, agent)
    await settle(proxy, agent, end, first)
    record = proxy.book.record(agent.uid)
    object.__setattr__(record.state, "generation", 4)
    link.sent.clear()
    await want(proxy, agent)
    assert link.sent == []
