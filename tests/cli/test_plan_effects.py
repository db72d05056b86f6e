"""What ``popham plan`` says of who gets what, which agents these are, and what should be looked at twice."""

import json

import pytest
from click.testing import CliRunner
from tests.cli.test_end_to_end import POLICY, serving
from tests.cli.test_plan import RESULT

from popham.cli.invocation import Invocation
from popham.cli.main import cli
from popham.clock import SystemClock
from popham.manager.keys import create_keys

MOTD = {"type": "files", "before": "motd@3", "after": "motd@4"}
GATEWAY = {"type": "otelcol", "before": "", "after": "gateway@1"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "paris.yaml"
    path.write_text("apiVersion: popham/v1\nkind: Group\nmetadata: {name: paris}\nspec: {}\n")
    return str(path)


def place(location="", agents=240, *policies, **more):
    return {
        "location": location,
        "agents": agents,
        "policies": list(policies),
        "communication": False,
        "moves_to": "",
    } | more


def planned(*places, risks=(), **more):
    """Return a plan with one group."""
    effect = {"group": "paris", "before": 3, "after": 4, "agents": 240, "places": list(places)}
    return RESULT | {
        "groups": [effect | {"more": 0, "locations": ""} | more],
        "risks": [{"code": code, "sentence": sentence} for code, sentence in risks],
    }


def said(lines):
    """Return the lines about the group."""
    start = lines.index("paris: serial 3 -> 4, 240 agents") + 1
    return lines[start : lines.index("", start)]


def test_f_y18_a_plan_shows_what_changes_where_and_for_how_many(popham, manager, file):
    places = (
        place("home", 200, MOTD),
        place("office", 1, MOTD | {"after": ""}, GATEWAY),
        place("lab", 39, MOTD | {"before": "kept"}, moves_to="home"),
        place("yard", 0, communication=True),
    )
    manager.on("POST /apply", planned(*places, more=2, locations="home -> home, office; default home"))
    assert said(popham("plan", "-f", file).stdout.splitlines()) == [
        "  locations home -> home, office; default home",
        "  home: files motd@3 -> motd@4 (200 agents)",
        "  office: files motd@3 -> none, otelcol none -> gateway@1 (1 agent)",
        "  lab -> home: files kept -> motd@4 (39 agents)",
        "  and 2 more places with changes",
    ]


def test_f_y18_a_group_of_one_location_needs_no_name_of_it(popham, manager, file):
    manager.on("POST /apply", planned(place("", 240, MOTD)))
    assert said(popham("plan", "-f", file).stdout.splitlines()) == ["  files motd@3 -> motd@4"]


def test_f_y18_risks_stand_before_warnings(popham, manager, file):
    risks = [("exec", "commands run on 2 agents: policy \x1b[2Jmotd"), ("wide", "new content for 240 agents")]
    manager.on("POST /apply", planned(risks=risks))
    found = popham("plan", "-f", file).stdout
    assert "\x1b" not in found
    lines = found.splitlines()
    at = lines.index("Risk: new content for 240 agents")
    assert lines[at - 1].startswith("Risk: commands run on 2 agents")
    assert lines[at + 1] == "Warning: group 'paris': two locations have the same weight"
    assert "Risk: new content for 240 agents\n" in popham("apply", "-f", file, "--dry-run").stderr
    assert json.loads(popham("plan", "-f", file, "-o", "json").stdout)["risks"][1]["code"] == "wide"


def test_f_y18_a_plan_lists_the_agents_it_concerns_page_by_page(popham, manager, file, agent):
    manager.on("POST /apply", planned(place("home", 2, MOTD)))
    first, other = agent(1, location="home"), agent(2, location="office")
    pages = [{"items": [first, other], "cursor": "u2"}, {"items": [agent(3, location="")], "cursor": ""}]
    manager.on("GET /agents", *pages, *pages)
    lines = popham("plan", "-f", file, "--agents").stdout.splitlines()
    at = lines.index("NAME   GROUP  LOCATION  PRESENCE  SYNC")
    assert lines[at + 1 : at + 4] == [
        "web-1  paris  home      on time   in sync",
        "web-3  paris  -         on time   in sync",
        "",
    ]
    assert [path for _, path, _ in manager.requests[1:]] == [
        "/agents?group=paris&cursor=&limit=500",
        "/agents?group=paris&cursor=u2&limit=500",
    ]
    manager.answers["GET /agents"] = []
    manager.on("GET /agents", *pages)
    shown = json.loads(popham("plan", "-f", file, "--agents", "-o", "json").stdout)
    assert [one["name"] for one in shown["agents"]] == ["web-1", "web-3"]
    assert set(shown["agents"][0]) == {"uid", "name", "group", "location", "presence", "sync"}


@pytest.mark.parametrize(
    "more",
    [
        {"places": [place("", 240, MOTD)]},
        {"places": []},
        {"places": [place("home", 1, MOTD)], "more": 1},
        {"places": [place("home", 1, MOTD)], "locations": "home; default home"},
    ],
)
def test_f_y18_all_agents_of_a_group_are_listed_where_it_may_concern_them(popham, manager, file, agent, more):
    manager.on("POST /apply", planned(**more))
    manager.on("GET /agents", {"items": [agent(1, location="office")], "cursor": ""})
    assert "web-1  paris  office" in popham("plan", "-f", file, "--agents").stdout


def test_f_y18_no_agents_are_asked_for_where_there_are_none(popham, manager, file):
    manager.on("POST /apply", planned(place("", 0, MOTD), agents=0))
    assert "It concerns no agent." in popham("plan", "-f", file, "--agents").stdout
    assert len(manager.requests) == 1


def test_a_plan_of_an_older_manager_is_shown_as_well(popham, manager, file, agent):
    manager.on("POST /apply", RESULT)
    manager.on("GET /agents", {"items": [agent(1)], "cursor": ""})
    assert "web-1  paris  -         on time" in popham("plan", "-f", file, "--agents").stdout


def test_f_y18_a_plan_of_a_real_manager_lists_agents_and_risks(tmp_path):
    (tmp_path / "keys").mkdir()
    urls = ("https://127.0.0.1:4320",)
    keys = create_keys(tmp_path / "keys", urls=urls, trust_domain="popham", clock=SystemClock())
    text = POLICY.replace("name: paris", "name: fleet")
    (tmp_path / "fleet.yaml").write_text(text.replace("  inheritance: {policies: {files: false}}\n", ""))
    with serving(keys, tmp_path) as (url, token):
        environ = {
            "POPHAM_URL": url,
            "POPHAM_TOKEN": token,
            "POPHAM_CA": keys.ca.pem.decode(),
            "HOME": str(tmp_path),
        }
        args = ["plan", "-f", str(tmp_path / "fleet.yaml"), "--agents", "-o", "json"]
        found = CliRunner().invoke(cli, args, obj=Invocation(environ=environ))
    assert found.exit_code == 0, found.stderr
    shown = json.loads(found.stdout)
    assert [place["policies"][0]["after"] for place in shown["groups"][0]["places"]] == ["motd@1"]
    assert [one["name"] for one in shown["agents"]] == ["web-1"]
    assert [risk["code"] for risk in shown["risks"]] == ["wide"]
