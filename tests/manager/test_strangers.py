"""What somebody who shows a bad token costs the Manager, and how its bounds are configured."""

import hmac
import random

import pytest

from popham.manager import grant
from popham.manager.book import ManagerBook
from popham.manager.grant import Role
from popham.manager.tokens import create_token, revoke_token
from popham.net.listen_settings import LimitsSettings
from popham.net.seam import Limits, Peer, Refused
from popham.testing.virtual import VirtualClock

TESTER = grant.Grant(actor="tester", role=Role.ADMIN, source="local")


class Untouchable:
    """A store that must not be asked."""

    def __getattr__(self, name):
        pytest.fail(f"the database was asked: {name}")


async def test_sec_8_a_bad_token_costs_no_look_into_the_database_and_one_digest(bench, keys, monkeypatch):
    clock = VirtualClock()
    made = await bench.store.write(
        lambda tx: create_token(
            tx,
            TESTER,
            keys,
            kind="stock",
            group="fleet",
            uses=None,
            lifetime=None,
            accepts=True,
            cidr="",
            now=clock.now(),
            draw=random.Random(7).randbytes,
        )
    )
    book = ManagerBook(bench.store, keys, clock)
    await book.read_tokens()
    book._store = Untouchable()
    compared = []
    monkeypatch.setattr(
        grant.hmac, "compare_digest", lambda *pair: compared.append(pair) or hmac_compare(*pair)
    )
    right = Peer(address="127.0.0.1", bearer=made.secret)
    assert book.identify(right).token
    wrong = made.secret[:-1] + ("0" if made.secret[-1] != "0" else "1")
    unknown = "pops_" + "0" * 16 + "_" + made.secret.rpartition("_")[2]
    for bearer in (wrong, unknown, "x", "x" * 8000, made.secret.replace("pops_", "pop_", 1)):
        with pytest.raises(Refused) as refused:
            book.identify(Peer(address="127.0.0.1", bearer=bearer))
        assert refused.value.refusal.status == 401
    assert len(compared) == 2, "one for the right secret, one for the wrong one; nothing else came so far"


hmac_compare = hmac.compare_digest


def test_every_bound_that_may_be_configured_reaches_the_listener():
    # How many links are held is the hub's matter.
    names = set(LimitsSettings.__struct_fields__) - {"links"}
    changed = {name: (7 if name == "links_per_identity" else 70_000) for name in names - {"keepalive"}}
    found = LimitsSettings(**changed).bounds()
    assert {name: getattr(found, name) for name in changed} == changed
    assert LimitsSettings().bounds() == Limits()


async def test_a_token_is_compared_once_until_it_ends_or_the_table_of_tokens_is_read_anew(
    bench, keys, monkeypatch
):
    clock = VirtualClock()

    def make(cidr, seed):
        return lambda tx: create_token(
            tx,
            TESTER,
            keys,
            kind="stock",
            group="fleet",
            uses=None,
            lifetime=3600.0,
            accepts=True,
            cidr=cidr,
            now=clock.now(),
            draw=random.Random(seed).randbytes,
        )

    everywhere, somewhere = [
        await bench.store.write(make(cidr, seed)) for cidr, seed in (("", 7), ("10.0.0.0/8", 8))
    ]
    book = ManagerBook(bench.store, keys, clock)
    await book.read_tokens()
    compared = []
    monkeypatch.setattr(
        grant.hmac, "compare_digest", lambda *pair: compared.append(pair) or hmac_compare(*pair)
    )
    for _ in range(3):
        assert book.identify(Peer(address="127.0.0.1", bearer=everywhere.secret)).token
    assert len(compared) == 1
    assert book.identify(Peer(address="10.0.0.1", bearer=somewhere.secret)).token
    with pytest.raises(Refused):
        book.identify(Peer(address="127.0.0.1", bearer=somewhere.secret))
    await bench.store.write(lambda tx: revoke_token(tx, TESTER, everywhere.token.id, now=clock.now()))
    await book.read_tokens()
    with pytest.raises(Refused):
        book.identify(Peer(address="127.0.0.1", bearer=everywhere.secret))
    clock.elapsed = 4000.0
    with pytest.raises(Refused):
        book.identify(Peer(address="10.0.0.1", bearer=somewhere.secret))
