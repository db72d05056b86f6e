"""What people are told of visits: how an agent is reached, what is missing, and what to do about it."""

from dataclasses import replace

import pytest

from popham.errors import VisitError
from popham.manager.answers import explain_why
from popham.manager.visit_views import VisitView, view_visit
from popham.manager.visit_why import explain_unvisited, state_of_definition
from popham.model.cell import Mode
from popham.model.status import UNVISITED, SyncState, content_state, sync_state
from popham.net.visiting import Place
from popham.upstream.sighting import Sight
from popham.upstream.targets import Target

from .conftest import ADMIN, NOW
from .test_answers import view
from .visiting import Fleet, definition, state

VISIT = VisitView(
    url="https://192.0.2.9:23440",
    http_proxy="",
    definition="",
    mode="pull",
    interval=600.0,
    last=NOW - 700,
    next=NOW + 240,
)
REFUSED = replace(
    VISIT,
    since=NOW - 7200,
    failures=12,
    code="visit.refused",
    problem="nothing listens on port 23440",
    hint="Start it: popham agent service start",
)


@pytest.mark.parametrize(
    ("fallback", "service", "visit", "sentence", "step"),
    [
        ("visit.off", "", None, "its service is off", "popham agent service start"),
        ("visit.off", "", VISIT, "its service is off", "popham agent service enable"),
        ("visit.awaited", "unix", None, "behind a web server", "'kind: Agent'"),
        ("visit.awaited", "http://127.0.0.1:8080", None, "listens on 127.0.0.1:8080 only", "'kind: Agent'"),
        ("visit.awaited", "https://*:23440", None, "visits nobody", "[visits]"),
        ("visit.awaited", "https://*:23440", VISIT, "for the first time in 4m", "popham check-in"),
        ("visit.awaited", "https://*:23440", replace(VISIT, next=None), "under way", "Wait"),
        (
            "visit.awaited",
            "https://*:23440",
            REFUSED,
            "visits fail for 2h, 12 times: nothing listens on port 23440 (visit.refused)",
            "popham agent service start",
        ),
        ("visit.missed", "https://*:23440", REFUSED, "visits fail", "popham agent service start"),
    ],
)
def test_f_l3_it_is_said_what_is_missing_for_visits_and_which_command_helps(
    fallback, service, visit, sentence, step
):
    found = explain_unvisited(fallback, service, "192.0.2.9", visit, NOW)
    assert found.sentence.startswith("its group wants the Manager to dial, ")
    assert sentence in found.sentence
    assert step in found.step


def test_f_c3_who_is_to_dial_and_cannot_yet_is_said_to_be_visited_as_before():
    found = explain_unvisited("visit.kept", "https://*:23440", "192.0.2.9", VISIT, NOW)
    assert "its dial has not worked yet, so it is visited as before" in found.sentence
    assert "popham agent status" in found.step


@pytest.mark.parametrize("fallback", ["", "link.full", "server.stray"])
def test_other_fallbacks_are_none_of_visits(fallback):
    assert explain_unvisited(fallback, "", "", None, NOW) is None


@pytest.mark.parametrize("code", sorted(UNVISITED))
def test_f_l3_who_has_the_content_and_is_not_visited_yet_is_pending(code):
    known = state(
        "u",
        content_digest="aa",
        applied_digest="aa",
        resolved="bb",
        applied_resolved="bb",
        outcome="applied",
        fallback=code,
    )
    assert (content_state("aa", known), sync_state("aa", known)) == (SyncState.IN_SYNC, SyncState.PENDING)
    missed = replace(known, fallback="visit.missed")
    assert sync_state("aa", missed) is SyncState.IN_SYNC, "it was visited before, and dials meanwhile"
    assert sync_state("cc", known) is SyncState.PENDING


@pytest.fixture
async def fleet(bench):
    found = Fleet(bench)
    await found.book.load()
    await found.group()
    return found


async def known(fleet, **said):
    digest = fleet.book.wanted("walled").content_digest
    held = {"content_digest": digest, "applied_digest": digest, "resolved": "b", "applied_resolved": "b"}
    return await fleet.agent(**held | {"outcome": "applied", "serial": 1, "applied_serial": 1} | said)


async def test_f_l3_why_says_that_the_service_is_off_and_how_to_start_it(fleet, bench):
    uid = await known(fleet, fallback="visit.off", service="")
    found = await bench.service.agent(ADMIN, uid)
    assert (found.sync, found.reason) == (
        "pending",
        "its group wants the Manager to dial, and its service is off",
    )
    assert (found.visit, found.service) == (None, "")
    why = await bench.service.why(ADMIN, uid)
    assert why.sentence == found.reason
    assert "popham agent service enable" in why.step


async def test_an_agent_is_shown_with_how_it_is_visited(fleet, bench):
    uid = await known(fleet, dialer="manager", promise=600.0)
    bench.links.visits[uid] = VISIT
    found = await bench.service.agent(ADMIN, uid)
    assert (found.sync, found.visit, found.service) == ("in sync", VISIT, "https://*:23440")
    assert (found.age, found.age_bound) == (0.0, 900.0)
    (listed,) = (await bench.service.agents(ADMIN)).items
    assert listed.visit == VISIT
    bench.clock.at = NOW + 1000
    found = await bench.service.agent(ADMIN, uid)
    assert (found.presence, found.age_bound) == ("overdue", None)


async def test_who_waits_for_a_visit_is_said_to(fleet, bench):
    uid = await known(fleet, dialer="manager", content_digest="old", promise=600.0)
    bench.links.visits[uid] = VISIT
    why = await bench.service.why(ADMIN, uid)
    assert why.sentence == "waits for its visit in 4m"
    assert why.step == "popham check-in web1: it is visited now"


def failing(code, **said):
    visit = replace(VISIT, code=code, problem="the problem", hint="the next step", since=NOW - 60, failures=2)
    return explain_why(view(**{"visit": visit, "dialer": "manager"} | said))


CODES = "refused unreachable name tls not_found off cgi redirect not_agent identity signature stranger"
MORE = (
    "too_large slow http_proxy proxy_password password failed busy closed nonce unknown no_upgrade audience"
)


@pytest.mark.parametrize("code", f"{CODES} {MORE}".split())
def test_each_failure_of_a_visit_is_one_sentence_and_one_next_step(code):
    found = failing(f"visit.{code}")
    assert found.sentence == f"visits fail for 1m, 2 times: the problem (visit.{code})"
    assert found.step == "the next step"


def test_who_is_not_heard_of_because_visits_fail_is_told_apart_from_a_machine_that_is_off():
    found = failing("visit.not_found", presence="missing", age=7200.0)
    assert found.sentence.startswith("not seen for 2h: visits fail")
    assert explain_why(view(presence="missing", age=7200.0)).sentence.startswith("not seen for 2h, though")


def test_of_who_dials_by_itself_and_was_not_told_otherwise_no_failure_is_said():
    assert failing("visit.refused", dialer="agent").sentence == "has serial 2"


def test_who_is_visited_in_place_of_a_link_that_cannot_be_held_is_visited():
    through_cgi = replace(VISIT, code="visit.cgi", problem="this is CGI", hint="Use a reverse proxy")
    assert explain_why(view(visit=through_cgi, dialer="manager")).sentence == "has serial 2"
    assert state_of_definition(through_cgi, "accepted") == "visited"
    found = explain_unvisited("visit.awaited", "https://*:1", "192.0.2.9", through_cgi, NOW)
    assert "so it is visited every 10m: this is CGI" in found.sentence


def test_who_dials_by_itself_since_visits_fail_has_what_it_should_have():
    detail = {"unvisited": "its group wants the Manager to dial, and visits fail", "unvisited_step": "Do it"}
    found = failing("visit.refused", detail=detail)
    assert found.sentence == f"has serial 2, and dials by itself: {detail['unvisited']}"
    assert found.step == "Do it"


@pytest.mark.parametrize(
    ("visit", "admission", "said"),
    [
        (None, "", "not visited"),
        (None, "accepted", "dials by itself"),
        (VISIT, "revoked", "revoked"),
        (replace(VISIT, last=None), "", "not visited yet"),
        (VISIT, "", "nobody known yet"),
        (VISIT, "new", "waits to be accepted"),
        (VISIT, "accepted", "visited"),
        (REFUSED, "", "fails"),
        (REFUSED, "accepted", "fails"),
    ],
)
def test_a_definition_is_listed_with_how_visits_there_stand(visit, admission, said):
    assert state_of_definition(visit, admission) == said


async def test_f_l12_unborn_definitions_are_listed_with_their_state(fleet, bench):
    await bench.apply(definition("cellar", "address: 198.51.100.1"))
    (found,) = (await bench.service.agent_definitions(ADMIN)).items
    assert (found.state, found.visit, found.agent) == ("not visited", None, "")
    bench.links.visits["cellar"] = REFUSED
    found = await bench.service.agent_definition(ADMIN, "cellar")
    assert (found.state, found.visit) == ("fails", REFUSED)


def test_what_is_shown_of_a_visit_has_no_password():
    place = Place("https://a/SQC", "web", http_proxy="http://ada:secret@proxy:3128", password="u:secret")
    target = Target(uid="u", name="a", place=place, mode=Mode.PULL, interval=600.0)
    error = VisitError("password", "the web server asks for a password", "Write it as 'password'")
    found = view_visit(target, Sight(NOW - 9, NOW - 99, error, 3, NOW + 9), "a")
    assert "secret" not in repr(found)
    assert (found.http_proxy, found.url) == ("http://proxy:3128", "https://a/SQC")
    assert (found.code, found.problem, found.hint) == ("visit.password", error.problem, error.hint)
    assert (found.since, found.last, found.next, found.failures) == (NOW - 9, NOW - 99, NOW + 9, 3)
    assert view_visit(target, None, "").since is None


def test_f_t2_who_is_at_a_proxy_and_is_not_visited_is_told_what_that_proxy_says():
    waits = explain_unvisited("visit.awaited", "https://*:1", "192.0.2.9", None, NOW, proxy="dock")
    assert waits.sentence == "its group wants the Manager to dial, and dock is to visit it"
    said = "visit.refused nothing listens at 192.0.2.9"
    found = explain_unvisited("visit.missed", "https://*:1", "192.0.2.9", None, NOW, proxy="dock", said=said)
    assert found.sentence.endswith("dock cannot visit it: nothing listens at 192.0.2.9 (visit.refused)")
    assert found.step.endswith("popham proxy doctor")


@pytest.mark.parametrize(
    ("admission", "said"),
    [
        ("", "left to dock"),
        ("accepted", "left to dock"),
        ("new", "waits to be accepted"),
        ("revoked", "revoked"),
    ],
)
def test_f_t2_a_definition_that_names_a_proxy_is_left_to_that(admission, said):
    assert state_of_definition(None, admission, "dock") == said
