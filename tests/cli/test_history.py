"""``popham history``, ``diff``, ``rollback``, ``export``: what they ask, print and end with."""

import pytest

ROW = {
    "revision": 2,
    "author": "bob",
    "at": 1_800_000_060.0,
    "message": "a better word",
    "sha256": "ab" * 32,
    "newest": True,
    "groups": ["paris"],
    "agents": 3,
}
FIRST = ROW | {"revision": 1, "author": "a\x1bda", "message": "", "groups": [], "agents": 0, "newest": False}
DIFF = "--- motd/1\n+++ motd/2\n@@ -1 +1 @@\n-content: one\n+content: two\x1b[2J\n"
RESULT = {"dry_run": True, "changes": [], "groups": [], "warnings": [], "costs": None, "base": {}}


def change(**fields):
    return {
        "kind": "Policy",
        "name": "motd",
        "action": "changed",
        "discarded": [],
        "agents": 0,
        "difference": DIFF,
    } | fields


def test_f_y5_history_shows_who_when_why_and_who_holds_it(popham, manager):
    manager.on("GET /policies/motd/revisions", {"items": [ROW, FIRST]})
    found = popham("history", "policy", "motd")
    assert found.stdout.splitlines() == [
        "REVISION  WHEN                  AUTHOR   GROUPS (AGENTS)  DIGEST        MESSAGE",
        "2         2027-01-15T08:01:00Z  bob      paris (3)        abababababab  a better word",
        "1         2027-01-15T08:01:00Z  a\\x1bda  -                abababababab  -",
    ]


@pytest.mark.parametrize(
    ("words", "query"), [((), ""), (("1",), "?first=1"), (("1", "3"), "?first=1&second=3")]
)
def test_f_y5_diff_of_revisions_ends_with_1_if_something_differs(popham, manager, words, query):
    manager.on("GET /policies/motd/difference", {"before": 1, "after": 2, "difference": DIFF})
    found = popham("diff", "policy", "motd", *words)
    assert found.exit_code == 1
    assert found.stdout == DIFF.replace("\x1b", "\\x1b")
    assert manager.requests[0][1] == f"/policies/motd/difference{query}"


def test_f_y5_diff_ends_with_0_if_nothing_differs_and_more_if_it_cannot_tell(popham, manager):
    manager.on("GET /policies/motd/difference", {"before": 1, "after": 1, "difference": ""})
    manager.fail("GET /policies/nope/difference", 404, "not_found.policy", "there is no policy 'nope'")
    assert popham("diff", "policy", "motd", "1", "1").exit_code == 0
    found = popham("diff", "policy", "nope")
    assert (found.exit_code, found.stderr) == (2, "popham: there is no policy 'nope' (not_found.policy)\n")
    assert popham("diff").exit_code == 64


def test_f_y5_diff_of_files_shows_each_object_that_differs(popham, manager):
    changes = [change(), change(name="same", action="unchanged", difference="")]
    manager.on("POST /apply", RESULT | {"changes": changes})
    found = popham("diff", "-f", "-", stdin="x: 1")
    assert (found.exit_code, found.stdout) == (1, DIFF.replace("\x1b", "\\x1b"))
    assert manager.requests[0][1] == "/apply?dry_run=true"
    assert manager.requests[0][2]["compare"] is True


def test_f_y5_rollback_says_what_it_made(popham, manager):
    manager.on("GET /policies/motd", {"revision": 4})
    manager.on("POST /policies/motd/rollback", {"revision": 5})
    found = popham("rollback", "policy", "motd", "--to", "2", "-m", "wrong word")
    assert found.stdout == "policy motd: revision 5 has the content of revision 2\n"
    sent = {"to_revision": 2, "message": "wrong word", "take_over": False}
    assert manager.requests[1] == ("POST", "/policies/motd/rollback", sent)


def test_f_y6_export_writes_a_file_for_each_object_and_names_what_is_left_over(popham, manager, tmp_path):
    items = [
        {"name": "groups/fleet.yaml", "text": "a: 1\n"},
        {"name": "policies/motd.yaml", "text": "b: 2\n"},
    ]
    manager.on("GET /export", {"items": items, "warnings": ["group 'x' is odd"]})
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups" / "old.yaml").write_text("gone")
    found = popham("export", str(tmp_path))
    assert found.stdout == f"2 definitions in {tmp_path}, 2 written\n"
    assert (tmp_path / "policies" / "motd.yaml").read_text() == "b: 2\n"
    assert found.stderr.splitlines() == [
        f"Warning: {tmp_path}/groups/old.yaml defines nothing that is stored; delete it",
        "Warning: group 'x' is odd",
    ]
    assert popham("export", str(tmp_path)).stdout.endswith("0 written\n")
    assert popham("export", "-").stdout == "a: 1\n---\nb: 2\n"


@pytest.mark.parametrize("name", ["../motd.yaml", "groups/../../x.yaml", "secrets/x.yaml", "groups/.x.yaml"])
def test_sec_6_an_export_writes_nothing_outside_its_folder(popham, manager, tmp_path, name):
    manager.on("GET /export", {"items": [{"name": name, "text": "a: 1\n"}], "warnings": []})
    found = popham("export", str(tmp_path / "here"))
    assert (found.exit_code, "wire.name" in found.stderr) == (1, True)
    assert not list(tmp_path.rglob("*.yaml"))


def test_f_y18_a_plan_ends_with_2_if_asked_and_something_would_change(popham, manager):
    costs = {"shifts": [], "advice": []}
    unchanged = change(action="unchanged", difference="")
    for changes, status in (([change()], 2), ([unchanged], 0)):
        manager.answers.clear()
        manager.on("POST /apply", RESULT | {"changes": changes, "costs": costs})
        found = popham("plan", "-f", "-", "-o", "json", "--detailed-exitcode", stdin="x: 1")
        assert found.exit_code == status
        assert popham("plan", "-f", "-", "-o", "json", stdin="x: 1").exit_code == 0
    manager.answers.clear()
    manager.fail("POST /apply", 422, "definition.kind", "no kind")
    assert popham("plan", "-f", "-", "--detailed-exitcode", stdin="x: 1").exit_code == 1


def test_f_y10_a_saved_plan_carries_its_files_terms_and_base(popham, manager, tmp_path):
    base = {"policy/motd": "ab" * 32}
    manager.on("POST /apply", RESULT | {"base": base})
    path = tmp_path / "plan.json"
    made = popham(
        "plan", "-f", "-", "--save", str(path), "--as-source", "git", "--prune", "-o", "json", stdin="x: 1"
    )
    assert made.exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert popham("apply", "--plan", str(path), "-m", "why").exit_code == 0
    assert manager.requests[-1][2] == {
        "files": [{"name": "-", "text": "x: 1"}],
        "message": "why",
        "as_source": "git",
        "prune": True,
        "base": base,
    }
    path.write_text(path.read_text().replace("x: 1", "x: 2"))
    found = popham("apply", "--plan", str(path))
    assert (found.exit_code, "definition.plan" in found.stderr) == (1, True)
    for said in ("[]", path.read_text().replace('"force": false', '"force": NaN')):
        path.write_text(said)
        assert "this is no saved plan" in popham("apply", "--plan", str(path)).stderr
    assert popham("apply", "--plan", str(path), "-f", "-").exit_code == 64
    assert popham("apply").exit_code == 64


def test_f_y18_pruning_asks_first_also_where_nobody_is_there(popham, manager):
    gone = change(action="deleted", difference="", agents=12)
    manager.on("POST /apply", RESULT | {"changes": [gone], "base": {"policy/motd": ""}})
    words = ("apply", "-f", "-", "--prune", "--as-source", "git")
    assert popham(*words, stdin="x: 1").exit_code != 0
    assert [request[1] for request in manager.requests] == ["/apply?dry_run=true"]
    found = popham(*words, "--yes", stdin="x: 1")
    assert (found.exit_code, found.stdout) == (0, "policy motd deleted, 12 agents\n")
