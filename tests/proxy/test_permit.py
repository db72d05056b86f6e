"""The key of a proxy that visits, and the statements about it that count."""

import uuid
from dataclasses import replace

import pytest

from popham.proxy.permit import VisitorPermit, keep_key
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock
from popham.trust.keys import SigningKey
from popham.trust.tuf import TrustedTuf
from popham.trust.visitor import Visitor, seal_visitor

UID = str(uuid.UUID(int=7, version=4))


@pytest.fixture(scope="session")
def keys():
    return make_keys(VirtualClock())


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def permit(keys, clock):
    tuf = TrustedTuf.from_bytes(keys.root, keys.targets)
    return VisitorPermit(SigningKey.create(), uid=UID, tuf=lambda: tuf, clock=clock)


def statement(permit, clock, director, *, seconds=1000, **other):
    now = int(clock.now())
    made = Visitor(
        uid=UID,
        keyid=permit.key.keyid,
        public_key=permit.key.crypto.public_key().public_bytes_raw(),
        groups=("lab",),
        issued=now,
        expires=now + seconds,
    )
    return seal_visitor(replace(made, **other), director)


def test_the_key_is_made_once_and_only_its_user_reads_it(tmp_path):
    path = tmp_path / "visitor.key"
    made = keep_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keep_key(path).keyid == made.keyid


def test_a_key_that_is_damaged_is_made_anew_and_said_so(tmp_path, caplog):
    path = tmp_path / "visitor.key"
    path.write_bytes(b"no key")
    made = keep_key(path)
    assert keep_key(path).keyid == made.keyid
    assert "makes a new key" in caplog.text


def test_f_t2_a_proxy_may_visit_from_its_first_statement_until_that_is_over(permit, keys, clock):
    assert (permit.holds, permit.statement(), permit.visitor) == (False, b"", None)
    made = statement(permit, clock, keys.director)
    assert permit.take(made)
    assert (permit.holds, permit.statement()) == (True, made)
    clock.elapsed += 999
    assert permit.holds
    clock.elapsed += 1
    assert not permit.holds
    assert permit.take(statement(permit, clock, keys.director))
    assert permit.holds


def test_the_same_statement_changes_nothing_and_one_of_the_same_second_does(permit, keys, clock):
    first = statement(permit, clock, keys.director)
    other = statement(permit, clock, keys.director, groups=("lab", "desk"))
    assert permit.take(first)
    assert not permit.take(first)
    assert permit.take(other)
    assert permit.statement() == other
    assert permit.visitor.groups == ("lab", "desk")


def test_sec_a_statement_about_another_proxy_or_key_or_of_another_fleet_is_not_believed(permit, keys, clock):
    other = SigningKey.create()
    raw = other.crypto.public_key().public_bytes_raw()
    for made in (
        statement(permit, clock, keys.director, uid=str(uuid.UUID(int=8, version=4))),
        statement(permit, clock, keys.director, keyid=other.keyid, public_key=raw),
        statement(permit, clock, other),
        statement(permit, clock, keys.director, tenant="elsewhere"),
        b"no statement",
    ):
        assert not permit.take(made)
        assert permit.problem
        assert not permit.holds
    assert permit.take(statement(permit, clock, keys.director))
    assert permit.problem == ""
