import asyncio
import dataclasses

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, Time, group, machine

from popham.errors import DefinitionError, EnrollmentError, GrantError, NotFoundError
from popham.manager.agents import join_agent
from popham.manager.tokens import find_stock, may_use, use_stock, use_token
from popham.model.names import digest
from popham.store.rows import TokenRow
from popham.store.sqlite import SqliteStore
from popham.trust.join import EnrollmentKey, JoinString


async def make(bench, **more):
    return await bench.service.create_token(ADMIN, **more)


async def join(bench, token, who, *, store=None, at=NOW, address="192.0.2.9"):
    def work(tx):
        row = use_token(tx, token, who["spki"], now=at, address=address)
        return join_agent(tx, bench.keys.director, row, name="web", now=at, address=address, **who)

    return await (store or bench.store).write(work)


async def refusal(bench, token, who=None, **more):
    with pytest.raises(EnrollmentError) as caught:
        await join(bench, token, who or machine(), **more)
    return caught.value.code


async def test_a_join_string_pins_the_ca_and_the_root(bench):
    made = await make(bench)
    parsed = JoinString.parse(made.secret)
    assert parsed.urls == bench.keys.urls
    assert (parsed.ca, parsed.root) == (bench.keys.ca.spki_sha256, digest(bench.keys.root))
    assert EnrollmentKey.from_seed(parsed.seed).token_id == made.token.id


async def test_sec_16_only_the_public_half_of_a_token_is_kept(bench):
    made = await make(bench)
    seed = JoinString.parse(made.secret).seed
    row = await bench.store.read(lambda tx: tx.token(made.token.id))
    assert row.public == EnrollmentKey.from_seed(seed).public_der
    kept = str(dataclasses.astuple(row)) + str(await bench.audit())
    assert seed.hex() not in kept
    assert made.secret not in kept


async def test_a_token_lives_an_hour_is_for_one_agent_and_accepts_nobody(bench):
    token = (await make(bench)).token
    assert (token.expires - token.created, token.uses_left, token.accepts, token.state) == (
        3600.0,
        1,
        False,
        "usable",
    )


@pytest.mark.parametrize(
    "more",
    [
        {"lifetime": 0},
        {"lifetime": 31 * 86400.0},
        {"lifetime": float("nan")},
        {"uses": 0},
        {"uses": -1},
        {"uses": 10**9},
        {"cidr": "10.0.0.0/99"},
        {"cidr": "10.0.0.1/8"},
        {"cidr": ",".join(["10.0.0.0/8"] * 33)},
        {"kind": "enrolment"},
    ],
)
async def test_a_token_with_a_wrong_value_is_refused(bench, more):
    with pytest.raises(DefinitionError) as caught:
        await make(bench, **more)
    assert caught.value.code == "definition.token"
    assert await bench.service.tokens(ADMIN) == ()


async def test_a_token_for_an_unknown_group_is_refused(bench):
    await bench.apply(group("paris"))
    with pytest.raises(NotFoundError) as caught:
        await make(bench, group="pari")
    assert caught.value.hint == "Did you mean 'paris'?"


async def test_an_agent_lands_in_the_tokens_group_and_waits(bench):
    await bench.apply(group("paris"))
    made = await make(bench, group="paris")
    row = await join(bench, made.token.id, machine())
    assert (row.group, row.admission, row.token, row.assignment) == ("paris", "new", made.token.id, b"")


async def test_a_token_that_accepts_gives_the_assignment_at_once(bench):
    made = await make(bench, accepts=True)
    row = await join(bench, made.token.id, machine())
    assert row.admission == "accepted"
    assert row.assignment


async def test_a_used_up_token_is_refused(bench):
    made = await make(bench)
    await join(bench, made.token.id, machine())
    assert await refusal(bench, made.token.id) == "enrollment.used_up_token"
    assert (await bench.service.tokens(ADMIN))[0].state == "used up"


async def test_an_expired_token_is_refused(bench):
    made = await make(bench, lifetime=60.0)
    assert await refusal(bench, made.token.id, at=NOW + 60) == "enrollment.expired_token"
    bench.clock.at += 60
    assert (await bench.service.tokens(VIEWER))[0].state == "expired"


async def test_a_revoked_token_is_refused(bench):
    made = await make(bench)
    view = await bench.service.revoke_token(ADMIN, made.token.id)
    assert view.state == "revoked"
    assert await refusal(bench, made.token.id) == "enrollment.revoked_token"
    assert [row.method for row in await bench.audit()] == ["token.create", "token.revoke"]
    assert bench.links.changed == ["tokens", "tokens"]


async def test_an_unknown_token_is_refused(bench):
    assert await refusal(bench, "0" * 16) == "enrollment.unknown_token"
    with pytest.raises(NotFoundError):
        await bench.service.revoke_token(ADMIN, "0" * 16)


async def test_a_stock_token_enrolls_none_of_our_agents(bench):
    made = await make(bench, kind="stock")
    assert await refusal(bench, made.token.id) == "enrollment.unknown_token"


async def test_a_token_is_refused_from_another_network(bench):
    made = await make(bench, cidr="10.0.0.0/8, 2001:db8::/32", uses=2)
    assert await refusal(bench, made.token.id, address="192.0.2.1") == "enrollment.address"
    await join(bench, made.token.id, machine(), address="10.1.2.3")
    await join(bench, made.token.id, machine(), address="2001:db8::7")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.1.1", True),
        ("::ffff:10.1.1.1", True),
        ("11.1.1.1", False),
        ("fe80::1%eth0", False),
        ("somewhere", False),
        ("", False),
    ],
)
def test_a_network_is_compared_with_the_address(address, allowed):
    row = TokenRow(
        id="x",
        kind="enrollment",
        group="fleet",
        public=b"",
        created=0,
        expires=1,
        uses_left=1,
        cidr="10.0.0.0/8",
    )
    assert may_use(row, address) is allowed


async def test_sec_16_an_enrollment_that_is_repeated_counts_once(bench):
    made, who = await make(bench), machine()
    first = await join(bench, made.token.id, who)
    again = await join(bench, made.token.id, who, at=NOW + 7200)
    assert again == first
    assert (await bench.service.tokens(ADMIN))[0].uses == 1


async def test_a_refused_agent_does_not_come_back_by_repeating_its_enrollment(bench):
    made, who = await make(bench), machine()
    await join(bench, made.token.id, who)
    await bench.service.refuse(ADMIN, "web")
    assert await refusal(bench, made.token.id, who) == "enrollment.refused"
    await bench.service.accept(ADMIN, "web")
    await bench.service.revoke(ADMIN, "web")
    assert await refusal(bench, made.token.id, who) == "enrollment.revoked"


async def test_a_uid_never_passes_to_another_key(bench):
    made, who = await make(bench, uses=3), machine()
    await join(bench, made.token.id, who)
    other = machine() | {"uid": who["uid"]}
    assert await refusal(bench, made.token.id, other) == "enrollment.uid_taken"
    assert (await bench.service.tokens(ADMIN))[0].uses == 1


async def test_a_key_never_belongs_to_two_agents(bench):
    made, who = await make(bench, uses=3), machine()
    await join(bench, made.token.id, who)
    assert await refusal(bench, made.token.id, who | {"uid": machine()["uid"]}) == "enrollment.key_taken"


async def test_sec_16_of_200_parallel_enrollments_on_five_uses_exactly_five_succeed(bench, tmp_path):
    store = SqliteStore.open(tmp_path / "popham.db", clock=Time())
    try:
        made = await make(bench, uses=5)
        row = await bench.store.read(lambda tx: tx.token(made.token.id))
        await store.write(lambda tx: tx.put_token(row))
        agents = [join(bench, row.id, machine(), store=store) for _ in range(200)]
        results = await asyncio.gather(*agents, return_exceptions=True)
        refused = [result.code for result in results if isinstance(result, EnrollmentError)]
        assert refused == ["enrollment.used_up_token"] * 195
        joined = await store.read(lambda tx: tx.agents())
        token = await store.read(lambda tx: tx.token(row.id))
        assert (len(joined), token.uses, token.uses_left) == (5, 5, 0)
        assert sorted(row.name for row in joined) == ["web", "web-2", "web-3", "web-4", "web-5"]
    finally:
        await store.aclose()


async def test_a_stock_token_is_a_bearer_token_that_is_reusable(bench):
    made = await make(bench, kind="stock", accepts=True)
    assert made.secret.startswith(f"pops_{made.token.id}_")
    assert made.token.uses_left == -1

    def work(tx):
        row = find_stock(tx, made.secret, now=NOW, address="192.0.2.1")
        return [use_stock(tx, row, None, now=NOW) for _ in range(3)][-1].uses

    assert await bench.store.write(work) == 3


async def test_a_stock_agent_that_comes_back_counts_once(bench):
    made = await make(bench, kind="stock", uses=1)
    uid = machine()["uid"]

    def work(tx):
        token = use_stock(tx, find_stock(tx, made.secret, now=NOW, address=""), tx.agent(uid), now=NOW)
        return join_agent(
            tx, bench.keys.director, token, uid=uid, kind="stock", name="otel", now=NOW, address="192.0.2.1"
        )

    assert await bench.store.write(work) == await bench.store.write(work)
    assert (await bench.service.tokens(ADMIN))[0].uses == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s[:-1] + ("0" if s[-1] != "0" else "1"),
        lambda s: "pop" + s[4:],
        lambda s: "",
        lambda s: s + "0",
    ],
)
async def test_a_wrong_stock_token_is_refused(bench, spoil):
    made = await make(bench, kind="stock")
    with pytest.raises(GrantError) as caught:
        await bench.store.read(lambda tx: find_stock(tx, spoil(made.secret), now=NOW, address=""))
    assert caught.value.code == "grant.unknown_token"


async def test_a_stock_token_expires_and_is_revoked(bench):
    made = await make(bench, kind="stock", lifetime=60.0)
    with pytest.raises(GrantError, match="expired"):
        await bench.store.read(lambda tx: find_stock(tx, made.secret, now=NOW + 61, address=""))
    await bench.service.revoke_token(ADMIN, made.token.id)
    with pytest.raises(GrantError, match="not known"):
        await bench.store.read(lambda tx: find_stock(tx, made.secret, now=NOW, address=""))
