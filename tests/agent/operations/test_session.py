"""Operations on the wire of an agent: heard in a directive, and said with the next report (F.O4)."""

import asyncio
from types import SimpleNamespace

import pytest
from tests.agent.orders import UID, Orders

from popham.agent.credentials import Credentials
from popham.agent.end import AgentEnd
from popham.agent.status import describe_state
from popham.agent.visited import AgentWorld
from popham.link.driver import Driver
from popham.model.generation import GENERATION
from popham.model.operation import Kind, OperationState
from popham.opamp.codec import custom, parse_agent, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1.popham_pb2 import Directive
from popham.testing.virtual import run_virtual
from popham.trust.operation import open_result
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import open_state

from .conftest import Ordered


class Upstream:
    """What an agent dials: it answers each message with the next directive, and remembers what it heard."""

    def __init__(self):
        self.directives, self.messages = [], []

    async def exchange(self, data):
        self.messages.append(parse_agent(data))
        directive = self.directives.pop(0) if self.directives else Directive(generation=3)
        answer = ServerToAgent(custom_message=custom(directive))
        answer.custom_capabilities.capabilities.append("io.popham.session/1")
        return answer.SerializeToString()

    @property
    def reports(self):
        found = [parse_custom(one.custom_message) for one in self.messages if one.HasField("custom_message")]
        return [one for one in found if one is not None]


class Machine:
    """The real end and driver of one agent over an upstream in memory."""

    def __init__(self, keys):
        self.orders = Orders(keys)
        self.ordered = Ordered(keys)
        self.upstream = Upstream()
        self.news = asyncio.Event()
        tuf = TrustedTuf.from_bytes(keys.root, keys.targets)
        state, clock = self.orders.state, self.ordered.clock
        self.ordered.enforcer = self.orders.enforcer
        self.ordered.disk.files = state.storage.files
        self.ordered.tell = self.news.set
        self.ordered.boot()
        self.operations = self.ordered.operations
        self.end = AgentEnd(
            state,
            self.orders.enforcer,
            Credentials(state, clock, lambda: 0.5, lambda: None),
            facts={},
            fetch=self.orders.fetch,
            version="0.6.0",
            news=self.news,
            operations=self.operations,
        )
        ways = SimpleNamespace(
            dial=lambda: self.upstream, better=lambda: None, succeeded=lambda: None, until_better=0.0
        )
        self.driver = Driver(self.end, ways, draw=lambda: 0.5)
        self.world = AgentWorld(state, tuf, self.driver, self.end)

    def order(self, *orders):
        sealed = [self.ordered.seal(one) for one in orders]
        self.upstream.directives.append(Directive(generation=3, operations=sealed))

    def results(self, report):
        key = self.orders.state.identity_key()
        return [open_result(one, public_der=key.public.der, uid=UID) for one in report.results]


@pytest.fixture
def tell(keys):
    """Return what tells a story of a machine, in virtual time."""

    def run(story):
        clock = Ordered(keys).clock

        async def told():
            machine = Machine(keys)
            try:
                await story(machine)
            finally:
                await machine.ordered.end()

        run_virtual(told(), clock)

    return run


def test_f_o4_a_quick_operation_and_its_result_fit_into_one_round(tell):
    async def story(machine):
        order = machine.ordered.order(Kind.RUN, {"name": "look"})
        machine.order(order)
        await machine.driver._round()
        assert len(machine.upstream.messages) == 2
        (result,) = machine.results(machine.upstream.reports[-1])
        assert (result.nonce, result.state) == (order.nonce, OperationState.SUCCEEDED)

    tell(story)


def test_f_o4_a_check_in_is_done_by_the_report_that_says_so(tell):
    async def story(machine):
        machine.order(machine.ordered.order(Kind.CHECK_IN))
        await machine.driver._round()
        (result,) = machine.results(machine.upstream.reports[-1])
        assert result.state is OperationState.SUCCEEDED
        assert machine.ordered.done == ["check-in"]

    tell(story)


def test_f_o4_a_longer_one_is_told_to_run_and_its_result_is_news(tell):
    async def story(machine):
        machine.ordered.hold = asyncio.Event()
        machine.order(machine.ordered.order(Kind.RUN, {"name": "look"}))
        await machine.driver._round()
        (result,) = machine.results(machine.upstream.reports[-1])
        assert result.state is OperationState.RUNNING
        assert not machine.news.is_set()
        machine.ordered.hold.set()
        await machine.operations.rest(5)
        assert machine.news.is_set()
        await machine.driver._round()
        assert machine.results(machine.upstream.reports[-1])[0].state is OperationState.SUCCEEDED

    tell(story)


def test_f_o4_results_are_repeated_with_each_round_until_they_are_heard_and_that_is_no_news(tell):
    async def story(machine):
        order = machine.ordered.order(Kind.COLLECT)
        machine.order(order)
        await machine.driver._round()
        await machine.driver._round()
        assert len(machine.results(machine.upstream.reports[-1])) == 1
        machine.upstream.directives.append(Directive(generation=3, heard=[f"{order.nonce}:2"]))
        await machine.driver._round()
        said = len(machine.upstream.messages)
        await machine.driver._round()
        assert len(machine.upstream.messages) == said + 1
        assert not machine.upstream.messages[-1].HasField("custom_message")
        assert machine.end.report(force=False) is None

    tell(story)


def test_f_o4_a_document_that_is_not_believed_is_reported_and_what_came_beside_it_is_obeyed(tell):
    async def story(machine):
        machine.upstream.directives.append(
            Directive(generation=3, operations=[b"{}"], retry_window_seconds=7)
        )
        await machine.driver._round()
        assert machine.end.retry_window == 7
        assert machine.end.record().error_code == "trust.envelope"

    tell(story)


def test_f_o4_a_visit_brings_what_came_of_what_it_ordered(tell):
    async def story(machine):
        directive = Directive(
            generation=3, operations=[machine.ordered.seal(machine.ordered.order(Kind.DIAGNOSE))]
        )
        await machine.driver.visited(b"")
        message = ServerToAgent(custom_message=custom(directive))
        report = parse_agent(await machine.driver.visited(message.SerializeToString()))
        (result,) = machine.results(parse_custom(report.custom_message))
        assert await machine.world.output(result.output.sha256) == b"a bundle"
        assert await machine.world.output("0" * 64) is None

    tell(story)


def test_f_o4_the_state_record_says_the_generation_and_that_collection_is_paused(tell):
    async def story(machine):
        machine.order(machine.ordered.order(Kind.PAUSE_COLLECTION))
        await machine.driver._round()
        key = machine.orders.state.identity_key()
        record = open_state(machine.upstream.reports[-1].state, public_der=key.public.der, uid=UID)
        assert (record.generation, record.paused_at) == (GENERATION, machine.ordered.clock.now())
        found = describe_state(machine.orders.state)
        assert found["collection_paused"] == record.paused_at
        assert [(one["operation"], one["state"]) for one in found["operations"]] == [("op1", "succeeded")]

    tell(story)
