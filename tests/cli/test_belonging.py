"""``popham move`` and ``popham label``: what they send, and what they print."""

from urllib.parse import parse_qs, urlsplit

import pytest


def test_f_o18_every_agent_that_is_named_is_moved(popham, manager, agent):
    manager.on("POST /agents/web-1/move", agent(1, group="shops"))
    manager.on("POST /agents/web-2/move", agent(2, group="shops"))
    found = popham("move", "agent", "web-1", "web-2", "--to", "shops")
    assert [(path, body) for _, path, body in manager.requests] == [
        ("/agents/web-1/move", {"group": "shops"}),
        ("/agents/web-2/move", {"group": "shops"}),
    ]
    assert found.stdout.splitlines() == ["agent web-1 belongs to shops", "agent web-2 belongs to shops"]
    assert "popham get agents -w" in found.stderr


def test_a_move_that_is_refused_ends_the_command_and_says_why(popham, manager, agent):
    manager.on("POST /agents/web-1/move", agent(1, group="shops"))
    manager.fail(
        "POST /agents/col-1/move", 409, "conflict.stock", "agent 'col-1' is a stock agent", "Give it"
    )
    found = popham("move", "agent", "web-1", "col-1", "web-2", "--to", "shops")
    assert (found.exit_code, found.stdout) == (1, "agent web-1 belongs to shops\n")
    assert found.stderr == "popham: agent 'col-1' is a stock agent (conflict.stock). Give it.\n"
    assert len(manager.requests) == 2


@pytest.mark.parametrize(
    "words", [("move", "agent", "web-1"), ("move", "agent", "--to", "shops"), ("label", "agent", "web-1")]
)
def test_a_move_and_a_label_need_all_their_words(popham, manager, words):
    assert (popham(*words).exit_code, manager.requests) == (64, [])


def test_f_g5_labels_are_set_and_taken_away(popham, manager, agent):
    manager.on("PATCH /agents/web-1/labels", agent(labels={"env": "prod", "os": "linux"}))
    found = popham("label", "agent", "web-1", "env=prod", "site=", "gone-", "a-b-")
    assert manager.requests[0][2] == {"labels": {"env": "prod", "site": "", "gone": None, "a-b": None}}
    assert found.stdout == "agent web-1: env=prod,os=linux\n"


@pytest.mark.parametrize("word", ["env", "=prod", "-", "a b=c", "env=pr\nod", "é=1", "k" * 64 + "=1"])
def test_what_is_no_label_is_said_before_anything_is_sent(popham, manager, word):
    found = popham("label", "agent", "web-1", "--", "good=1", word)
    assert (found.exit_code, manager.requests) == (1, [])
    assert "(definition.labels)" in found.stderr
    assert found.stderr.count("\n") == 1


def test_f_g5_agents_are_listed_and_asked_by_their_labels(popham, manager, agent):
    manager.on("GET /agents", {"items": [agent()], "cursor": ""})
    manager.on("POST /check-ins", {"items": []})
    popham("get", "agents", "-l", "env=prod,role in (web,db)")
    popham("check-in", "-l", "env=prod")
    asked = parse_qs(urlsplit(manager.requests[0][1]).query)
    assert asked["selector"] == ["env=prod,role in (web,db)"]
    assert manager.requests[1][2] == {"agents": [], "group": None, "all": False, "selector": "env=prod"}
