"""A proxy visits a machine below it, which opens nothing: from its birth to what it is ordered, in virtual time."""

import pytest

from popham.manager.operations.stored import Asked
from popham.model.names import digest
from popham.model.status import Outcome
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream
from popham.testing.simulation import ADMIN, make_keys
from popham.testing.virtual import VirtualClock, pass_time
from popham.trust.operation import open_result

from .places import run_dock

MINUTE, INTERVAL = 60.0, 600.0
HELD = "preset: Push over the Manager's connection, heartbeat: 1m"


@pytest.fixture(scope="session")
def keys():
    return make_keys(VirtualClock())


@pytest.fixture
def tell(keys):
    def run(story, **terms):
        run_dock(keys, story, **terms)

    return run


def kinds(dock):
    return [kind for kind, _ in dock.above.asked]


async def give_birth(dock, agent):
    dock.group("lab")
    dock.allow("lab")
    dock.place("walled")
    await pass_time(MINUTE)
    assert agent.state.certificate() is not None
    return dock.book.record(agent.state.uid)


def test_f_l12_f_t2_a_machine_that_waits_is_born_behind_a_proxy_bound_and_gets_its_policy(tell):
    async def story(dock, agent):
        await pass_time(INTERVAL)
        assert agent.state.certificate() is None
        record = await give_birth(dock, agent)
        assert agent.applied == ("motd@1",)
        assert record.state.outcome is Outcome.APPLIED
        assert kinds(dock) == ["enroll", "found"]
        found = dock.above.asked[1][1]
        assert wire.FoundCall.FromString(found.body).name == "walled"
        assert found.key == record.key
        assert dock.visits.targets.definition_of(agent.state.uid) == "walled"
        assert dock.manager.book.record(agent.state.uid).dialer == "manager"
        assert dock.visits.view() | {"until": 0} == {
            "places": 1,
            "visited": 1,
            "held": 0,
            "until": 0,
            "problem": "",
            "failing": {},
        }

    tell(story)


def test_f_t2_nobody_is_visited_without_a_statement_or_once_it_is_over(tell):
    async def story(dock, agent):
        dock.group("lab")
        dock.place("walled")
        await pass_time(2 * INTERVAL)
        assert not dock.above.asked
        assert not dock.simulation.dials
        dock.allow("lab", seconds=2 * INTERVAL)
        await pass_time(MINUTE)
        record = dock.book.record(agent.state.uid)
        assert agent.applied == ("motd@1",)
        await pass_time(2 * INTERVAL)
        last = record.last_contact
        await pass_time(3 * INTERVAL)
        assert record.last_contact == last
        assert not dock.visits.hasten(agent.state.uid)
        assert dock.visits.view()["visited"] == 0
        dock.allow("lab")
        await pass_time(MINUTE)
        assert record.last_contact > last

    tell(story)


def test_f_t2_what_a_group_is_to_have_anew_is_brought_with_the_next_visit_and_at_once_if_asked(tell):
    async def story(dock, agent):
        await give_birth(dock, agent)
        await dock.manager.publish(_policy("one"))
        await pass_time(1)
        dock.group("lab")
        await pass_time(INTERVAL + MINUTE)
        assert agent.applied == ("motd@2",)
        await dock.manager.publish(_policy("two"))
        await pass_time(1)
        dock.group("lab")
        assert dock.visits.hasten(agent.state.uid)
        await pass_time(10)
        assert agent.applied == ("motd@3",)

    tell(story)


def test_f_t2_push_over_the_proxys_connection_until_the_statement_is_over(tell):
    async def story(dock, agent):
        dock.group("lab")
        dock.allow("lab", seconds=INTERVAL)
        dock.place("walled")
        await pass_time(2 * MINUTE)
        record = dock.book.record(agent.state.uid)
        assert record.link is not None
        assert dock.visits.view()["held"] == 1
        await dock.manager.publish(_policy("one"))
        await pass_time(1)
        dock.group("lab")
        await pass_time(5)
        assert agent.applied == ("motd@2",)
        await pass_time(2 * INTERVAL)
        assert record.link is None
        assert dock.visits.view()["held"] == 0
        dock.allow("lab")
        await pass_time(MINUTE)
        assert record.link is not None

    tell(story, communication=HELD)


def test_f_o4_f_t2_an_operation_reaches_an_agent_below_a_proxy_and_its_output_comes_back(tell):
    async def story(dock, agent):
        record = await give_birth(dock, agent)
        uid, service = agent.state.uid, dock.manager.service
        await service.order(ADMIN, "diagnose", Asked(agents=("walled",)))
        await pass_time(1)
        dock.agent(uid)
        dock.visits.hasten(uid)
        await pass_time(INTERVAL + MINUTE)
        envelopes, offered = dock.ordering.say(record)
        (result,) = (open_result(one, public_der=record.public_key, uid=uid) for one in envelopes)
        assert [result.nonce] == offered[-1:]
        told = dock.above.told(uid)
        told.want_outputs.append(result.output.sha256)
        dock.book.tell(told)
        dock.visits.reported(record)
        dock.visits.hasten(uid)
        await pass_time(MINUTE)
        (output,) = [
            wire.OutputCall.FromString(call.body) for kind, call in dock.above.asked if kind == "output"
        ]
        assert (output.body, output.sha256) == (b"diagnosis of walled", digest(b"diagnosis of walled"))

    tell(story)


def test_f_l12_f_t2_a_key_is_changed_and_its_certificate_given_through_the_proxy(tell):
    async def story(dock, agent):
        record = await give_birth(dock, agent)
        uid, before = agent.state.uid, agent.state.identity_key().keyid
        await dock.manager.service.order(ADMIN, "rotate-key", Asked(agents=("walled",)))
        await pass_time(1)
        dock.agent(uid)
        dock.visits.hasten(uid)
        await pass_time(2 * INTERVAL)
        assert agent.state.identity_key().keyid != before
        assert kinds(dock) == ["enroll", "found", "renew"]
        assert record.public_key == agent.state.identity_key().public.der
        last = record.last_contact
        dock.visits.hasten(uid)
        await pass_time(MINUTE)
        assert record.last_contact > last

    tell(story)


def test_f_t2_streams_of_an_agent_below_a_proxy_are_read_by_its_visits(tell):
    async def story(dock, agent):
        await give_birth(dock, agent)
        await agent.spools.append(Stream.EVENTS, b"it happened", 1)
        await pass_time(2 * INTERVAL)
        frames = dock.intake.frames[agent.state.uid, Stream.EVENTS]
        assert frames

    tell(story, streams=True)


def test_f_t2_an_agent_of_a_group_that_the_statement_does_not_name_refuses(tell):
    async def story(dock, agent):
        record = await give_birth(dock, agent)
        uid, last = agent.state.uid, record.last_contact
        dock.visits.permit._visitor = None
        await pass_time(2)
        dock.allow("other")
        assert dock.visits.hasten(uid)
        await pass_time(INTERVAL)
        assert record.last_contact == last
        assert set(dock.unreached) == {"visit.stranger"}
        assert dock.visits.unvisited(uid).startswith("visit.stranger ")
        assert list(dock.visits.view()["failing"]) == ["walled"]
        await pass_time(1)
        dock.allow("other", agents=(uid,))
        await pass_time(MINUTE)
        assert record.last_contact > last
        assert dock.visits.unvisited(uid) == ""
        assert dock.unreached[-1] == ""

    tell(story)


def test_f_t2_an_agent_of_which_nothing_was_told_is_believed_by_its_certificate_once_the_manager_does(tell):
    async def story(dock, agent):
        await give_birth(dock, agent)
        uid = agent.state.uid
        for known in ("", uid):
            dock.place("walled", gone=True)
            dock.book.forget(dock.book.record(uid).key)
            await pass_time(MINUTE)
            dock.above.asked.clear()
            dock.place("walled", uid=known)
            await pass_time(INTERVAL)
            assert dock.book.record(uid).state.outcome is Outcome.APPLIED
            assert kinds(dock) == (["meet"] if known else ["meet", "found"])

    tell(story)


def test_f_t2_while_nothing_above_answers_a_machine_waits_and_is_born_once_it_does(tell):
    async def story(dock, agent):
        dock.above.silent = True
        dock.group("lab")
        dock.allow("lab")
        dock.place("walled")
        await pass_time(INTERVAL)
        assert agent.state.certificate() is None
        dock.above.silent = False
        dock.above.hear()
        await pass_time(1)
        dock.above.silent = True
        await pass_time(2 * INTERVAL)
        assert agent.applied == ("motd@1",)
        assert kinds(dock) == ["enroll"]
        dock.above.silent = False
        dock.above.hear()
        await pass_time(MINUTE)
        assert kinds(dock) == ["enroll", "found"]

    tell(story)


def test_f_t2_after_a_new_start_a_proxy_visits_on_by_what_it_kept_while_nothing_above_answers(tell):
    async def story(dock, agent):
        record = await give_birth(dock, agent)
        await dock.cache.settle()
        await dock.stop()
        last = record.last_contact
        await dock.start()
        dock.above.silent = True
        await pass_time(2 * INTERVAL)
        again = dock.book.record(agent.state.uid)
        assert again is not record
        assert again.last_contact > last
        assert again.state.outcome is Outcome.APPLIED
        assert not dock.above.asked

    tell(story)


def _policy(text):
    head = "apiVersion: popham/v1\nkind: Policy\nmetadata: {name: motd}\n"
    return head + f'spec: {{type: files, files: [{{path: /etc/motd, content: "{text}"}}]}}\n'
