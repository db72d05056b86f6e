"""Commands about Proxy Managers: what they send, say and print."""

import json

import pytest

DOCK = {
    "name": "dock", "state": "connected", "uid": "0191", "groups": ["paris"], "members": ["db-1"],
    "names": ["dock.example"], "port": 4320, "custody": {"logs": "hop"}, "agents": 12,
    "spool": {"logs": {"records": 20, "bytes": 8192, "oldest": 1800000000.0}},
    "cache": {"bytes": 4096.0, "damaged": 0.0}, "via": [], "version": "0.8.0",
    "behind": "", "mode": "push", "dialer": "agent", "address": "192.0.2.9", "last_contact": 1800000000.0,
    "age": 12.0, "age_bound": 450.0, "certificate_until": None, "changed": 1800000000.0, "edition": 1,
    "annotations": {}, "status": {"listens": "0.0.0.0:4320"}, "visits": ["web1"],
    "path": [{"from": "manager", "to": "dock", "dials": "dock", "mode": "push", "heartbeat": 300.0,
              "age_bound": 450.0}],
}  # fmt: skip
PATH = [
    *DOCK["path"],
    {"from": "dock", "to": "web-1", "dials": "web-1", "mode": "", "heartbeat": 60.0, "age_bound": 90.0},
]


@pytest.mark.parametrize("noun", ["proxies", "proxy"])
def test_f_t3_proxies_are_listed_by_either_number_of_the_noun(popham, manager, noun):
    manager.on("GET /proxies", {"items": [DOCK]})
    found = popham("get", noun)
    head, line = found.stdout.splitlines()
    assert head.split() == ["NAME", "STATE", "GROUPS", "AGENTS", "SPOOL", "CACHE", "VERSION", "AGE"]
    assert line.split("  ")[0] == "dock"
    for part in ("connected", "paris", "12", "20 records, 8 KiB", "4 KiB", "0.8.0", "12s ago"):
        assert part in line
    assert "logs=hop" in popham("get", noun, "-o", "wide").stdout
    assert json.loads(popham("get", noun, "-o", "json").stdout) == {"items": [DOCK]}


def test_where_there_are_none_the_next_step_is_said(popham, manager):
    manager.on("GET /proxies", {"items": []})
    assert "popham token create --proxy NAME" in popham("get", "proxies").stderr


def test_f_l9_who_stays_below_the_managers_version_is_said(popham, manager):
    manager.on(
        "GET /proxies", {"items": [{**DOCK, "behind": "it runs 0.7.0, and the Manager 0.8.0: upgrade it"}]}
    )
    assert popham("get", "proxies").stderr == "1 machine below the Manager's version: dock\n"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("connected", ""),
        ("new", "dock waits to be accepted: popham accept agent dock\n"),
        ("missing", "dock is not in touch: popham why agent dock\n"),
    ],
)
def test_f_t3_the_list_says_what_a_proxy_needs_next(popham, manager, state, said):
    manager.on("GET /proxies", {"items": [{**DOCK, "state": state}]})
    assert popham("get", "proxies").stderr == said


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ({}, "-"),
        ({"bytes": 0.0, "damaged": 0.0}, "0 B"),
        ({"bytes": 2048.0, "damaged": 2.0}, "2 KiB, 2 files damaged"),
        ({"bytes": 9.0, "problem": "no room\x1b[31m"}, "9 B, not written: no room\\x1b[31m"),
    ],
)
def test_f_t3_the_list_says_how_the_cache_of_a_proxy_stands(popham, manager, cache, said):
    manager.on("GET /proxies", {"items": [{**DOCK, "spool": {}, "cache": cache}]})
    head, line = popham("get", "proxies").stdout.splitlines()
    assert line[head.index("CACHE") : head.index("VERSION")].rstrip() == said


def test_f_t3_an_agent_behind_a_proxy_that_is_away_is_described_with_that(popham, manager, agent):
    detail = {
        "path": PATH,
        "proxy_away": "it is behind the proxy dock, which is missing",
        "proxy_away_name": "dock",
    }
    manager.on("GET /agents/web-1", agent(via=["dock"], detail=detail))
    found = popham("describe", "agent", "web-1").stdout
    assert "proxy away: it is behind the proxy dock, which is missing" in " ".join(found.split())
    assert "proxy away name" not in found


def test_f_t3_one_is_described_with_its_path_and_what_waits(popham, manager):
    manager.on("GET /proxies/dock", DOCK)
    found = popham("describe", "proxy", "dock").stdout
    for part in ("WHO DIALS", "20 records, 8 KiB", "4 KiB", "dock.example", "0.0.0.0:4320"):
        assert part in found
    assert json.loads(popham("describe", "proxy", "dock", "-o", "json").stdout) == DOCK


@pytest.mark.parametrize(
    ("state", "said"),
    [("new", "popham accept agent dock"), ("not enrolled", "popham token create --proxy dock")],
)
def test_what_a_proxy_waits_for_is_said(popham, manager, state, said):
    manager.on("GET /proxies/dock", {**DOCK, "state": state})
    assert said in popham("describe", "proxy", "dock").stderr


def test_f_t3_an_agent_is_described_with_who_dials_whom_and_the_bound_of_all_hops(popham, manager, agent):
    manager.on("GET /agents/web-1", agent(via=["dock"], detail={"path": PATH}))
    found = popham("describe", "agent", "web-1").stdout
    lines = [" ".join(line.split()) for line in found.splitlines()]
    assert "manager dock dock push 5m 450s" in lines
    assert "dock web-1 web-1 - 1m 90s" in lines
    assert "manager web-1 together - 6m 9m" in lines


def test_one_is_deleted_after_its_name_was_typed(popham, manager):
    manager.on("DELETE /proxies/dock", None, status=204)
    assert popham("delete", "proxy", "dock", "--yes").stdout == "proxy dock deleted\n"


def test_a_token_for_a_proxy_names_its_definition_and_the_command(popham, manager):
    token = {
        "id": "t1", "kind": "proxy", "group": "rome", "state": "usable", "uses": 0, "uses_left": 1,
        "expires": 1800003600.0, "accepts": False, "cidr": "", "author": "ada", "created": 1.0, "proxy": "dock",
    }  # fmt: skip
    manager.on("POST /tokens", {"token": token, "secret": "pop1.x"}, status=201)
    found = popham("token", "create", "--proxy", "dock", "-g", "rome")
    assert found.stdout == "pop1.x\n"
    assert "Join string t1: for the Proxy Manager dock, into group rome, waiting" in found.stderr
    assert "1 agent" not in found.stderr
    assert "popham proxy enroll JOIN" in found.stderr
    sent = manager.requests[-1][2]
    assert (sent["kind"], sent["proxy"], sent["group"]) == ("proxy", "dock", "rome")
    assert popham("token", "create", "--proxy", "dock", "--stock").exit_code == 64


def test_an_export_has_a_file_for_each_proxy(popham, manager, tmp_path):
    text = "apiVersion: popham/v1\nkind: Proxy\nmetadata: {name: dock}\nspec: {}\n"
    manager.on("GET /export", {"items": [{"name": "proxies/dock.yaml", "text": text}], "warnings": []})
    popham("export", str(tmp_path))
    assert (tmp_path / "proxies" / "dock.yaml").read_text() == text
