"""Sending: targets are followed until they have what they are to have, or something keeps them from it."""

import pytest
from tests.manager.conftest import ADMIN, policy
from tests.manager.ordering import STOCK, uid_of

from popham.errors import ConflictError, DefinitionError, VisitError
from popham.manager.operations.stored import Asked
from popham.manager.visit_views import VisitView
from popham.manager.visit_why import START
from popham.model.status import Outcome
from popham.upstream.record import APPLIED, FAILED, RemoteStatus


async def send(fleet, *names, **args):
    asked = Asked(agents=names) if names else Asked(everyone=True)
    return await fleet.service.order(ADMIN, "send", asked, args=args)


async def settled(fleet, number, name="op1"):
    await fleet.register.settle()
    return await fleet.target(name, number)


async def test_f_y9_a_target_is_pending_then_sent_then_applied(fleet):
    fleet.hold(0)
    made = await send(fleet, "a0", "a1")
    assert fleet.asked == [uid_of(0), uid_of(1)]
    assert made.args == {"no_apply": False, "rollout": ""}
    assert [(await settled(fleet, n)).state for n in (0, 1)] == ["sent", "queued"]
    assert (await fleet.target("op1", 1)).way == "heartbeat"
    fleet.clock.at += 30.0
    fleet.say(1, content_digest="older", outcome=Outcome.APPLIED)
    assert (await settled(fleet, 1)).state == "sent"
    fleet.say(1, outcome=Outcome.APPLYING, applied_digest="older", serial=4)
    assert (await settled(fleet, 1)).text == "applying serial 4"
    fleet.say(1, applied_serial=4)
    found = await settled(fleet, 1)
    assert (found.state, found.text) == ("succeeded", "has serial 4")
    fleet.come(0)
    assert (await settled(fleet, 0)).state == "sent"  # it never said what it has
    fleet.say(0)
    assert (await fleet.service.operation(ADMIN, "op1")).counts == {"sent": 1, "succeeded": 1}
    assert (await settled(fleet, 0)).state == "succeeded"
    assert (await fleet.service.operation(ADMIN, "op1")).state == "over"


async def test_f_y9_what_was_said_before_the_send_began_does_not_count(fleet):
    fleet.say(0)
    fleet.clock.at += 10.0
    await send(fleet, "a0")
    record = fleet.record(0)
    record.last_contact -= 10.0
    fleet.register.reported(record)
    assert (await settled(fleet, 0)).state == "queued"
    assert record.orders.followed
    fleet.come(0)
    assert (await settled(fleet, 0)).state == "succeeded"
    assert record.orders is None


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        (
            {"outcome": Outcome.FAILED, "error_code": "policy.syntax", "error": "line 3"},
            "policy.syntax",
            "line 3",
        ),
        (
            {"outcome": Outcome.FAILED, "error_code": "policy.undone_contact", "error": "no server answers"},
            "policy.undone_contact",
            "no server answers",
        ),
        (
            {"content_digest": "older", "error_code": "trust.rollback", "error": "it is older"},
            "trust.rollback",
            "it is older",
        ),
        (
            {"drifted": ("/etc/motd",), "drift_error": "a folder stands there"},
            "operation.drifted",
            "what drifted cannot be put back: a folder stands there",
        ),
    ],
)
async def test_f_y9_a_target_that_cannot_have_it_fails_with_its_own_words(fleet, said, code, text):
    await send(fleet, "a0")
    fleet.say(0, **said)
    found = await settled(fleet, 0)
    assert (found.state, found.code, found.text) == ("failed", code, text)


async def test_f_y9_download_that_is_off_is_said(fleet):
    spec = "{inheritance: {policies: {files: false}, communication: false}, policies: {files: motd}, "
    await fleet.bench.apply(
        "apiVersion: popham/v1\nkind: Group\nmetadata: {name: paris}\nspec: "
        + spec
        + "communication: {preset: Push, download: off}}\n"
    )
    await fleet.refresh()
    await send(fleet, "a0")
    fleet.say(0, applied_digest="older")
    found = await settled(fleet, 0)
    assert (found.code, found.text) == ("operation.download", "download is off for group paris")
    assert "download: on" in found.hint


async def test_f_y9_an_agent_whose_service_is_off_fails_at_once_with_port_and_command(fleet):
    problem = "nothing listens on port 23440 of a0.example"
    fleet.links.visits[uid_of(0)] = VisitView(
        url="https://a0.example:23440",
        http_proxy="",
        definition="",
        mode="pull",
        interval=600.0,
        failures=1,
        code="visit.refused",
        problem=problem,
        hint="x",
    )
    fleet.say(0, dialer="manager")
    planned = await fleet.service.plan_order(ADMIN, "send", Asked(agents=("a0",)))
    assert (planned.targets[0].refusal.code, planned.targets[0].refusal.hint) == ("visit.refused", START)
    await send(fleet, "a0", "a1")
    # It may be on by now: the visit that a send asks for decides.
    assert uid_of(0) in fleet.asked
    fleet.register.unreached(uid_of(0), VisitError("refused", problem, "x"))
    await fleet.register.settle()
    found = await fleet.target("op1", 0)
    assert (found.state, found.code, found.text, found.hint) == ("failed", "visit.refused", problem, START)
    assert (await fleet.target("op1", 1)).state == "queued"
    assert "popham agent service start" in START


async def test_f_y9_a_visit_that_is_refused_later_fails_it_too_unless_the_agent_comes_by_itself(fleet):
    fleet.say(0, dialer="manager", content_digest="older")
    fleet.say(1, dialer="agent", content_digest="older")
    await send(fleet, "a0", "a1")
    refused = VisitError("refused", "nothing listens on port 23440", "x")
    for number in (0, 1):
        fleet.register.unreached(uid_of(number), VisitError("unreachable", "no route", "x"))
        fleet.register.unreached(uid_of(number), refused)
    failed, waits = await settled(fleet, 0), await settled(fleet, 1)
    assert (failed.state, failed.code, failed.sent) == ("failed", "visit.refused", 0.0)
    assert waits.state == "queued"
    fleet.say(1)
    assert (await settled(fleet, 1)).state == "succeeded"


async def test_f_o4_an_order_waits_for_a_service_that_is_off_and_says_so(fleet):
    fleet.say(0, dialer="manager")
    await fleet.order("collect", "a0", "a1")
    for _ in range(2):
        fleet.register.unreached(uid_of(0), VisitError("refused", "nothing listens on port 23440", "x"))
    found = await settled(fleet, 0)
    assert (found.state, found.text) == ("queued", "nothing listens on port 23440")
    fleet.hear(0)
    assert (await settled(fleet, 0)).text == ""
    fleet.say(1, dialer="manager")
    fleet.register.unreached(uid_of(1), VisitError("refused", "nothing listens on port 23440", "x"))
    await fleet.pass_time(601.0)
    found = await settled(fleet, 1)
    assert found.text == "nothing listens on port 23440; its agent was not in contact in time"


async def test_f_y9_an_agent_that_is_not_heard_of_expires(fleet):
    await send(fleet, "a0", "a1")
    fleet.say(1, content_digest="older")
    await fleet.pass_time(601.0)
    assert (await fleet.target("op1", 0)).text == "its agent was not in contact in time"
    assert (await fleet.target("op1", 1)).text == "it did not come to its end in time"
    assert await fleet.states("op1") == {"expired": 2}


async def test_f_y10_two_sends_at_once_are_merged_and_both_tell_what_happened(fleet):
    await send(fleet, "a0", "a1")
    second = await send(fleet, "a0")
    assert second.counts == {"queued": 1}
    assert fleet.asked == [uid_of(0), uid_of(1)]
    assert (await fleet.target("op2", 0)).text == "merged with op1"
    fleet.say(0, applied_serial=7)
    first, merged = await settled(fleet, 0), await fleet.target("op2", 0)
    assert (first.state, first.text) == ("succeeded", "has serial 7")
    assert (merged.state, merged.text) == ("succeeded", "merged with op1; has serial 7")


async def test_f_y10_a_send_after_the_round_of_another_asks_for_one_of_its_own(fleet):
    await send(fleet, "a0")
    fleet.say(0, outcome=Outcome.APPLYING, applied_digest="older")
    await fleet.bench.apply(policy(content="two"))
    await fleet.refresh()
    await send(fleet, "a0")
    assert fleet.asked == [uid_of(0), uid_of(0)]
    assert (await fleet.target("op2", 0)).text == ""
    fleet.say(0)
    assert [(await settled(fleet, 0, name)).state for name in ("op1", "op2")] == ["succeeded", "succeeded"]


async def test_f_y10_cancelling_one_of_two_leaves_the_other(fleet):
    await send(fleet, "a0")
    await send(fleet, "a0")
    await fleet.service.cancel_operation(ADMIN, "op1")
    fleet.say(0)
    assert (await settled(fleet, 0, "op2")).state == "succeeded"
    assert await fleet.states("op1") == {"cancelled": 1}


async def test_f_y9_a_send_right_after_a_publication_waits_for_what_was_published(fleet):
    await fleet.bench.apply(policy(content="two"))
    former = fleet.book.wanted("paris").content_digest
    await send(fleet, "a0")
    assert fleet.book.wanted("paris").content_digest != former
    fleet.say(0, content_digest=former, applied_digest=former)
    assert (await settled(fleet, 0)).state == "sent"


async def test_f_y9_a_send_goes_on_after_a_restart_of_the_manager(fleet):
    await send(fleet, "a0")
    await fleet.start()
    assert fleet.record(0).orders.followed
    fleet.say(0)
    assert (await settled(fleet, 0)).state == "succeeded"


async def test_f_y9_a_stock_agent_is_followed_by_what_it_says_of_its_configuration(fleet):
    await fleet.bench.apply(
        "apiVersion: popham/v1\nkind: Policy\nmetadata: {name: col}\n"
        "spec: {type: otelcol, config: {exporters: {debug: null}}}\n",
        "apiVersion: popham/v1\nkind: Group\nmetadata: {name: paris}\n"
        "spec: {inheritance: {policies: {files: false, otelcol: false}}, policies: {files: motd, otelcol: col}}\n",
    )
    await fleet.refresh()
    await fleet.add_stock()
    record = fleet.book.held[STOCK]
    record.ear.capabilities = 0x2
    wanted = fleet.book.wanted("paris").objects_digest

    async def says(status):
        await send(fleet, "stock")
        record.remote = status
        record.contact(fleet.clock.at, "192.0.2.1")
        fleet.register.reported(record)
        await fleet.register.settle()
        name = (await fleet.service.operations(ADMIN)).items[0].name
        return (await fleet.service.operation_targets(ADMIN, name)).items[0]

    found = await says(RemoteStatus(wanted, FAILED, "no such exporter"))
    assert (found.code, found.text) == ("operation.refused_config", "refused: no such exporter")
    assert (await says(RemoteStatus(wanted, APPLIED))).state == "succeeded"
    assert (await says(RemoteStatus(b"other", APPLIED))).state == "sent"


async def test_f_y9_a_stock_agent_that_takes_no_configuration_fails_at_once(fleet):
    await fleet.add_stock(capabilities=0)
    made = await send(fleet, "stock")
    assert (made.state, made.counts) == ("over", {"failed": 1})
    (found,) = (await fleet.service.operation_targets(ADMIN, "op1")).items
    assert found.code == "operation.takes_nothing"


async def test_a_send_of_a_candidate_needs_one(fleet):
    with pytest.raises(ConflictError) as caught:
        await send(fleet, "a0", no_apply=True)
    assert caught.value.code == "conflict.no_candidate"
    with pytest.raises(DefinitionError):
        await send(fleet, "a0", no_apply="yes")
