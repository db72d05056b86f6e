"""Commands about where agents are visited and who dials them: what they send, say and print."""

import json

import pytest

WEB = {
    "name": "web1", "url": "https://web1.example:443/SQC", "address": "web1.example", "port": 443, "prefix": "/SQC",
    "tls": "web", "ca": "", "http_proxy": "", "secrets": ["password"], "uid": "", "agent": "",
    "annotations": {"popham.io/source": "agentlist:/list"}, "edition": 1, "state": "fails",
    "visit": {"last": 1800000000.0, "next": 1800000600.0, "code": "visit.refused"},
}  # fmt: skip
PAGE = {"items": [WEB], "cursor": ""}
DONE = {
    "dry_run": False, "created": 1, "changed": 0, "unchanged": 2, "deleted": 0, "findings": [], "wrong": 0,
    "changes": [{"kind": "Agent", "name": "web1", "action": "created", "discarded": [], "agents": 0}],
}  # fmt: skip


@pytest.mark.parametrize("noun", ["agent-definitions", "agent-definition", "ad"])
def test_definitions_are_listed_by_any_form_of_the_noun(popham, manager, noun):
    manager.on("GET /agent-definitions", PAGE)
    found = popham("get", noun)
    head, line = found.stdout.splitlines()
    assert head.split()[:3] == ["NAME", "URL", "TLS"]
    assert line.split()[:3] == ["web1", "https://web1.example:443/SQC", "web"]
    wide = popham("get", noun, "-o", "wide")
    assert "password" in wide.stdout
    assert "agentlist:/list" in wide.stdout
    assert "visit.refused" in wide.stdout


def test_one_is_shown_and_none_is_explained(popham, manager):
    manager.on("GET /agent-definitions/web1", WEB)
    assert json.loads(popham("get", "ad", "web1", "-o", "json").stdout) == WEB
    manager.on("GET /agent-definitions", {"items": [], "cursor": ""})
    assert "the Manager dials nobody" in popham("get", "ad").stderr


@pytest.mark.parametrize("noun", ["agent-definition", "ad"])
def test_one_is_deleted_after_its_name_was_typed(popham, manager, noun):
    manager.on("DELETE /agent-definitions/web1", None, status=204)
    found = popham("delete", noun, "web1", "--yes")
    assert found.stdout == "agent definition web1 deleted\n"
    assert manager.requests[-1][:2] == ("DELETE", "/agent-definitions/web1")


@pytest.mark.parametrize("by", ["manager", "agent", "group"])
def test_f_c3_the_dialer_of_an_agent_is_one_command(popham, manager, agent, by):
    manager.on("PATCH /agents/web-1/dial", agent(detail={"visited_at": "https://web1:23440"}))
    found = popham("dial", "web-1", "--by", by, "--may-dial")
    assert manager.requests[-1][2] == {"by": by, "may_dial": True}
    assert found.stdout.startswith("agent web-1: ")
    assert found.stderr == "See it change over: popham why agent web-1\n"


def test_whoever_is_to_be_visited_nowhere_is_told_of(popham, manager, agent):
    manager.on("PATCH /agents/web-1/dial", agent())
    found = popham("dial", "web-1", "--by", "manager")
    assert found.stdout == "agent web-1: the Manager dials it\n"
    assert "No definition says where it is visited" in found.stderr


@pytest.mark.parametrize("words", [("web-1",), ("web-1", "--by", "proxy"), ("--by", "agent")])
def test_a_wrong_command_line_asks_nothing(popham, manager, words):
    found = popham("dial", *words)
    assert found.exit_code == 64
    assert found.stderr
    assert manager.requests == []


def test_f_o15_a_list_is_imported(popham, manager, tmp_path):
    path = tmp_path / "agentlist.cfg"
    path.write_bytes(b"# \xe9\r\nweb1/SQC,443\r\n")
    manager.on("POST /agent-definitions/import", DONE)
    found = popham("import", "agentlist", str(path))
    assert manager.requests[-1][1] == "/agent-definitions/import?dry_run=false"
    assert manager.requests[-1][2] == {"text": "# é\r\nweb1/SQC,443\r\n", "name": str(path)}
    assert found.stdout.splitlines() == ["agent web1 created", "3 agents in the list: 1 created, 2 unchanged"]
    assert found.stderr == ""


def test_f_o15_wrong_lines_are_said_and_the_command_fails(popham, manager):
    finding = "-:2: 'x' has 1 field \x1b[2J (definition.agentlist). Write it"
    manager.on("POST /agent-definitions/import", DONE | {"wrong": 1, "findings": [finding], "dry_run": True})
    found = popham("import", "agentlist", "-", "--dry-run", stdin="web1,80\nx\n")
    assert found.exit_code == 1
    assert manager.requests[-1][1].endswith("dry_run=true")
    assert "-:2: 'x' has 1 field" in found.stderr
    assert "\x1b" not in found.stderr
    assert "1 line wrong; the others work" in found.stderr
    assert "Nothing was changed" in found.stderr


def test_an_import_has_json(popham, manager):
    manager.on("POST /agent-definitions/import", DONE)
    assert json.loads(popham("import", "agentlist", "-", "-o", "json", stdin="a,1").stdout) == DONE


def test_a_list_that_cannot_be_read_is_named(popham, manager, tmp_path):
    found = popham("import", "agentlist", str(tmp_path / "none"))
    assert found.exit_code == 1
    assert "it cannot be read: No such file" in found.stderr
    assert manager.requests == []


def test_check_counts_definitions_of_agents(popham, tmp_path):
    (tmp_path / "a.yaml").write_text(
        "apiVersion: popham/v1\nkind: Agent\nmetadata: {name: a}\nspec: {address: a}\n"
    )
    assert popham("check", "-f", str(tmp_path)).stdout.startswith("1 agent definition, 0 groups")
