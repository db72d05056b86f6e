"""``agentlist.cfg`` at a Manager: imported once, or followed."""

import asyncio
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.manager.conftest import ADMIN, NOW, VIEWER, Time
from tests.manager.test_agent_definitions import agent, join

from popham.errors import ConflictError, DefinitionError, GrantError, StateError
from popham.manager import agentlist, agentlist_watch
from popham.manager.agent_definitions import annotations_of, bind, definition_of, definition_row
from popham.manager.agentlist import ListTaker, source_of
from popham.manager.agentlist_watch import AgentListWatch, Follower, Stamp
from popham.model.agentlist import read_agentlist
from popham.store.memory import MemoryStore

LIST = "[AgentList]\nweb1,23440\nweb2/SQC,80\n"


async def places(bench):
    rows = await bench.store.read(lambda tx: tx.agent_definitions())
    return {row.name: row.place for row in rows}


# Import


async def test_f_o15_a_list_is_imported_once_as_definitions(bench):
    await join(bench, "web1", "u1")
    done = await bench.service.import_agentlist(ADMIN, LIST)
    assert (done.created, done.unchanged, done.wrong) == (2, 0, 0)
    assert [(one.kind, one.name, one.action) for one in done.changes] == [
        ("Agent", "web1", "created"),
        ("Agent", "web2", "created"),
    ]
    assert await places(bench) == {"web1": "web1:23440", "web2": "web2:80/SQC"}
    assert (await bench.store.read(lambda tx: tx.agent_definition("web1"))).uid == "u1"
    assert bench.links.changed == ["definition web1", "definition web2"]
    again = await bench.service.import_agentlist(ADMIN, LIST)
    assert (again.created, again.unchanged) == (0, 2)
    await bench.apply(agent("web1", "address: web9"))
    assert [one.method for one in await bench.audit()][-3:] == ["agentlist", "agentlist", "apply"]


async def test_f_o15_wrong_lines_are_told_and_the_others_work(bench):
    done = await bench.service.import_agentlist(
        ADMIN, f"{LIST}web3\nweb4,99999\n", source="/etc/agentlist.cfg"
    )
    assert (done.created, done.wrong) == (2, 2)
    assert done.findings[0].startswith("/etc/agentlist.cfg:4: 'web3' has 1 field")
    assert "definition.agentlist" in done.findings[1]


async def test_a_dry_run_says_the_same_and_changes_nothing(bench):
    planned = await bench.service.import_agentlist(VIEWER, LIST, dry_run=True)
    assert (planned.created, planned.dry_run) == (2, True)
    assert await places(bench) == {}
    assert bench.links.changed == []
    with pytest.raises(GrantError):
        await bench.service.import_agentlist(VIEWER, LIST)


async def test_a_place_that_has_a_definition_is_left_as_it_is_and_a_name_that_is_taken_is_made_another(bench):
    await bench.apply(
        agent("mine", "address: web1, tls: off, password: 'u:p'"), agent("web2", "address: elsewhere")
    )
    done = await bench.service.import_agentlist(ADMIN, LIST)
    assert (done.created, done.unchanged) == (1, 1)
    found = await places(bench)
    (fresh,) = set(found) - {"mine", "web2"}
    assert fresh.startswith("web2-")
    assert found[fresh] == "web2:80/SQC"
    again = await bench.service.import_agentlist(ADMIN, LIST)
    assert again.unchanged == 2


async def test_too_many_are_refused_and_what_came_before_stays(bench, monkeypatch):
    monkeypatch.setattr(agentlist, "AGENT_DEFINITIONS_MAX", 3)
    monkeypatch.setattr(agentlist, "SLICE", 2)
    with pytest.raises(DefinitionError, match="more than 3 agent definitions"):
        await bench.service.import_agentlist(ADMIN, "a,1\nb,1\nc,1\nd,1\n")
    assert set(await places(bench)) == {"a", "b"}


# Following


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agentlist.cfg"


@pytest.fixture
def watch(bench, path):
    return AgentListWatch(str(path), ListTaker(bench.store, bench.clock, bench.links.definitions_changed))


def replace_file(path, text):
    """Replace a file as a careful program does: another inode."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


async def test_f_o15_a_file_is_read_at_the_start_and_when_it_changed(bench, path, watch):
    path.write_text(LIST)
    done = await watch.look()
    assert done.created == 2
    assert await watch.look() is None
    replace_file(path, LIST.replace("web2/SQC,80", "web3,23440"))
    done = await watch.look()
    assert (done.created, done.changed, done.unchanged, done.deleted) == (1, 0, 1, 1)
    assert await places(bench) == {"web1": "web1:23440", "web3": "web3:23440"}
    assert (await bench.audit())[-1].actor == "agentlist"


async def test_what_came_from_the_file_is_edited_there_only_and_nothing_else_is_deleted(bench, path, watch):
    await bench.apply(agent("hand", "address: hand"), agent("mine", "address: web1"))
    path.write_text(LIST)
    assert (await watch.look()).created == 1
    with pytest.raises(ConflictError, match=f"agent 'web2' is managed in agentlist:{path}"):
        await bench.apply(agent("web2", "address: b"))
    with pytest.raises(ConflictError, match="is managed in"):
        await bench.service.delete_agent_definition(ADMIN, "web2")
    replace_file(path, "other,1\n")
    await watch.look()
    assert set(await places(bench)) == {"hand", "mine", "other"}


async def test_an_entry_that_moves_keeps_name_agent_and_what_a_list_cannot_say(bench, path, watch):
    path.write_text("web1,23440\nweb2,23440,proxy,3128\n")
    await watch.look()
    await bench.store.write(lambda tx: bind(tx, ADMIN, "web1", "u1", now=NOW))
    replace_file(path, "web1/SQC,443\nweb2,23440\n")
    done = await watch.look()
    assert (done.created, done.changed, done.deleted) == (0, 2, 0)
    row = await bench.store.read(lambda tx: tx.agent_definition("web1"))
    assert (row.uid, row.place, str(definition_of(row).tls)) == ("u1", "web1:443/SQC", "web")
    assert definition_of(await bench.store.read(lambda tx: tx.agent_definition("web2"))).http_proxy == ""


async def test_sec_no_line_of_a_file_sends_a_password_elsewhere_or_in_the_clear(bench, path, watch):
    async def keep():
        row = await bench.store.read(lambda tx: tx.agent_definition("web1"))
        secrets = replace(definition_of(row), http_proxy_password="u:p1", password="u:p2")
        fresh = definition_row(secrets, annotations_of(row), uid="", edition=2)
        await bench.store.write(lambda tx: tx.put_agent_definition(fresh))

    async def kept(text):
        replace_file(path, text)
        assert (await watch.look()).changed == 1
        row = await bench.store.read(lambda tx: tx.agent_definition("web1"))
        return definition_of(row).http_proxy_password, definition_of(row).password

    path.write_text("web1/SQC,443,proxy,3128\n")
    await watch.look()
    await keep()
    assert await kept("web1/other,443,proxy,3128\n") == ("u:p1", "u:p2")
    assert await kept("web1/SQC,443,elsewhere,3128\n") == ("", "u:p2")
    assert await kept("web1/SQC,80,elsewhere,3128\n") == ("", "")


@pytest.mark.parametrize("text", ["", "# nothing\n", "web1,23440\nweb2\n"])
async def test_an_empty_file_or_a_wrong_line_deletes_nothing(bench, path, watch, caplog, text):
    path.write_text(LIST)
    await watch.look()
    replace_file(path, text)
    assert (await watch.look()).deleted == 0
    assert set(await places(bench)) == {"web1", "web2"}
    assert "what it said before holds" in caplog.text or "nothing is deleted until" in caplog.text


async def test_a_file_that_is_gone_or_unreadable_changes_nothing_and_is_said_once(bench, path, watch, caplog):
    path.write_text(LIST)
    await watch.look()
    before = await bench.store.read(lambda tx: tx.agent_definitions())
    path.unlink()
    for _ in range(3):
        assert await watch.look() is None
    assert caplog.text.count("No such file") == 1
    path.mkdir()
    for _ in range(3):
        assert await watch.look() is None
    assert caplog.text.count("it is no regular file") == 1
    path.rmdir()
    os.mkfifo(path)
    assert await watch.look() is None
    path.unlink()
    with path.open("wb") as stream:
        stream.truncate(agentlist_watch.FILE_MAX + 1)
    assert await watch.look() is None
    assert caplog.text.count("larger than 32 MiB") == 1
    assert await bench.store.read(lambda tx: tx.agent_definitions()) == before
    replace_file(path, "web9,1\n")
    assert (await watch.look()).created == 1


async def test_a_file_that_is_written_in_place_is_read_once_it_stays(bench, path, watch):
    path.write_text(LIST)
    await watch.look()
    path.write_text("[AgentList]\n")
    assert await watch.look() is None
    path.write_text("[AgentList]\nweb1,23440\nweb5,23440\n")
    assert await watch.look() is None
    assert (await watch.look()).created == 1
    assert set(await places(bench)) == {"web1", "web5"}


async def test_what_the_database_refuses_is_tried_again_and_said_once(
    bench, path, watch, caplog, monkeypatch
):
    path.write_text(LIST)

    async def fail(*_args, **_more):
        raise LaterError("full", "the disk is full", "Make room")

    class LaterError(StateError):
        retryable = True

    whole = bench.store.write
    monkeypatch.setattr(bench.store, "write", fail)
    for _ in range(3):
        assert await watch.look() is None
    assert caplog.text.count("the disk is full") == 1
    monkeypatch.setattr(bench.store, "write", whole)
    assert (await watch.look()).created == 2

    async def broken(*_args, **_more):
        raise StateError("broken", "the database failed")

    monkeypatch.setattr(bench.store, "write", broken)
    replace_file(path, "web9,1\n")
    with pytest.raises(StateError):
        await watch.look()


async def wait_for(bench, name):
    async with asyncio.timeout(30):
        while list(await places(bench)) != [name]:  # noqa: ASYNC110  # what it waits for sets no event
            await asyncio.sleep(0.001)


async def test_a_watch_goes_on_until_it_is_cancelled(bench, path, watch, monkeypatch):
    monkeypatch.setattr(agentlist_watch, "LOOK", 0.001)
    path.write_text("web1,1\n")
    task = asyncio.ensure_future(watch.run())
    for text in ("web1,1\n", "web2,2\n"):
        replace_file(path, text)
        await wait_for(bench, text.partition(",")[0])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


STAMPS = [Stamp(mtime, size, inode, 1) for mtime in (1, 2) for size in (1, 2) for inode in (1, 2)]


@given(st.lists(st.sampled_from(STAMPS), max_size=12))
def test_whatever_happens_to_a_file_its_last_state_is_read_within_two_looks(states):
    follower, taken = Follower(), None
    for state in states + states[-1:] * 2:
        if follower.is_due(state):
            follower.took(state)
            taken = state
    assert taken == (states[-1] if states else None)
    assert not states or not follower.is_due(states[-1])


ENTRIES = st.lists(
    st.builds(
        lambda host, alias, port: f"{host}{alias},{port}",
        st.sampled_from(["a", "b", "a-1"]),
        st.sampled_from(["", "/x"]),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=6,
)


@given(st.lists(ENTRIES, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_after_every_change_the_definitions_are_those_of_the_list(lists):
    async def follow():
        store, source = MemoryStore(), source_of("/list")
        taker = ListTaker(store, Time(), lambda _names: None)
        for lines in lists:
            listed = read_agentlist("\n".join(lines), "/list")
            await taker.take(listed, grant=ADMIN, source=source)
            rows = await store.read(lambda tx: tx.agent_definitions())
            assert {row.place for row in rows} == {entry.definition.where for entry in listed.entries}
            assert len({row.place for row in rows}) == len(rows)
            again = await taker.take(listed, grant=ADMIN, source=source)
            assert (
                again.unchanged
                == len(rows)
                == again.unchanged + again.created + again.changed + again.deleted
            )

    asyncio.run(follow())
