"""Commands that change something: what they send, ask and print."""

import json

import pytest

from popham.cli.files import read_definitions
from popham.errors import DefinitionError

RESULT = {
    "dry_run": False,
    "changes": [
        {"kind": "Policy", "name": "motd", "action": "created", "discarded": []},
        {"kind": "Group", "name": "paris", "action": "changed", "discarded": ["policies.files: old"]},
    ],
    "groups": [{"group": "paris", "before": 3, "after": 4, "agents": 1}],
}
GOOD = """\
apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec:
  type: files
  files:
    - {path: /etc/popham.d/motd, content: hello}
"""
TOKEN = {
    "id": "0123456789abcdef", "kind": "enrollment", "group": "fleet", "state": "usable", "uses": 0,
    "uses_left": 1, "expires": 1_800_000_000.0, "accepts": False, "cidr": "", "author": "ann", "created": 0.0,
}  # fmt: skip


def test_apply_sends_every_file_of_a_folder_in_order(popham, manager, tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.yaml", "a.yml", "deep/c.yaml", ".hidden.yaml", "note.txt"):
        (tmp_path / name).write_text(f"# {name}")
    manager.on("POST /apply", RESULT)
    found = popham("apply", "-f", str(tmp_path))
    sent = manager.requests[0][2]["files"]
    assert [file["text"] for file in sent] == ["# a.yml", "# b.yaml", "# deep/c.yaml"]
    assert found.stdout.splitlines() == [
        "policy motd created",
        "group paris changed",
        "  discards policies.files: old",
        "paris: serial 3 -> 4, 1 agent",
    ]
    assert "popham get agents -w" in found.stderr


def test_apply_reads_standard_input(popham, manager):
    manager.on("POST /apply", RESULT)
    popham("apply", "-f", "-", stdin="# here")
    assert manager.requests[0][2] == {"files": [{"name": "-", "text": "# here"}]}


def test_a_dry_run_says_that_nothing_was_changed(popham, manager):
    manager.on("POST /apply", RESULT | {"dry_run": True})
    found = popham("apply", "--dry-run", "-f", "-", stdin="x: 1")
    assert manager.requests[0][1] == "/apply?dry_run=true"
    assert found.stderr == "Nothing was changed: this was a dry run.\n"


def test_apply_has_json(popham, manager):
    manager.on("POST /apply", RESULT)
    assert json.loads(popham("apply", "-f", "-", "-o", "json", stdin="x: 1").stdout) == RESULT


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_f_g4_warnings_of_an_apply_are_shown(popham, manager, words):
    manager.on("POST /apply", RESULT | {"dry_run": bool(words), "warnings": ["weights \x1b[2J overlap"]})
    found = popham("apply", *words, "-f", "-", stdin="x: 1")
    assert "Warning: weights" in found.stderr
    assert "\x1b" not in found.stderr


@pytest.mark.parametrize(("answer", "applied"), [("discard\n", True), ("yes\n", False)])
def test_f_g2_a_person_is_asked_before_own_values_are_discarded(popham, manager, tmp_path, answer, applied):
    (tmp_path / "a.yaml").write_text("x: 1")
    manager.on("POST /apply", RESULT)
    found = popham("apply", "-f", str(tmp_path / "a.yaml"), stdin=answer, asked=True)
    assert "group paris: policies.files: old" in found.stderr
    sent = [path for _, path, _ in manager.requests]
    assert sent == ["/apply?dry_run=true", "/apply?dry_run=false"][: 1 + applied]
    assert ("conflict.not_confirmed" in found.stderr) is not applied


@pytest.mark.parametrize(("words", "kept"), [(("--yes",), 2), ((), 1)])
def test_f_g2_nobody_is_asked_with_yes_or_if_nothing_is_lost(popham, manager, tmp_path, words, kept):
    (tmp_path / "a.yaml").write_text("x: 1")
    manager.on("POST /apply", RESULT | {"changes": RESULT["changes"][:kept]})
    assert popham("apply", *words, "-f", str(tmp_path / "a.yaml"), asked=True).exit_code == 0


def test_f_g4_what_is_unwise_is_asked_for_by_force(popham, manager):
    manager.on("POST /apply", RESULT)
    popham("apply", "--force", "-f", "-", stdin="x: 1")
    popham("apply", "-f", "-", stdin="x: 1")
    assert [path for _, path, _ in manager.requests] == [
        "/apply?dry_run=false&force=true",
        "/apply?dry_run=false",
    ]


def test_f_g4_a_check_on_this_machine_refuses_what_is_unwise_too(popham):
    text = """\
apiVersion: popham/v1
kind: Group
metadata: {name: fleet}
spec:
  locations:
    - {name: home, default: true}
    - {name: office, when: {manager: reachable}}
"""
    found = popham("check", "-f", "-", stdin=text)
    assert found.exit_code == 1
    assert "-:7:" in found.stderr
    assert "definition.manager_alone" in found.stderr
    assert popham("check", "--force", "-f", "-", stdin=text).exit_code == 0


def test_every_error_of_a_set_is_a_line_with_its_place(popham, manager):
    errors = [
        {"code": "definition.mode", "detail": "no mode", "hint": "", "source": "a.yaml", "line": 3},
        {"code": "definition.path", "detail": "no path", "hint": "Write one", "source": "b.yaml", "line": 0},
    ]
    manager.fail("POST /apply", 422, "definition.mode", "no mode", source="a.yaml", line=3, errors=errors)
    found = popham("apply", "-f", "-", stdin="x: 1")
    assert found.exit_code == 1
    assert found.stderr.splitlines() == [
        "popham: a.yaml:3: no mode (definition.mode)",
        "popham: b.yaml: no path (definition.path). Write one.",
    ]


@pytest.mark.parametrize(("name", "code"), [("none.yaml", "definition.file"), (".", "definition.empty")])
def test_files_that_cannot_be_read_are_named(popham, tmp_path, name, code):
    found = popham("apply", "-f", str(tmp_path / name))
    assert (found.exit_code, code in found.stderr) == (1, True)


def test_a_file_that_is_no_utf_8_is_named_with_its_line(popham, tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: \xff\n")
    assert "a.yaml:2: the file is not UTF-8" in popham("check", "-f", str(tmp_path / "a.yaml")).stderr


def test_files_that_are_too_large_together_are_refused(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_bytes(b"#" * 60)
    assert len(read_definitions([str(tmp_path)], limit=120)) == 2
    with pytest.raises(DefinitionError) as caught:
        read_definitions([str(tmp_path)], limit=100)
    assert (caught.value.code, caught.value.source) == ("definition.too_large", str(tmp_path / "b.yaml"))


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    (tmp_path / "a.yaml").write_text("#")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(read_definitions([str(tmp_path)])) == 1


def test_f_y7_check_fails_with_the_line_of_every_error_and_asks_no_manager(popham, manager, tmp_path):
    bad = (
        GOOD.replace("type: files", "typ: files") + "---\n" + GOOD.replace("content: hello", "contnt: hello")
    )
    path = tmp_path / "policy.yaml"
    path.write_text(bad)
    found = popham("check", "-f", str(path), environ={"HOME": str(tmp_path)})
    assert (found.exit_code, found.stdout, manager.requests) == (1, "", [])
    lines = found.stderr.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"popham: {path}:") for line in lines)


def test_f_y7_check_says_what_it_found_where_nothing_is_wrong(popham, tmp_path):
    (tmp_path / "policy.yaml").write_text(GOOD)
    found = popham("check", "-f", str(tmp_path))
    assert (found.exit_code, found.stdout) == (0, "0 groups and 1 policy: no errors\n")


def test_a_token_prints_its_secret_alone_on_stdout(popham, manager):
    manager.on("POST /tokens", {"token": TOKEN, "secret": "pop1.abc"}, status=201)
    found = popham("token", "create", "--expires", "30m", "--uses", "5", "--accept", "-g", "paris")
    assert found.stdout == "pop1.abc\n"
    assert "1 agent into group fleet, waiting to be accepted, until 2027-01-15T08:00:00Z" in found.stderr
    assert manager.requests[0][2] == {
        "kind": "enrollment", "group": "paris", "uses": 5, "lifetime": 1800.0, "accepts": True, "cidr": "",
    }  # fmt: skip


def test_how_long_a_stock_token_lives_is_left_to_the_manager_if_nobody_says(popham, manager):
    manager.on("POST /tokens", {"token": TOKEN | {"kind": "stock", "uses_left": -1}, "secret": "pops_a_b"})
    found = popham("token", "create", "--stock")
    assert found.stdout == "pops_a_b\n"
    sent = manager.requests[0][2]
    assert (sent["kind"], sent["uses"], sent["lifetime"]) == ("stock", None, None)
    assert "any number of agents" in found.stderr


def test_a_duration_without_unit_is_refused(popham, manager):
    found = popham("token", "create", "--expires", "30")
    assert (found.exit_code, manager.requests) == (1, [])
    assert "definition.duration" in found.stderr


def test_tokens_are_revoked_by_id(popham, manager):
    manager.on("DELETE /tokens/a", None, status=204)
    manager.on("DELETE /tokens/b", None, status=204)
    assert popham("token", "revoke", "a", "b").stdout == "token a revoked\ntoken b revoked\n"


@pytest.mark.parametrize(("verb", "state"), [("accept", "accepted"), ("refuse", "refused")])
def test_several_agents_are_admitted_by_one_command(popham, manager, agent, verb, state):
    for number in (1, 2):
        manager.on(f"POST /agents/web-{number}/{verb}", agent(number, admission=state))
    found = popham(verb, "agent", "web-1", "web-2")
    assert found.stdout == f"agent web-1 {state}\nagent web-2 {state}\n"


def test_revoke_asks_to_type_the_name(popham, manager, agent):
    manager.on("POST /agents/web-1/revoke", agent(1, admission="revoked"))
    found = popham("revoke", "agent", "web-1", stdin="web-1\n")
    assert (found.exit_code, found.stdout) == (0, "agent web-1 revoked\n")


@pytest.mark.parametrize("typed", ["yes\n", "\n"])
def test_revoke_changes_nothing_if_something_else_is_typed(popham, manager, typed):
    found = popham("revoke", "agent", "web-1", stdin=typed)
    assert (found.exit_code, manager.requests) == (1, [])
    assert "conflict.not_confirmed" in found.stderr


def test_revoke_without_anybody_to_ask_changes_nothing(popham, manager):
    found = popham("revoke", "agent", "web-1", stdin="")
    assert (found.exit_code, manager.requests) == (64, [])
    *consequence, line = found.stderr.splitlines()
    assert consequence == ["Agent web-1 will be given nothing more, until it is accepted again."]
    assert line == (
        "popham: there is nobody to ask whether that is meant, and nothing was changed (conflict.no_terminal). "
        "Give --yes, or web-1 on standard input."
    )


def test_revoke_that_is_interrupted_changes_nothing(popham, manager, monkeypatch):
    def interrupted(*_args, **_rest):
        raise KeyboardInterrupt

    monkeypatch.setattr("popham.cli.admission.confirm", interrupted)
    found = popham("revoke", "agent", "web-1")
    assert (found.exit_code, manager.requests) == (130, [])
    assert found.stderr.endswith("popham: interrupted\n")


@pytest.mark.parametrize("head", ["abc", "A" * 64, "0" * 65])
def test_f_o6_a_head_that_is_no_digest_is_refused_in_one_sentence(popham, manager, head):
    found = popham("audit", "--verify", "--head", head)
    assert (found.exit_code, manager.requests) == (64, [])
    assert found.stderr.startswith("popham: --head takes a digest as --verify prints it: 64 digits")


def test_yes_asks_nothing(popham, manager):
    manager.on("DELETE /policies/motd", None, status=204)
    manager.on("DELETE /groups/lab", None, status=204)
    assert popham("delete", "policy", "motd", "--yes").stdout == "policy motd deleted\n"
    assert popham("delete", "group", "lab", stdin="lab\n").stdout == "group lab deleted\n"


def test_a_policy_is_copied(popham, manager):
    manager.on("POST /policies/motd/copy", {"name": "motd2"}, status=201)
    assert popham("copy", "policy", "motd", "motd2").stdout == "policy motd2 created\n"
    assert manager.requests[0][2] == {"to": "motd2"}


def test_check_in_says_who_was_asked_and_who_comes_when(popham, manager):
    items = [
        {"uid": "u1", "name": "web-1", "state": "asked", "when": None},
        {"uid": "u2", "name": "web-2", "state": "waits", "when": 1_800_000_000.0},
    ]
    manager.on("POST /check-ins", {"items": items})
    rows = [line.split() for line in popham("check-in", "web-1", "web-2").stdout.splitlines()[1:]]
    assert rows == [["web-1", "asked", "-"], ["web-2", "waits", "2027-01-15T08:00:00Z"]]
    assert manager.requests[0][2] == {"agents": ["web-1", "web-2"], "group": None, "all": False}


@pytest.mark.parametrize("args", [[], ["web-1", "--all"], ["-g", "paris", "--all"]])
def test_check_in_needs_one_way_to_name_agents(popham, manager, args):
    assert (popham("check-in", *args).exit_code, manager.requests) == (64, [])


def test_f_o6_audit_verify_says_what_to_keep(popham, manager):
    manager.on("GET /audit/verify", {"entries": 12, "head": "ab" * 32})
    assert (
        popham("audit", "--verify").stdout == f"12 entries, and the chain is whole. Its head: {'ab' * 32}\n"
    )
    assert '"entries": 12' in popham("audit", "--verify", "--head", "ab" * 32, "-o", "json").stdout
    refused = popham("audit", "--head", "ab" * 32)
    assert (refused.exit_code, "--head goes with --verify" in refused.stderr) == (64, True)


def test_audit_lists_changes_and_wide_has_before_and_after(popham, manager):
    item = {
        "seq": 7, "at": 1_800_000_000.0, "actor": "ann", "source": "192.0.2.1", "method": "apply",
        "object": "group/paris", "before": "{}", "after": '{"a":1}', "hash": "ff",
    }  # fmt: skip
    manager.on("GET /audit", {"items": [item], "cursor": ""})
    assert popham("audit").stdout.splitlines()[1].split() == [
        "7", "2027-01-15T08:00:00Z", "ann", "192.0.2.1", "apply", "group/paris",
    ]  # fmt: skip
    assert '{"a":1}' in popham("audit", "-o", "wide").stdout


def test_contexts_are_listed_used_and_shown_without_tokens(popham, tmp_path):
    from popham.cli.contexts import Context, Contexts

    path = tmp_path / "c.toml"
    held = Contexts.load(path).put("demo", Context(url="https://a:8443", token="pop_0123_secret"))
    held.put("lab", Context(url="https://b:8443", token="pop_4567_secret")).save()
    args = ("--config", str(path))
    listed = popham(*args, "context", "list").stdout
    assert [line.split() for line in listed.splitlines()[1:]] == [
        ["demo", "https://a:8443"],
        ["*", "lab", "https://b:8443"],
    ]
    assert popham(*args, "context", "use", "demo").stdout == "demo: https://a:8443\n"
    shown = popham(*args, "context", "show", environ={"HOME": str(tmp_path)}).stdout
    assert "https://a:8443" in shown
    assert "secret" not in listed + shown
    assert popham(*args, "context", "use", "dmeo").exit_code == 78
