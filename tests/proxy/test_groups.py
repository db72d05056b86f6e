import pytest

from popham.errors import TrustError
from popham.model.names import digest
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.cache import ProxyCache
from popham.proxy.groups import ProxyGroups
from popham.proxy.told import known
from popham.trust.keys import SigningKey
from popham.trust.tuf import TrustedTuf, create_root, create_targets

from .desk import CLOCK, DIRECTOR, ROOT, TARGETS, TUF, body_of, group_told

ONE, TWO = body_of("one"), body_of("two")


@pytest.fixture
async def groups(tmp_path):
    cache = ProxyCache(tmp_path)
    await cache.load()
    return ProxyGroups(cache, lambda: TUF)


def tell(groups, told):
    return groups.tell(told, known(told.name.encode(), told.SerializeToString()))


def bring(groups, body, step=7, name=""):
    changed = []
    for at in range(0, len(body), step):
        part = body[at : at + step]
        changed += groups.bring(
            wire.Body(sha256=name or digest(body), offset=at, length=len(body), data=part)
        )
    return changed


def test_a_bundle_is_current_once_all_its_bodies_are_here_and_the_former_serves_until_then(groups):
    tell(groups, group_told(ONE))
    assert groups.wanted("fleet") is None
    assert bring(groups, ONE) == ["fleet"]
    assert not tell(groups, group_told(ONE, TWO, version=2))
    assert groups.wanted("fleet").serial == 1
    assert groups.coming == ["fleet"]
    assert [sha256 for sha256, _ in groups.lacks()] == [digest(TWO)]
    assert bring(groups, TWO) == ["fleet"]
    assert groups.wanted("fleet").serial == 2
    assert dict(groups.wanted("fleet").blobs) == {digest(ONE): ONE, digest(TWO): TWO}


def test_what_it_has_of_a_body_is_not_asked_for_again(groups):
    tell(groups, group_told(ONE))
    groups.bring(wire.Body(sha256=digest(ONE), offset=0, length=len(ONE), data=ONE[:5]))
    groups.bring(wire.Body(sha256=digest(ONE), offset=0, length=len(ONE), data=ONE[:5]))
    assert list(groups.lacks()) == [(digest(ONE), 5)]


def test_sec_24_a_body_that_is_not_what_the_bundle_names_is_never_given(groups):
    tell(groups, group_told(ONE))
    for _ in range(3):
        assert not bring(groups, ONE[:-1] + b"X", name=digest(ONE))
    assert groups.wanted("fleet") is None
    assert not list(groups.lacks()), "it is not asked for for ever"
    groups.ask_again()
    assert bring(groups, ONE) == ["fleet"]


def test_a_body_that_nobody_asked_for_is_not_kept(groups):
    assert not bring(groups, TWO)
    assert not groups.needed()


def test_one_that_is_not_to_be_had_is_asked_for_again_later(groups):
    tell(groups, group_told(ONE))
    groups.bring(wire.Body(sha256=digest(ONE), absent=True))
    assert not list(groups.lacks())
    groups.ask_again()
    assert [sha256 for sha256, _ in groups.lacks()] == [digest(ONE)]


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (group_told(TWO, version=3, signer=SigningKey.create()), "trust.signature"),
        (group_told(TWO, version=1), "trust.rollback"),
        (group_told(TWO, version=2), "trust.equivocation"),
        (
            wire.GroupTold(name="fleet", envelope=group_told(name="other", version=9).envelope),
            "trust.audience",
        ),
        (wire.GroupTold(name="../x", envelope=b"{}"), "trust.audience"),
        (wire.GroupTold(name="fleet", envelope=b"x"), "trust.envelope"),
    ],
)
def test_sec_21_a_bundle_that_is_not_believed_changes_nothing(groups, told, code):
    tell(groups, group_told(ONE, version=2))
    bring(groups, ONE)
    with pytest.raises(TrustError) as refused:
        tell(groups, told)
    assert refused.value.code == code
    assert groups.wanted("fleet").version == 2
    assert code in groups.refused[told.name]
    tell(groups, group_told(ONE, version=4))
    assert "fleet" not in groups.refused


def test_a_bundle_above_that_of_a_manager_that_was_restored_is_shown_to_it(groups):
    shown = []
    groups.on_above = lambda name, envelope: shown.append((name, envelope))
    newer = group_told(ONE, version=5)
    tell(groups, newer)
    with pytest.raises(TrustError):
        tell(groups, group_told(TWO, version=4))
    assert shown == [("fleet", newer.envelope)]


async def test_one_that_goes_with_newer_metadata_is_looked_at_again_with_that(tmp_path):
    director = SigningKey.create()
    root = create_root(ROOT, TARGETS.public, now=CLOCK.now())
    held = [TrustedTuf.from_bytes(root, create_targets(TARGETS, DIRECTOR.public, now=CLOCK.now()))]
    cache = ProxyCache(tmp_path)
    await cache.load()
    groups = ProxyGroups(cache, lambda: held[0])
    with pytest.raises(TrustError):
        tell(groups, group_told(signer=director))
    assert not groups.retry(known)
    held[0] = TrustedTuf.from_bytes(root, create_targets(TARGETS, director.public, now=CLOCK.now()))
    assert groups.retry(known) == ["fleet"]
    assert groups.wanted("fleet").serial == 1
    assert not groups.refused


def test_a_group_that_is_gone_is_forgotten(groups):
    tell(groups, group_told(ONE))
    bring(groups, ONE)
    assert tell(groups, wire.GroupTold(name="fleet", gone=True))
    assert groups.wanted("fleet") is None
    assert not groups.needed()
    assert not list(groups.known())


def test_sec_28_secrets_are_guarded_only_where_a_serial_is_asked_for(groups):
    tell(groups, group_told(guarded=[digest(ONE)]))
    assert not groups.wanted("fleet").guarded
    tell(groups, group_told(ONE, version=2, guarded=[digest(ONE), digest(TWO)], minimum_serial=5))
    bring(groups, ONE)
    assert groups.wanted("fleet").guarded == {digest(ONE)}
