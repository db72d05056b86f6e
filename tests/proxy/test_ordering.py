import asyncio

import pytest

from popham.errors import LinkError, NotFoundError, TrustError
from popham.model.names import digest
from popham.opamp.codec import parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.opamp.wire import AgentCapability
from popham.trust.keys import IdentityKey

from .dock import AGENTS, NONCES, Agent, dock_at

WEB, DB = AGENTS[:2]


async def at_dock(folder, *agents):
    dock = await dock_at(folder, *agents)
    async with dock.connected():
        for agent in agents:
            await dock.say(agent, full=True)
    await dock.settle()
    return dock


async def tell(dock, agent, **what):
    """Have something told of an agent."""
    for name, value in what.items():
        field = getattr(dock.desk.agents[agent.key], name)
        del field[:]
        field.extend(value)
    dock.relays.agent_changed(agent.uid)
    await dock.settle()


def order(agent, nonce):
    return wire.OrderTold(nonce=nonce, envelope=agent.operation(nonce))


def heard_above(dock, agent):
    message = AgentToServer.FromString(dock.desk.said_of[agent.key].message)
    return list(parse_custom(message.custom_message).results)


def directive(answer):
    return parse_custom(answer.custom_message)


async def test_an_order_is_offered_until_its_agent_says_that_it_began(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    await tell(dock, WEB, orders=[order(WEB, NONCES[0])])
    for _ in range(2):
        assert list(directive(await dock.say(WEB)).operations) == [WEB.operation(NONCES[0])]
    await dock.settle()
    assert list(dock.desk.said_of[WEB.key].offered) == [NONCES[0]]
    assert not directive(await dock.say(WEB, WEB.result(NONCES[0], "running"))).operations
    await tell(dock, WEB, orders=[order(WEB, NONCES[0]), order(WEB, NONCES[1])])
    assert list(directive(await dock.say(WEB)).operations) == [WEB.operation(NONCES[1])], (
        "it is told still above"
    )


async def test_what_was_offered_is_said_until_it_was_heard(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    await tell(dock, WEB, orders=[order(WEB, NONCES[0])])
    await dock.say(WEB)
    await dock.exchange("up lost")
    await dock.exchange("down lost")
    dock.desk.said_of.clear()
    await dock.exchange()
    assert list(dock.desk.said_of[WEB.key].offered) == [NONCES[0]]
    await dock.say(WEB, full=True, promise=301.0, revision=9)
    await dock.settle()
    assert not list(dock.desk.said_of[WEB.key].offered) or directive(await dock.say(WEB)).operations


async def test_a_result_is_named_to_its_agent_once_it_is_durable_above_and_not_before(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    result = WEB.result(NONCES[0])
    assert not directive(await dock.say(WEB, result)).heard
    await dock.settle()
    assert heard_above(dock, WEB) == [result]
    assert not directive(await dock.say(WEB, result)).heard
    await tell(dock, WEB, heard=[f"{NONCES[0]}:1"])
    assert list(directive(await dock.say(WEB)).heard) == [f"{NONCES[0]}:1"]
    again = directive(await dock.say(WEB, result))
    assert list(again.heard) == [f"{NONCES[0]}:1"], "the answer that named it was lost"


async def test_more_results_than_fit_go_up_in_turn(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    for nonce in NONCES[:10]:
        await dock.say(WEB, WEB.result(nonce))
    seen = set()
    for _ in range(6):
        await dock.exchange()
        seen |= set(heard_above(dock, WEB))
    assert len(seen) == 10
    await dock.settle()


async def test_how_many_results_wait_is_bounded(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    for nonce in NONCES:
        await dock.say(WEB, WEB.result(nonce))
    seen = set()
    for _ in range(20):
        await dock.exchange()
        seen |= set(heard_above(dock, WEB))
    assert len(seen) == 32


async def test_sec_29_a_result_that_another_key_signed_is_refused(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    answer = await dock.say(WEB, WEB.result(NONCES[0], identity=IdentityKey.create()))
    assert "not signed by the agent" in answer.error_response.error_message
    with pytest.raises(TrustError):
        dock.ordering.hear(dock.book.find(WEB.key), [DB.result(NONCES[0])])
    await dock.settle()
    assert not heard_above(dock, WEB)


async def test_results_are_said_again_to_a_new_manager_process(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    result = WEB.result(NONCES[0])
    await dock.say(WEB, result)
    await dock.settle()
    dock.boot_manager()
    dock.desk.said_of.clear()
    await dock.settle()
    assert heard_above(dock, WEB) == [result]


async def test_an_output_is_handed_on_where_it_is_wanted(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    record, body = dock.book.find(WEB.key), b"printed"
    with pytest.raises(NotFoundError):
        await dock.ordering.take_output(record, digest(body), body)
    await tell(dock, WEB, want_outputs=[digest(body)])
    assert dock.ordering.lacks_outputs(record) == (digest(body),)
    with pytest.raises(TrustError):
        await dock.ordering.take_output(record, digest(body), b"other")
    dock.desk.replies["output"] = b""
    async with dock.connected():
        await dock.ordering.take_output(record, digest(body), body)
    call = wire.OutputCall.FromString(dock.desk.calls[-1].body)
    assert (call.sha256, call.body) == (digest(body), body)
    assert not dock.ordering.lacks_outputs(record)


async def test_an_output_is_kept_by_its_agent_while_nothing_above_answers(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    record, body = dock.book.find(WEB.key), b"printed"
    await tell(dock, WEB, want_outputs=[digest(body)])
    bringing = asyncio.ensure_future(dock.ordering.take_output(record, digest(body), body))
    await asyncio.sleep(0)
    with pytest.raises(LinkError, match="being handed on"):
        await dock.ordering.take_output(record, digest(body), body)
    dock.clock.elapsed += 60
    dock.calls.expire()
    with pytest.raises(LinkError):
        await bringing
    assert dock.ordering.lacks_outputs(record)


async def test_the_command_of_opamp_is_said_once(tmp_path):
    agent = Agent(8)
    dock = await dock_at(tmp_path)
    dock.desk.agents[agent.key] = told = wire.AgentTold(
        key=agent.key, name="stock", group="fleet", kind="stock", admission="accepted", restart=NONCES[0]
    )
    dock.book.tell(told)
    record = dock.book.find(agent.key)
    record.ear.capabilities = int(AgentCapability.ACCEPTS_RESTART_COMMAND)
    assert record.orders.restart == NONCES[0]
    record.orders.restart = ""
    dock.ordering.told(record, [NONCES[0]])
    dock.book.tell(told)
    assert not record.orders.restart
    told.restart = NONCES[1]
    dock.book.tell(told)
    assert record.orders.restart == NONCES[1]
    told.restart = ""
    dock.book.tell(told)
    assert not record.orders.restart


async def test_orders_are_there_after_a_start(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    await tell(dock, WEB, orders=[order(WEB, NONCES[0])])
    await dock.write()
    await dock.boot()
    await dock.say(WEB, full=True)
    assert list(directive(await dock.say(WEB)).operations) == [WEB.operation(NONCES[0])]
