"""The history of policies: who, when, why; what differs; the way back."""

import json
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, otelcol, policy

from popham.errors import ConflictError, GrantError, NotFoundError, StateError
from popham.manager.grant import Grant, Role
from popham.store.memory_reading import MemoryReading
from popham.store.rows import RevisionRow

OWN = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"
BOB = Grant(actor="bob", role=Role.ADMIN, source="192.0.2.9")


def lines(*held):
    """Return a policy with a file of these lines."""
    return policy(content="CONTENT").replace("'CONTENT'", json.dumps("".join(f"{line}\n" for line in held)))


async def fill(bench):
    await bench.apply(policy(content="one"), group("paris", OWN), message="first words")
    bench.clock.at += 60
    await bench.apply(policy(content="two"), grant=BOB, message="a better word")


async def test_f_y5_the_history_has_author_time_message_and_who_holds_it(bench):
    await fill(bench)
    newest, oldest = await bench.service.history(VIEWER, "motd")
    assert (newest.revision, newest.author, newest.at, newest.message) == (
        2,
        "bob",
        NOW + 60,
        "a better word",
    )
    assert (newest.newest, newest.groups, newest.agents) == (True, ("paris",), 0)
    assert (oldest.revision, oldest.author, oldest.message, oldest.groups) == (1, "ada", "first words", ())


async def test_f_y5_several_edits_of_one_apply_are_one_revision_and_one_serial(bench):
    await fill(bench)
    serials = await bench.serials()
    second = policy("motd", "three").replace("spec: {", "spec: {reload: again, ") + "---\n" + otelcol()
    await bench.apply(second, group("paris", OWN, ", labels: {env: prod}"), message="all at once")
    assert (await bench.service.history(VIEWER, "motd"))[0].message == "all at once"
    assert [row.message for row in await bench.service.history(VIEWER, "col")] == ["all at once"]
    assert (await bench.serials())["paris"] == serials["paris"] + 1
    audit = {row.object: json.loads(row.after) for row in await bench.audit()}
    assert audit["group/paris"]["message"] == "all at once"


async def test_f_y5_a_rollback_is_a_new_higher_revision_that_names_the_old_one(bench):
    await fill(bench)
    serials = await bench.serials()
    view = await bench.service.roll_back(ADMIN, "motd", 1, message="two was wrong")
    assert (view.revision, view.author) == (3, "ada")
    rows = await bench.service.history(VIEWER, "motd")
    assert rows[0].message == "back to revision 1: two was wrong"
    assert rows[0].sha256 == rows[2].sha256
    assert (await bench.serials())["paris"] == serials["paris"] + 1
    assert bench.told[-1] == ["paris"]
    entry = (await bench.audit())[-1]
    assert (entry.method, entry.object, entry.actor) == ("policy.rollback", "policy/motd", "ada")


async def test_f_y5_a_rollback_to_what_holds_changes_nothing(bench):
    await fill(bench)
    before = await bench.serials()
    assert (await bench.service.roll_back(ADMIN, "motd", 2)).revision == 2
    assert await bench.serials() == before


async def test_f_y5_a_rollback_to_what_is_not_there_is_one_sentence(bench):
    await fill(bench)
    with pytest.raises(NotFoundError, match="policy 'motd' has no revision 7") as caught:
        await bench.service.roll_back(ADMIN, "motd", 7)
    assert caught.value.hint == "It has 1 to 2: see popham history policy motd"
    with pytest.raises(NotFoundError, match="there is no policy 'mot'"):
        await bench.service.history(VIEWER, "mot")
    with pytest.raises(GrantError):
        await bench.service.roll_back(VIEWER, "motd", 1)


async def test_rel_11_a_rollback_to_content_that_is_gone_is_one_sentence(bench):
    await fill(bench)
    table = bench.store._tables[RevisionRow]
    key = next(key for key, row in table.items() if row.revision == 1)
    table[key] = replace(table[key], encoded=b"")
    for call in (bench.service.roll_back(ADMIN, "motd", 1), bench.service.difference(VIEWER, "motd")):
        with pytest.raises(StateError, match="the content of revision 1 of policy 'motd' is gone") as caught:
            await call
        assert caught.value.code == "state.blob"
    assert (await bench.service.policy(VIEWER, "motd")).revision == 2


async def test_f_y5_the_history_outlives_the_policy(bench):
    await bench.apply(policy(content="one"))
    await bench.service.delete_policy(ADMIN, "motd")
    [row] = await bench.service.history(VIEWER, "motd")
    assert (row.revision, row.newest) == (1, False)
    with pytest.raises(NotFoundError, match="there is no policy 'motd'") as caught:
        await bench.service.roll_back(ADMIN, "motd", 1)
    assert "deleted" in caught.value.hint


async def test_f_y5_a_difference_is_a_unified_diff_of_the_definitions(bench):
    await fill(bench)
    found = await bench.service.difference(VIEWER, "motd")
    assert (found.before, found.after) == (1, 2)
    shown = found.difference.splitlines()
    assert shown[:2] == ["--- motd/1", "+++ motd/2"]
    assert [line for line in shown[2:] if line[0] in "+-"] == ["-      content: one", "+      content: two"]
    assert (await bench.service.difference(VIEWER, "motd", 2, 2)).difference == ""
    assert "+      content: one" in (await bench.service.difference(VIEWER, "motd", 2, 1)).difference


async def test_sec_53_a_secret_in_a_difference_is_hidden_and_seen_to_change(bench):
    await bench.apply(lines("user=ada", "password=canary-one"))
    await bench.apply(lines("user=ada", "password=canary-two"))
    text = (await bench.service.difference(VIEWER, "motd")).difference
    assert "canary" not in text
    changed = [line for line in text.splitlines()[2:] if line[0] in "+-"]
    assert changed == ["-        password=[hidden]", "+        password=[hidden]"]
    planned = await bench.apply(lines("user=ada", "password=canary-two", "more=1"), dry_run=True)
    assert "canary" not in planned.changes[0].difference
    changed = [line for line in planned.changes[0].difference.splitlines()[2:] if line[0] in "+-"]
    assert changed == ["+        more=1"]


async def test_f_y5_an_object_that_another_manages_is_not_rolled_back(bench):
    await bench.apply(policy(content="one"), source="https://git.example/fleet")
    await bench.apply(policy(content="two"), source="https://git.example/fleet")
    with pytest.raises(ConflictError, match="policy 'motd' is managed in https"):
        await bench.service.roll_back(ADMIN, "motd", 1)
    view = await bench.service.roll_back(ADMIN, "motd", 1, take_over=True)
    assert (view.revision, view.annotations) == (3, {})


async def test_f_y5_a_viewer_sees_a_policy_without_its_secrets(bench):
    secret = policy(content="hunter2").replace("content: 'hunter2'", "content: 'hunter2', secret: true")
    await bench.apply(secret)
    seen = await bench.service.policy(VIEWER, "motd")
    assert seen.spec["files"][0]["content"] == "(secret)"
    assert seen.spec["files"][0]["path"] == "/etc/popham.d/motd"
    assert "hunter2" not in repr(seen)
    assert (await bench.service.policy(ADMIN, "motd")).spec["files"][0]["content"] == "hunter2"


async def test_f_y5_whether_a_revision_ever_was_is_answered_by_numbers_alone(bench, monkeypatch):
    await fill(bench)

    def whole(*_args):
        raise AssertionError("bodies are read where numbers will do")

    kept = MemoryReading.revisions

    def numbers(tx, name):
        return [row.revision for row in kept(tx, name)]

    monkeypatch.setattr(MemoryReading, "revision_numbers", numbers)
    monkeypatch.setattr(MemoryReading, "revisions", whole)
    with pytest.raises(NotFoundError, match="has no revision 9") as caught:
        await bench.service.roll_back(ADMIN, "motd", 9)
    assert "It has 1 to 2" in caught.value.hint
    with pytest.raises(NotFoundError, match="there is no policy 'mot'"):
        await bench.service.roll_back(ADMIN, "mot", 1)
    await bench.apply(policy(content="three"))
    monkeypatch.undo()
    assert (await bench.service.policy(VIEWER, "motd")).revision == 3
