"""``popham get``: lists in every form."""

import json

import pytest
from ruamel.yaml import YAML

TITLES = [
    "NAME",
    "GROUP",
    "KIND",
    "ADMISSION",
    "PRESENCE",
    "LINK",
    "SYNC",
    "WANTED",
    "APPLIED",
    "MODE",
    "LAST",
    "CONTACT",
]
WIDE = ["LOCATION", "UID", "DIALER", "HEARTBEAT", "ADDRESS", "SINCE", "REASON", "LABELS", "VERSION", "VIA", "BEHIND",
        *["VISITED", "AT", "LAST", "VISIT", "NEXT", "VISIT", "VISIT", "FAILS"]]  # fmt: skip

GROUP = {
    "name": "paris", "path": "fleet/paris", "parent": "fleet", "inherits": True, "exceptions": {},
    "policies": {}, "communication": None, "preset": "Push", "labels": {"site": "fr"}, "serial": 4,
    "version": 9, "agents": 0, "edition": 1,
    "resolved": {"files": {"value": "motd", "group": "fleet", "inherited": True}},
}  # fmt: skip
POLICY = {
    "name": "motd", "type": "files", "revision": 2, "sha256": "ab" * 32, "private_to": "",
    "groups": ["fleet", "lab"], "author": "ann", "changed": 1_800_000_000.0, "labels": {}, "spec": None,
}  # fmt: skip
TOKEN = {
    "id": "0123456789abcdef", "kind": "enrollment", "group": "fleet", "state": "usable", "uses": 1,
    "uses_left": -1, "expires": 1_800_000_000.0, "accepts": True, "cidr": "", "author": "ann",
    "created": 1_799_990_000.0,
}  # fmt: skip


def serve(manager, *agents):
    manager.on("GET /agents", {"items": list(agents), "cursor": ""})


def test_a_table_has_a_title_per_column_and_a_row_per_agent(popham, manager, agent):
    serve(manager, agent(1), agent(2, connected=False, applied=0, mode="pull", age=None))
    lines = popham("get", "agents").stdout.splitlines()
    assert lines[0].split() == TITLES
    assert lines[1].split() == [
        "web-1", "paris", "own", "accepted", "on", "time", "connected", "in", "sync", "3", "3", "push", "12s", "ago",
    ]  # fmt: skip
    assert lines[2].split() == [
        "web-2", "paris", "own", "accepted", "on", "time", "-", "in", "sync", "3", "-", "pull", "never",
    ]  # fmt: skip


def test_columns_stand_under_their_titles(popham, manager, agent):
    serve(manager, agent(1, name="東京"), agent(2, name="a-much-longer-name"))
    title, wide, plain = popham("get", "agents").stdout.splitlines()
    assert title.index("GROUP") == plain.index("paris") == wide.index("paris") + 2


def test_wide_adds_columns_at_the_end(popham, manager, agent):
    serve(manager, agent(1, reason="it waits"))
    title, row = popham("get", "agents", "-o", "wide").stdout.splitlines()
    assert title.split() == TITLES + WIDE
    for part in ("agent", "5m", "192.0.2.7", "accepted", "2027-01-15T08:00:00Z", "it waits", "0.1.0"):
        assert part in row


def test_json_is_the_list_under_items(popham, manager, agent):
    serve(manager, agent(1))
    assert json.loads(popham("get", "agents", "-o", "json").stdout) == {"items": [agent(1)]}


def test_json_of_one_is_the_object(popham, manager, agent):
    manager.on("GET /agents/web-1", agent(1))
    assert json.loads(popham("get", "agent", "web-1", "-o", "json").stdout) == agent(1)


def test_jsonl_has_an_object_per_line(popham, manager, agent):
    serve(manager, agent(1), agent(2))
    lines = popham("get", "agents", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["web-1", "web-2"]


def test_yaml_means_what_json_means(popham, manager, agent):
    serve(manager, agent(1))
    found = YAML(typ="safe", pure=True).load(popham("get", "agents", "-o", "yaml").stdout)
    assert found == {"items": [agent(1)]}


def test_names_are_what_other_commands_take(popham, manager, agent):
    serve(manager, agent(1), agent(2, name="twin"), agent(3, name="twin"))
    first, *twins = popham("get", "agents", "-o", "name").stdout.splitlines()
    assert first == "web-1"
    assert twins == [agent(2)["uid"], agent(3)["uid"]]


@pytest.mark.parametrize(
    ("noun", "hint"),
    [("agents", "token create"), ("groups", "init"), ("policies", "apply"), ("tokens", "create")],
)
def test_an_empty_list_says_what_to_do_next_and_prints_no_data(popham, manager, noun, hint):
    manager.on(f"GET /{noun}", {"items": [], "cursor": ""})
    found = popham("get", noun)
    assert (found.exit_code, found.stdout) == (0, "")
    assert hint in found.stderr


def test_an_empty_list_is_still_json(popham, manager):
    serve(manager)
    assert json.loads(popham("get", "agents", "-o", "json").stdout) == {"items": []}


def test_agents_that_wait_are_mentioned_with_the_command_that_helps(popham, manager, agent):
    serve(manager, agent(1, admission="new"), agent(2))
    assert popham("get", "agents").stderr == "1 agent waits to be accepted: popham accept agent web-1\n"


def test_a_group_narrows_the_list(popham, manager, agent):
    serve(manager, agent(1))
    popham("get", "agents", "-g", "paris")
    assert manager.requests[0][1] == "/agents?group=paris&cursor=&limit=500"


def test_a_name_and_a_group_exclude_each_other(popham):
    assert popham("get", "agents", "web-1", "-g", "paris").exit_code == 64


def test_all_pages_are_asked_for(popham, manager, agent):
    manager.on("GET /agents", {"items": [agent(1)], "cursor": "next"}, {"items": [agent(2)], "cursor": ""})
    assert popham("get", "agents", "-o", "name").stdout.split() == ["web-1", "web-2"]
    assert "cursor=next" in manager.requests[1][1]


def test_a_name_with_slashes_stays_one_segment(popham, manager):
    popham("get", "agents", "../tokens?x=1")
    assert manager.requests[0][1] == "/agents/..%2Ftokens%3Fx%3D1"


def test_sec_13_a_hostile_name_cannot_forge_a_row(popham, manager, agent):
    serve(manager, agent(1, name="\x1b[2Jweb\nforged", reason="\u202ex"))
    found = popham("get", "agents", "-o", "wide").stdout
    assert len(found.splitlines()) == 2
    assert "\x1b" not in found
    assert "\u202e" not in found


def test_groups_policies_and_tokens_have_their_tables(popham, manager):
    manager.on("GET /groups", {"items": [GROUP]})
    manager.on("GET /policies", {"items": [POLICY]})
    manager.on("GET /tokens", {"items": [TOKEN]})
    assert popham("get", "groups").stdout.splitlines()[1].split() == [
        "paris",
        "fleet",
        "yes",
        "Push",
        "4",
        "0",
    ]
    assert "fleet,lab" in popham("get", "policies").stdout
    assert popham("get", "tokens").stdout.splitlines()[1].split() == [
        "0123456789abcdef", "enrollment", "fleet", "usable", "1", "any", "2027-01-15T08:00:00Z", "yes",
    ]  # fmt: skip


def test_one_token_is_found_by_its_id(popham, manager):
    manager.on("GET /tokens", {"items": [TOKEN]})
    assert json.loads(popham("get", "token", TOKEN["id"], "-o", "json").stdout) == TOKEN
    assert "not_found.token" in popham("get", "token", "0123").stderr


def test_there_is_no_colour_off_a_terminal(popham, manager, agent):
    serve(manager, agent(1, sync="failed"))
    assert "\x1b" not in popham("get", "agents").stdout


def test_colour_repeats_the_word_on_a_terminal_and_no_color_turns_it_off(popham, manager, agent):
    serve(manager, agent(1, sync="failed"))
    assert "\x1b[31mfailed\x1b[0m" in popham("get", "agents", color=True).stdout
    plain = {"POPHAM_URL": "https://m", "POPHAM_TOKEN": "t", "NO_COLOR": "1", "HOME": "/nowhere"}
    assert "\x1b" not in popham("get", "agents", color=True, environ=plain).stdout


def test_describe_agent_shows_detail_and_hides_what_is_empty(popham, manager, agent):
    detail = {
        "policies": {"files": {"name": "motd", "revision": 2, "group": "fleet", "inherited": True}},
        "error": "first\n\x1b[2Jsecond",
        "facts": {"os.type": "linux"},
    }
    manager.on("GET /agents/web-1", agent(1, detail=detail, since=1_800_000_000.0))
    shown = popham("describe", "agent", "web-1").stdout
    assert "heartbeat:    5m" in shown
    assert "since:        2027-01-15T08:00:00Z" in shown
    assert "certificate" not in shown
    assert "  os.type: linux" in shown
    assert "  \\x1b[2Jsecond" in shown


def test_describe_group_says_from_which_group_each_value_comes(popham, manager):
    manager.on("GET /groups/paris", GROUP)
    shown = popham("describe", "group", "paris").stdout
    assert "  files: motd  (inherited from fleet)" in shown


def test_describe_group_lists_its_locations_with_their_criteria_in_words(popham, manager):
    def address(text):
        return {"address": text}

    when = {"all": [{"dns_suffix": "corp.example"}, {"any": [address("10.0.0.0/8"), address("fd00::/8")]},
                    {"not": {"all": [{"interface": "vpn"}, {"host_name": "x"}]}}]}  # fmt: skip
    rules = {"locations": [{"name": "home", "weight": 0}, {"name": "office", "weight": 5, "when": when}],
             "default": "home", "check": 30.0}  # fmt: skip
    resolved = {"locations": {"value": rules, "group": "fleet", "inherited": True}}
    manager.on("GET /groups/paris", GROUP | {"resolved": resolved})
    shown = popham("describe", "group", "paris").stdout
    assert "  locations: (inherited from fleet)\n    home: where no other holds\n" in shown
    assert (
        "    office: weight 5, when dns_suffix corp.example and (address 10.0.0.0/8 or address fd00::/8)"
        " and not (interface vpn and host_name x)\n    looked at every 30s, and when the network changes\n"
    ) in shown


def test_describe_agent_says_what_is_ordered_where_it_is_and_whose_labels_are_whose(popham, manager, agent):
    detail = {
        "ordered": "push: the Manager's links are all taken",
        "labels_of_operators": {"env": "prod"},
        "labels_of_agent": {"env": "test"},
    }
    said = {"mode": "pull", "fallback": "link.full", "connected": False, "location": "office"}
    since = {"rules": ["interface ethernet", "address 10.0.0.0/8"], "location_since": 1_800_000_000.0}
    manager.on("GET /agents/web-1", agent(1, detail=detail, **said, **since))
    lines = [" ".join(line.split()) for line in popham("describe", "agent", "web-1").stdout.splitlines()]
    at = lines.index("mode: pull")
    assert lines[at + 1] == "ordered: push: the Manager's links are all taken"
    at = lines.index("location: office")
    assert lines[at + 1 : at + 3] == [
        "rules: interface ethernet, address 10.0.0.0/8", "location since: 2027-01-15T08:00:00Z",
    ]  # fmt: skip
    assert "link: none" in lines
    assert lines[lines.index("labels of operators:") + 1] == "env: prod"


def test_describe_policy_shows_its_spec(popham, manager):
    spec = {"files": [{"path": "/etc/motd", "content": "one\ntwo\n", "mode": "0644"}]}
    manager.on("GET /policies/motd", POLICY | {"spec": spec})
    shown = popham("describe", "policy", "motd").stdout
    assert "    - path:    /etc/motd" in shown
    assert "        two" in shown


@pytest.mark.parametrize("noun", ["agent", "group", "policy"])
def test_describe_has_json(popham, manager, noun):
    plural = {"policy": "policies"}.get(noun, f"{noun}s")
    manager.on(f"GET /{plural}/x", {"name": "x"})
    assert json.loads(popham("describe", noun, "x", "-o", "json").stdout) == {"name": "x"}
