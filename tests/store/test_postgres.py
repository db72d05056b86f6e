from __future__ import annotations

import asyncio
import dataclasses

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from tests.store.moment import check_moment

from popham.clock import SystemClock
from popham.errors import ConfigError, ConflictError, StateError
from popham.store import postgres as module
from popham.store.audit import verify_chain
from popham.store.opening import open_store
from popham.store.postgres import PostgresStore
from popham.store.rows import AuditRow, BundleRow, GroupRow
from popham.store.seam import Reading, Writing
from popham.store.tables import metadata
from popham.testing.postgres import Server

BUNDLE = BundleRow(group="web", version=7, serial=1, content_digest="ef", envelope=b"{}")
AUDIT = AuditRow(at=1.0, actor="me", source="::1", method="apply", object="group/web")


def open_at(url: str) -> PostgresStore:
    return PostgresStore.open(url, clock=SystemClock())


def refusal(url: str) -> StateError:
    with pytest.raises(StateError) as caught:
        open_at(url)
    assert caught.value.hint
    return caught.value


def show(tx: Reading, name: str) -> str:
    return str(tx._connection.exec_driver_sql(f"SHOW {name}").scalar())


async def test_what_was_written_is_there_after_opening_again(url: str) -> None:
    for number in range(3):
        store = open_at(url)
        assert await store.read(lambda tx: len(tx.groups())) == number
        await store.write(lambda tx, number=number: tx.put_group(GroupRow(name=f"g{number}", body="{}")))
        await store.aclose()


@pytest.mark.parametrize(
    ("told", "found"), [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
)
async def test_rel_2_a_commit_is_durable_whatever_the_server_was_told(
    url: str, told: str, found: str
) -> None:
    store = open_at(url.replace("-c%20search_path", f"-c%20synchronous_commit%3D{told}%20-c%20search_path"))
    assert await store.write(lambda tx: show(tx, "synchronous_commit")) == found
    await store.aclose()


async def test_a_question_cannot_write_and_sees_one_moment(postgres: PostgresStore) -> None:
    await check_moment(postgres, "read-only")


def test_the_migrations_lead_to_the_tables(url: str) -> None:
    asyncio.run(open_at(url).aclose())
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        plain = "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema() AND"
        plain += " data_type = 'character varying' AND collation_name IS DISTINCT FROM 'C'"
        assert connection.exec_driver_sql(f"{plain} AND table_name != 'alembic_version'").scalar() in {0, 3}
    engine.dispose()


async def test_several_processes_may_migrate_at_once(url: str) -> None:
    stores = await asyncio.gather(*(asyncio.to_thread(open_at, url) for _ in range(4)))
    for store in stores:
        assert await store.read(lambda tx: tx.groups()) == []
        await store.aclose()


async def test_a_database_of_a_newer_form_is_refused(url: str) -> None:
    await open_at(url).aclose()
    with psycopg.connect(url) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    assert refusal(url).code == "state.newer"


async def test_two_stores_write_one_after_the_other_and_share_one_audit_chain(url: str) -> None:
    def count(tx: Writing) -> int:
        value = int(tx.meta("count") or 0) + 1
        tx.set_meta("count", str(value))
        tx.add_audit(dataclasses.replace(AUDIT, after=str(value)))
        return value

    stores = [open_at(url), open_at(url)]
    answers = await asyncio.gather(*(stores[n % 2].write(count) for n in range(200)))
    assert sorted(answers) == list(range(1, 201))
    rows = await stores[0].read(lambda tx: tx.audit())
    verify_chain(rows)
    assert [row.after for row in rows] == [str(value) for value in range(1, 201)]
    for store in stores:
        await store.aclose()


async def test_the_insert_of_group_and_version_decides_which_bytes_were_signed(url: str) -> None:
    def sign(tx: Writing, envelope: bytes) -> bytes:
        try:
            tx.add_bundle(dataclasses.replace(BUNDLE, envelope=envelope))
        except ConflictError:
            held = tx.bundle("web")
            assert held is not None
            return held.envelope
        return envelope

    stores = [open_at(url) for _ in range(3)]
    answers = await asyncio.gather(
        *(store.write(lambda tx, n=n: sign(tx, b"%d" % n)) for n, store in enumerate(stores))
    )
    assert len(set(answers)) == 1
    for store in stores:
        await store.aclose()


async def test_a_bundle_that_is_being_signed_elsewhere_is_waited_for(
    postgres: PostgresStore, url: str
) -> None:
    with psycopg.connect(url) as raw:
        raw.execute(
            "INSERT INTO bundles VALUES ('default', 'web', 7, 1, 'ef', 'other')",
        )
        waiting = asyncio.ensure_future(postgres.write(lambda tx: tx.add_bundle(BUNDLE)))
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        await asyncio.to_thread(raw.commit)
    with pytest.raises(ConflictError, match=r"conflict\.bundle"):
        await waiting


async def test_a_value_that_does_not_fit_fails_its_own_work_only(postgres: PostgresStore) -> None:
    works = [lambda tx, n=n: tx.set_meta(f"k{n}", "v") for n in range(5)]
    too_much = dataclasses.replace(BUNDLE, version=2**63)
    answers = await asyncio.gather(
        *map(postgres.write, works),
        postgres.write(lambda tx: tx.add_bundle(too_much)),
        return_exceptions=True,
    )
    assert answers[:5] == [None] * 5
    assert isinstance(answers[5], Exception)
    assert await postgres.read(lambda tx: [tx.meta(f"k{n}") for n in range(5)]) == ["v"] * 5


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_transaction_that_another_spoiled_is_tried_again(postgres: PostgresStore, state: str) -> None:
    runs = []

    def work(tx: Writing) -> int:
        tx.add_audit(AUDIT)
        runs.append(1)
        if len(runs) < 3:
            raised = f"DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '{state}'; END $$"
            tx._connection.exec_driver_sql(raised)
        return len(runs)

    assert await postgres.write(work) == 3
    assert len(await postgres.read(lambda tx: tx.audit())) == 1


async def test_a_database_that_another_holds_for_long_sheds(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_TIMEOUT_MS", 50)
    store = open_at(url)
    with psycopg.connect(url) as raw:
        raw.execute(f"SELECT pg_advisory_xact_lock({module.LOCK})")
        with pytest.raises(StateError) as caught:
            await store.write(lambda tx: tx.set_meta("a", "b"))
        assert (caught.value.code, caught.value.retryable) == ("state.busy", True)
    await store.write(lambda tx: tx.set_meta("a", "c"))
    assert await store.read(lambda tx: tx.meta("a")) == "c"
    await store.aclose()


async def test_a_table_that_is_gone_breaks_the_store(postgres: PostgresStore, url: str) -> None:
    watch = asyncio.ensure_future(postgres.watch())
    with psycopg.connect(url) as raw:
        raw.execute("DROP TABLE groups")
    with pytest.raises(StateError, match=r"state\.unreadable"):
        await postgres.read(lambda tx: tx.groups())
    with pytest.raises(StateError, match=r"state\.broken"):
        await postgres.write(lambda tx: tx.groups())
    with pytest.raises(StateError, match=r"state\.broken"):
        await watch


@pytest.mark.parametrize(
    "url",
    ["mysql://a:hunter2@b/c", "postgresql://a:hunter2@[b/c", "postgresql://a:hunter2@b/c?colour=red"],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.database") as caught:
        open_store(url, None, clock=SystemClock())
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_not_there_is_said(server: Server) -> None:
    found = refusal("postgresql://a:hunter2@/c?host=/nowhere")
    assert (found.code, found.retryable) == ("state.unreachable", True)
    assert "hunter2" not in str(found)
    assert refusal(server.url.replace("/postgres?", "/absent?")).code == "state.unreachable"


def test_a_database_that_would_not_keep_every_text_is_refused(server: Server) -> None:
    with psycopg.connect(server.url, autocommit=True) as raw:
        raw.execute(
            "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    found = refusal(server.url.replace("/postgres?", "/ascii?"))
    assert (found.code, "SQL_ASCII" in found.problem) == ("state.unusable", True)


def test_a_role_that_may_not_create_tables_is_refused(server: Server, url: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as raw:
        raw.execute("DROP ROLE IF EXISTS reader")
        raw.execute("CREATE ROLE reader LOGIN")
    found = refusal(url.replace("user=popham", "user=reader"))
    assert found.code == "state.unusable"


def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST_POSTGRESQL", 990000)
    assert "99 is the oldest" in refusal(url).hint
