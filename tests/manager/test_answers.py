"""Where an agent's values come from, and why it is where it is."""

from types import SimpleNamespace

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER
from tests.manager.test_agents import join

from popham.errors import NotFoundError
from popham.manager.answers import explain_why
from popham.manager.views import AgentView

TREE = """\
apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec: {type: files, files: [{path: /etc/popham.d/motd, content: a}]}
---
apiVersion: popham/v1
kind: Policy
metadata: {name: motd-office}
spec: {type: files, files: [{path: /etc/popham.d/motd, content: b}]}
---
apiVersion: popham/v1
kind: Group
metadata: {name: fleet}
spec:
  policies: {files: motd}
  communication: {heartbeat: 10m}
  locations:
    - {name: home, default: true}
    - {name: office, weight: 5, when: {interface: ethernet}}
---
apiVersion: popham/v1
kind: Group
metadata: {name: paris}
spec:
  inheritance: {communication: false, policies: {files: false}}
  communication: {preset: Pull by heartbeat, heartbeat: 1h}
  locations:
    - {name: office, policies: {files: motd-office}}
"""


@pytest.fixture
async def paris(bench):
    await bench.apply(TREE)
    await join(bench)
    await bench.service.accept(ADMIN, "web")
    await bench.service.move(ADMIN, "web", "paris")
    return bench


def items(explanation):
    return {item.setting: item for item in explanation.items}


async def test_f_g6_every_value_names_the_group_it_comes_from_and_what_it_hides(paris):
    found = await paris.service.explain(VIEWER, "web")
    assert (found.group, found.location) == ("paris", "home")
    by = items(found)
    assert (by["heartbeat"].value, by["heartbeat"].group, by["heartbeat"].inherited) == ("1h", "paris", False)
    assert by["heartbeat"].overrides == "10m of fleet"
    assert (by["files"].value, by["files"].group) == ("motd", "paris")
    assert (by["locations"].value, by["locations"].group) == ("home, office; default home", "fleet")
    assert by["spread"].overrides == ""


async def test_f_g6_a_location_says_what_it_has_of_its_own(paris):
    by = items(await paris.service.explain(VIEWER, "web", location="office"))
    assert (by["files"].value, by["files"].location) == ("motd-office", "office")
    assert by["files"].overrides == "motd of paris"
    assert by["heartbeat"].location == ""


async def test_one_setting_shows_what_each_group_says(paris):
    found = await paris.service.explain(VIEWER, "web", setting="heartbeat")
    assert [item.setting for item in found.items] == ["heartbeat"]
    assert [(step.group, step.holds) for step in found.steps] == [("paris", True), ("fleet", False)]
    assert [step.value for step in found.steps] == [
        "Pull by heartbeat, heartbeat 1h, spread 5m",
        "Push, heartbeat 10m, spread 5m",
    ]
    whole = await paris.service.explain(VIEWER, "web", setting="communication")
    assert [item.setting for item in whole.items] == ["preset"]


async def test_f_g6_what_a_location_says_of_a_setting_stands_before_its_group(paris):
    found = await paris.service.explain(VIEWER, "web", setting="files", location="office")
    assert [(step.group, step.value, step.holds) for step in found.steps] == [
        ("paris/office", "motd-office", True),
        ("paris", "motd", False),
        ("fleet", "motd", False),
    ]
    found = await paris.service.explain(VIEWER, "web", setting="heartbeat", location="office")
    assert [(step.group, step.holds) for step in found.steps] == [("paris", True), ("fleet", False)]
    found = await paris.service.explain(VIEWER, "web", setting="locations", location="office")
    assert [(step.group, step.holds) for step in found.steps] == [("paris", False), ("fleet", True)]


@pytest.mark.parametrize(
    ("asked", "code"),
    [({"setting": "hartbeat"}, "not_found.setting"), ({"location": "ofice"}, "not_found.location")],
)
async def test_what_there_is_not_names_the_nearest(paris, asked, code):
    with pytest.raises(NotFoundError) as caught:
        await paris.service.explain(VIEWER, "web", **asked)
    assert caught.value.code == code
    assert "Did you mean" in caught.value.hint


def view(**said):
    known = {
        "uid": "u", "name": "web", "group": "paris", "kind": "own", "admission": "accepted",
        "presence": "on time", "connected": False, "sync": "in sync", "reason": "", "mode": "pull",
        "dialer": "agent", "heartbeat": 86400.0, "wanted": 2, "applied": 2, "last_contact": NOW - 3600,
        "age": 3600.0, "next_contact": NOW + 82800, "since": None, "first_seen": 0.0, "address": "",
        "version": "",
    }  # fmt: skip
    return AgentView(**(known | said))


@pytest.mark.parametrize(
    ("said", "sentence", "step"),
    [
        ({"admission": "new"}, "waits to be accepted", "popham accept agent web"),
        ({"admission": "revoked"}, "revoked", "popham accept agent web"),
        ({"presence": "never seen"}, "never been in touch", "popham agent status"),
        ({"presence": "missing", "age": 259200.0}, "not seen for 3d, though it promised to come every 1d", "status"),
        (
            {
                "sync": "pending",
                "reason": "waits for its heartbeat in 23h",
                "detail": {"content_digest": "old", "wanted_digest": "d"},
            },
            "waits for its heartbeat in 23h",
            "popham agent check-in",
        ),
        (
            {
                "sync": "pending",
                "reason": "download is off for group paris",
                "detail": {"download": False, "content_digest": "d", "wanted_digest": "d"},
            },
            "download is off",
            "download: on",
        ),
        (
            {"sync": "pending", "reason": "waits", "detail": {"download": False, "wanted_digest": "d"}},
            "waits",
            "popham agent check-in",
        ),
        (
            {"sync": "failed", "reason": "motd is not here", "detail": {"error_code": "policy.not_here"}},
            "motd is not here",
            "'communication: {download: on}' in group paris",
        ),
        (
            {"sync": "pending", "reason": "holds 9", "detail": {"serial": 9, "wanted_digest": "d"}},
            "holds 9",
            "it will show what it holds",
        ),
        (
            {"sync": "pending", "kind": "stock", "reason": "waits", "detail": {"remote": {}}},
            "waits",
            "popham agent check-in",
        ),
        (
            {"sync": "pending", "kind": "stock", "reason": "a", "detail": {"remote": {"status": "APPLYING"}}},
            "a",
            "popham check-in web",
        ),
        ({"sync": "pending", "connected": True, "reason": "told"}, "told", "describe"),
        ({"sync": "failed", "reason": "refused: check-motd failed"}, "check-motd failed", "Correct the policy"),
        (
            {"sync": "failed", "detail": {"error_code": "trust.signature", "error": "the signature is wrong"}},
            "the signature is wrong",
            "clocks",
        ),
        (
            {"sync": "pending", "connected": True, "detail": {"error_code": "trust.crit", "error": "needs download"}},
            "refused what came: needs download",
            "Upgrade the agent",
        ),
        (
            {
                "sync": "pending",
                "visit": SimpleNamespace(code="visit.refused", failures=1),
                "detail": {"error_code": "trust.crit", "error": "needs visits"},
            },
            "refused what came: needs visits",
            "Upgrade the agent",
        ),
        ({"sync": "cannot take it", "reason": "it takes no configuration"}, "takes no configuration", "accept"),
        ({"detail": {"unsupported": ["otelcol"]}}, "except policies of type otelcol", "Upgrade"),
        (
            {"sync": "drifted", "detail": {"drifted": ["/etc/motd"]}},
            "/etc/motd is not as its policy says, and is being put back",
            "Find what changes it there",
        ),
        (
            {
                "sync": "drifted",
                "detail": {"drifted": ["/etc/motd"], "drift_error": "/etc/motd is a directory (policy.kind)"},
            },
            "/etc/motd is not as its policy says; it cannot be put back: /etc/motd is a directory (policy.kind)",
            "remove what stands in the way",
        ),
        ({}, "has serial 2", ""),
        ({"mode": "push"}, "has serial 2, but holds no link, though its mode is push", "popham agent status"),
        ({"mode": "push", "connected": True}, "has serial 2", ""),
    ],
)  # fmt: skip
def test_f_y19_one_sentence_and_the_next_step(said, sentence, step):
    found = explain_why(view(**said))
    assert sentence in found.sentence
    assert step in found.step


def test_f_y19_it_says_where_the_agent_is_and_why():
    found = explain_why(view(location="office", rules=("interface ethernet",)))
    assert found.here == "in location office because interface ethernet"
    assert (found.presence, found.link, found.sync) == ("on time", "none", "in sync")


ROLLOUT = {
    "rollout": "r3", "rollout_state": "halted", "rollout_reason": "", "rollout_since": NOW - 60,
    "rollout_by": "ada", "wave": 1, "waves": 4, "share": 0.01, "is_candidate": False, "is_named": False, "rollout_serial": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "how"),
    [
        ({}, "which is halted, by ada at 2027-01-15T07:59:00Z"),
        ({"rollout_reason": "smoke"}, "which is halted, by ada at 2027-01-15T07:59:00Z: smoke"),
        ({"rollout_state": "paused"}, "which is paused, by ada at 2027-01-15T07:59:00Z"),
        ({"rollout_since": 0.0, "rollout_reason": "halted by ada"}, "which is halted: halted by ada"),
        ({"rollout_state": "running"}, "wave 1 of 4 (1 %)"),
    ],
)
def test_f_y19_it_says_by_whom_and_since_when_a_rollout_holds_an_agent_back(said, how):
    found = explain_why(view(detail=ROLLOUT | said))
    assert found.sentence == f"has serial 2; serial 3 is held back by rollout r3, {how}"


@pytest.mark.parametrize(
    ("said", "since"),
    [
        ({"since": NOW - 9}, NOW - 9),
        ({"since": NOW - 9, "sync": "failed"}, NOW - 9),
        ({"since": NOW - 9, "sync": "drifted", "detail": {"drift_at": NOW - 5}}, NOW - 5),
        ({"since": NOW - 9, "sync": "pending", "detail": {"content_digest": "a", "wanted_digest": "b"}}, None),
        ({"since": NOW - 9, "sync": "pending", "detail": {"content_digest": "b", "wanted_digest": "b"}}, NOW - 9),
    ],
)  # fmt: skip
def test_f_y19_it_says_since_when(said, since):
    assert explain_why(view(**said)).since == since


async def test_why_is_asked_of_the_service(paris):
    found = await paris.service.why(VIEWER, "web")
    assert found.sync == "pending"
    assert found.step
