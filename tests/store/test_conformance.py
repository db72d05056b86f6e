"""What every filling of the store's seam promises."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popham.errors import ConflictError, StateError
from popham.store.audit import verify_chain
from popham.store.rows import (
    AdminRow,
    AgentRow,
    AuditRow,
    BundleRow,
    Contact,
    GroupRow,
    Kept,
    PolicyRow,
    RevisionRow,
    Said,
    TokenRow,
)
from popham.store.seam import Store, Writing

GROUP = GroupRow(name="web", body='{"parent":"fleet"}', edition=3)
POLICY = PolicyRow(name="motd", type="files", revision=2, sha256="ab", private_to="web", labels='{"a":"b"}')
REVISION = RevisionRow(
    name="motd", revision=2, type="files", sha256="ab", encoded=b"\0\xff", author="me", at=1.5, message="é"
)
AGENT = AgentRow(
    uid="0199",
    name="web-1",
    group="web",
    kind="own",
    admission="accepted",
    first_seen=1.25,
    spki="cd",
    public_key=b"\1",
    capabilities=2**64 - 1,
    sequence=2**64 - 1,
    state_revision=2**63,
)
TOKEN = TokenRow(
    id="t1", kind="stock", group="web", public=b"\2", created=5.0, expires=9.0, uses_left=-1, accepts=True
)
BUNDLE = BundleRow(group="web", version=7, serial=1, content_digest="ef", envelope=b"{}")
ADMIN = AdminRow(id="a1", name="me", role="admin", secret=b"\3", created=1.0, expires=2.0, revoked=True)
AUDIT = AuditRow(at=1.0, actor="me", source="::1", method="apply", object="group/web", after="{}")


def agent(uid: str, **fields: object) -> AgentRow:
    return dataclasses.replace(AGENT, uid=uid, **fields)


async def test_every_row_comes_back_as_it_was_written(store: Store) -> None:
    def put(tx: Writing) -> None:
        tx.set_meta("key", "value")
        tx.put_group(GROUP)
        tx.put_policy(POLICY)
        tx.add_revision(REVISION)
        tx.put_agent(AGENT)
        tx.put_token(TOKEN)
        tx.add_bundle(BUNDLE)
        tx.put_admin(ADMIN)

    await store.write(put)
    assert await store.read(lambda tx: tx.meta("key")) == "value"
    assert await store.read(lambda tx: (tx.group("web"), tx.groups())) == (GROUP, [GROUP])
    assert await store.read(lambda tx: (tx.policy("motd"), tx.policies())) == (POLICY, [POLICY])
    assert await store.read(lambda tx: (tx.revision("motd", 2), tx.revisions("motd"))) == (
        REVISION,
        [REVISION],
    )
    assert await store.read(lambda tx: tx.encoded("ab")) == b"\0\xff"
    assert await store.read(lambda tx: tx.group_bodies()) == {"web": GROUP.body}
    assert await store.read(lambda tx: tx.policy_lengths()) == {"motd": 2}
    assert await store.read(lambda tx: (tx.agent("0199"), tx.agents())) == (AGENT, [AGENT])
    assert await store.read(lambda tx: (tx.agents_named("web-1"), tx.agent_by_spki("cd"))) == ([AGENT], AGENT)
    assert await store.read(lambda tx: (tx.token("t1"), tx.tokens())) == (TOKEN, [TOKEN])
    assert await store.read(lambda tx: (tx.bundle("web"), tx.bundles())) == (BUNDLE, [BUNDLE])
    assert await store.read(lambda tx: (tx.admin("a1"), tx.admins())) == (ADMIN, [ADMIN])


async def test_what_is_not_there_is_none_or_nothing(store: Store) -> None:
    for question in (
        "meta",
        "group",
        "policy",
        "encoded",
        "agent",
        "agent_by_spki",
        "token",
        "bundle",
        "admin",
    ):
        assert await store.read(lambda tx, question=question: getattr(tx, question)("x")) is None
    assert await store.read(lambda tx: tx.revision("x", 1)) is None
    for question in ("groups", "policies", "agents", "tokens", "bundles", "admins", "audit"):
        assert await store.read(lambda tx, question=question: getattr(tx, question)()) == []
    assert await store.read(lambda tx: (tx.revisions("x"), tx.agents_named("x"))) == ([], [])


async def test_put_replaces_the_row_with_the_same_key(store: Store) -> None:
    await store.write(lambda tx: tx.put_group(GROUP))
    await store.write(lambda tx: tx.put_group(dataclasses.replace(GROUP, body="{}", edition=4)))
    assert await store.read(lambda tx: [row.edition for row in tx.groups()]) == [4]
    await store.write(lambda tx: tx.set_meta("key", "1"))
    await store.write(lambda tx: tx.set_meta("key", "2"))
    assert await store.read(lambda tx: tx.meta("key")) == "2"


async def test_deleting_is_final_and_may_be_repeated(store: Store) -> None:
    def put(tx: Writing) -> None:
        tx.put_group(GROUP)
        tx.put_policy(POLICY)
        tx.add_revision(REVISION)
        tx.put_agent(AGENT)

    def delete(tx: Writing) -> None:
        tx.delete_group("web")
        tx.delete_policy("motd")
        tx.delete_agent("0199")

    await store.write(put)
    await store.write(delete)
    await store.write(delete)
    assert await store.read(lambda tx: (tx.groups(), tx.policies(), tx.agents())) == ([], [], [])
    assert await store.read(lambda tx: tx.revisions("motd")) == [REVISION]


async def test_revisions_and_bundles_are_never_replaced(store: Store) -> None:
    await store.write(lambda tx: (tx.add_revision(REVISION), tx.add_bundle(BUNDLE)))
    with pytest.raises(ConflictError, match=r"conflict\.revision"):
        await store.write(lambda tx: tx.add_revision(dataclasses.replace(REVISION, encoded=b"other")))
    with pytest.raises(ConflictError, match=r"conflict\.bundle"):
        await store.write(lambda tx: tx.add_bundle(dataclasses.replace(BUNDLE, envelope=b"other")))
    assert await store.read(lambda tx: (tx.encoded("ab"), tx.bundle("web"))) == (b"\0\xff", BUNDLE)


async def test_work_may_go_on_after_a_conflict_it_handles(store: Store) -> None:
    def work(tx: Writing) -> BundleRow | None:
        tx.set_meta("before", "kept")
        try:
            tx.add_bundle(dataclasses.replace(BUNDLE, envelope=b"other"))
        except ConflictError:
            return tx.bundle("web")
        return None

    await store.write(lambda tx: tx.add_bundle(BUNDLE))
    assert await store.write(work) == BUNDLE
    assert await store.read(lambda tx: tx.meta("before")) == "kept"


async def test_work_that_fails_changes_nothing(store: Store) -> None:
    def work(tx: Writing) -> None:
        tx.put_group(dataclasses.replace(GROUP, edition=9))
        tx.put_agent(AGENT)
        tx.add_audit(AUDIT)
        raise LookupError("no such thing")

    await store.write(lambda tx: tx.put_group(GROUP))
    with pytest.raises(LookupError, match="no such thing"):
        await store.write(work)
    assert await store.read(lambda tx: (tx.groups(), tx.agents(), tx.audit())) == ([GROUP], [], [])


async def test_work_sees_its_own_changes(store: Store) -> None:
    def work(tx: Writing) -> tuple[GroupRow | None, GroupRow | None]:
        tx.put_group(GROUP)
        there = tx.group("web")
        tx.delete_group("web")
        return there, tx.group("web")

    assert await store.write(work) == (GROUP, None)


async def test_many_writers_at_once_are_one_after_the_other(store: Store) -> None:
    def count(tx: Writing) -> int:
        value = int(tx.meta("count") or 0) + 1
        tx.set_meta("count", str(value))
        return value

    def fail(tx: Writing) -> int:
        tx.set_meta("count", "-1000")
        raise LookupError

    answers = await asyncio.gather(
        *(store.write(count if index % 3 else fail) for index in range(300)), return_exceptions=True
    )
    counted = [answer for answer in answers if isinstance(answer, int)]
    assert counted == list(range(1, 201))
    assert sum(isinstance(answer, LookupError) for answer in answers) == 100
    assert await store.read(lambda tx: tx.meta("count")) == "200"


async def test_agents_come_by_uid_in_pages_and_by_group(store: Store) -> None:
    def put(tx: Writing) -> None:
        for number in (3, 1, 2, 5, 4):
            tx.put_agent(agent(f"u{number}", group="web" if number % 2 else "db", spki="", name="same"))

    await store.write(put)

    async def uids(**options: object) -> list[str]:
        return await store.read(lambda tx: [row.uid for row in tx.agents(**options)])

    assert await uids() == ["u1", "u2", "u3", "u4", "u5"]
    assert await uids(after="u2", limit=2) == ["u3", "u4"]
    assert await uids(group="web") == ["u1", "u3", "u5"]
    assert await store.read(lambda tx: tx.agent_counts()) == {"web": 3, "db": 2}
    assert await store.read(lambda tx: tx.agent_counts(["db", "none"])) == {"db": 2}
    assert await uids(group="web", after="u1", limit=1) == ["u3"]
    assert await uids(group="none") == []
    assert await uids(limit=0) == []
    named = await store.read(lambda tx: tx.agents_named("same"))
    assert [row.uid for row in named] == ["u1", "u2", "u3", "u4", "u5"]
    assert await store.read(lambda tx: tx.agent_by_spki("")) is None


async def test_agents_come_in_the_order_of_their_characters_numbers(store: Store) -> None:
    uids = [
        "\0",
        "\0\0",
        "\0\2",
        "\1",
        "\1\1",
        "\2",
        " ",
        "-",
        "A",
        "B",
        "_",
        "a",
        "é",
        "Ω",
        "\uffff",
        "\U00010000",
    ]
    await store.write(lambda tx: [tx.put_agent(agent(uid)) for uid in reversed(uids)])
    assert await store.read(lambda tx: [row.uid for row in tx.agents()]) == uids
    for place, uid in enumerate(uids):
        assert (
            await store.read(lambda tx, uid=uid: [row.uid for row in tx.agents(after=uid)])
            == uids[place + 1 :]
        )


async def test_what_is_kept_of_an_agent_is_what_its_row_says(store: Store) -> None:
    rows = [agent(f"u{number}", name=f"Ω\1{number}", state=b"\0\1", last_contact=1.5) for number in range(5)]
    rows[2] = dataclasses.replace(rows[2], last_contact=None)
    await store.write(lambda tx: [tx.put_agent(row) for row in reversed(rows)])
    await store.write(lambda tx: tx.put_agent(agent("u9", tenant="other")))
    kept = await store.read(lambda tx: tx.agents_kept(after="u0", limit=3))
    assert kept == [Kept(*(getattr(row, name) for name in Kept._fields)) for row in rows[1:4]]
    assert len(await store.read(lambda tx: tx.agents_kept())) == len(await store.read(lambda tx: tx.agents()))


async def test_the_newest_agent_of_a_key_is_found(store: Store) -> None:
    await store.write(lambda tx: (tx.put_agent(agent("u2")), tx.put_agent(agent("u1"))))
    found = await store.read(lambda tx: tx.agent_by_spki("cd"))
    assert found is not None
    assert found.uid == "u2"


async def test_newest_comes_first_where_people_look_for_it(store: Store) -> None:
    def put(tx: Writing) -> None:
        for number in (2, 10, 1):
            tx.add_revision(dataclasses.replace(REVISION, revision=number))
            tx.put_token(dataclasses.replace(TOKEN, id=f"t{number}", created=float(number)))
            tx.add_bundle(dataclasses.replace(BUNDLE, version=number))
            tx.add_bundle(dataclasses.replace(BUNDLE, version=number * 2, group="db"))

    await store.write(put)
    assert await store.read(lambda tx: [row.revision for row in tx.revisions("motd")]) == [10, 2, 1]
    assert await store.read(lambda tx: (tx.revision_numbers("motd"), tx.revision_numbers("x"))) == (
        [10, 2, 1],
        [],
    )
    assert await store.read(lambda tx: [row.id for row in tx.tokens()]) == ["t10", "t2", "t1"]
    assert await store.read(lambda tx: [(row.group, row.version) for row in tx.bundles()]) == [
        ("db", 20),
        ("web", 10),
    ]
    newest = await store.read(lambda tx: tx.bundle("web"))
    assert newest is not None
    assert newest.version == 10


async def test_contacts_are_noted_and_agents_that_are_gone_skipped(store: Store) -> None:
    await store.write(lambda tx: tx.put_agent(AGENT))
    batch = [
        Contact("gone", 5.0),
        Contact("0199", 6.0, "192.0.2.1", 300.0, 4),
        Contact("0199", 7.0, "192.0.2.2", 600.0, 2**64 - 1),
    ]
    await store.write(lambda tx: tx.contacts(batch))
    await store.write(lambda tx: tx.contacts([]))
    assert await store.read(lambda tx: tx.agents()) == [
        dataclasses.replace(AGENT, last_contact=7.0, address="192.0.2.2", promise=600.0, sequence=2**64 - 1)
    ]


async def test_what_agents_said_is_noted_and_the_rest_of_their_rows_is_left(store: Store) -> None:
    await store.write(lambda tx: tx.put_agent(AGENT))
    said = Said(
        uid="0199",
        kind="own",
        capabilities=2**64 - 1,
        description='{"host.name": "web-1"}',
        state=b"envelope",
        state_revision=7,
        remote="{}",
        last_contact=8.0,
        promise=60.0,
        address="192.0.2.3",
        sequence=5,
    )
    await store.write(lambda tx: tx.reports([dataclasses.replace(said, uid="gone"), said]))
    await store.write(lambda tx: tx.reports([]))
    assert await store.read(lambda tx: tx.agents()) == [
        dataclasses.replace(AGENT, **dataclasses.asdict(said))
    ]


async def test_rows_of_another_tenant_are_not_seen(store: Store) -> None:
    def put(tx: Writing) -> None:
        tx.put_group(dataclasses.replace(GROUP, tenant="other"))
        tx.put_agent(dataclasses.replace(AGENT, tenant="other"))
        tx.add_bundle(dataclasses.replace(BUNDLE, tenant="other"))
        tx.delete_group("web")
        tx.contacts([Contact("0199", 1.0)])

    await store.write(put)
    assert await store.read(lambda tx: (tx.groups(), tx.agents(), tx.bundles())) == ([], [], [])
    await store.write(lambda tx: tx.add_bundle(BUNDLE))
    assert await store.read(lambda tx: tx.bundles()) == [BUNDLE]


async def test_sec_40_changes_form_a_chain(store: Store) -> None:
    for number in range(3):
        row = await store.write(lambda tx, number=number: tx.add_audit(dataclasses.replace(AUDIT, at=number)))
        assert row.seq == number + 1
    rows = await store.read(lambda tx: tx.audit())
    assert [row.seq for row in rows] == [1, 2, 3]
    assert [row.prev for row in rows] == ["", rows[0].hash, rows[1].hash]
    assert verify_chain(rows) == rows[-1].hash
    assert await store.read(lambda tx: tx.audit(after=1, limit=1)) == rows[1:2]
    assert await store.read(lambda tx: tx.audit(after=3)) == []


async def test_a_closed_store_says_so(store: Store) -> None:
    watch = asyncio.ensure_future(store.watch())
    await asyncio.sleep(0)
    assert not watch.done()
    await store.aclose()
    await store.aclose()
    await watch
    for call in (store.write, store.read):
        with pytest.raises(StateError, match=r"state\.closed"):
            await call(lambda tx: tx.groups())


text = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    row=st.builds(
        AgentRow,
        uid=text.filter(bool),
        name=text,
        group=text,
        kind=text,
        admission=text,
        first_seen=st.floats(allow_nan=False),
        description=text,
        state=st.binary(max_size=50),
        capabilities=st.integers(0, 2**64 - 1),
        sequence=st.integers(-1, 2**64 - 1),
        last_contact=st.none() | st.floats(allow_nan=False),
    )
)
async def test_any_agent_comes_back_as_it_was_written(store: Store, row: AgentRow) -> None:
    await store.write(lambda tx: tx.put_agent(row))
    assert await store.read(lambda tx: tx.agent(row.uid)) == row


async def test_many_agents_are_put_and_read_at_once(store: Store) -> None:
    rows = [agent(f"u{number:04}") for number in range(450)]
    await store.write(lambda tx: (tx.put_agent(agent("u0001", name="old")), tx.put_agents(iter(rows))))
    asked = [*(row.uid for row in rows[:250]), "gone"]
    assert await store.read(lambda tx: tx.agents_of(asked)) == {row.uid: row for row in rows[:250]}
    assert await store.read(lambda tx: tx.agents_of([])) == {}
