"""What an agent keeps survives it, is for its owner only, and tells what is damaged."""

import errno
import os
import stat

import pytest

from popham.agent.records import Identity, Join, Progress, Standing
from popham.agent.state import AgentState, MemoryAgentState
from popham.agent.storage import MemoryStorage
from popham.errors import StateError, TrustError
from popham.model.bundle import BUNDLE_TYPE, Bundle, LocationSet, PolicyRef
from popham.model.communication import CommunicationSettings
from popham.model.names import digest
from popham.model.status import Outcome
from popham.statedir import StateDir
from popham.trust.dsse import seal
from popham.trust.keys import IdentityKey, SigningKey
from popham.trust.verify import Floor

KEY, SIGNER = IdentityKey.create(), SigningKey.create()
UID = "0198c2a0-0000-7000-8000-000000000001"
JOIN = Join(urls=("https://m:4320",), ca=b"PEM", ca_sha256="a" * 64, root_sha256="b" * 64, seed=b"s" * 32)


@pytest.fixture(params=["disk", "memory"])
def storage(request, tmp_path):
    if request.param == "memory":
        yield MemoryStorage()
        return
    with StateDir.open(tmp_path / "state", "agent", create=True) as directory:
        yield directory


@pytest.fixture
def state(storage):
    return AgentState(storage)


def make_bundle(version, *bodies):
    refs = tuple(
        PolicyRef(type="files", name=f"p{n}", revision=1, sha256=digest(body), length=len(body))
        for n, body in enumerate(bodies)
    )
    held = LocationSet(policies=refs, communication=CommunicationSettings())
    bundle = Bundle(group="fleet", serial=version, version=version, issued=0, locations={"default": held})
    return seal(BUNDLE_TYPE, bundle.payload(), SIGNER)


def test_a_new_state_holds_nothing(state):
    assert state.join() is state.identity() is state.certificate() is None
    assert state.documents() is state.assignment() is state.bundle() is state.last_good() is None
    assert state.floor("default", "fleet") is None
    assert state.assignment_floor() == 0
    assert state.progress() == Progress()
    assert state.standing() is None
    with pytest.raises(StateError, match="no identity yet") as caught:
        assert state.uid
    assert "popham agent enroll" in caught.value.hint


def test_everything_is_there_for_the_next_process(storage, state):
    bundle, progress = (
        make_bundle(5),
        Progress(revision=3, outcome=Outcome.APPLIED, applied_serial=5, since=1.5),
    )
    state.save_join(JOIN)
    state.create_identity(UID, KEY)
    state.save_certificate(b"CERT")
    state.save_documents(b"\x00root", b"targets")
    state.save_assignment(b'{"payload":""}')
    state.save_bundle(bundle)
    state.save_last_good()
    state.save_floor("default", "fleet", Floor(5, "c" * 64))
    state.save_assignment_floor(7)
    state.save_progress(progress)
    state.save_standing(Standing(location="office", rules=("address 10.0.0.0/8",), since=2.5))
    after = AgentState(storage)
    assert after.standing() == Standing(location="office", rules=("address 10.0.0.0/8",), since=2.5)
    assert after.join() == JOIN
    assert after.identity() == Identity(uid=UID, key=KEY.pem, certificate=b"CERT")
    assert (after.uid, after.identity_key().keyid, after.certificate()) == (UID, KEY.keyid, b"CERT")
    assert (after.documents().root, after.documents().targets) == (b"\x00root", b"targets")
    assert after.assignment() == b'{"payload":""}'
    assert after.bundle() == after.last_good() == bundle
    assert after.floor("default", "fleet") == Floor(5, "c" * 64)
    assert after.assignment_floor() == 7
    assert after.progress() == progress


def test_the_token_is_dropped_once_the_certificate_works(storage, state):
    state.save_join(JOIN)
    state.drop_seed()
    assert AgentState(storage).join().seed is None
    assert state.join().urls == JOIN.urls


def test_secrets_are_not_shown_when_records_are_printed():
    assert "ssss" not in repr(JOIN)
    assert "PRIVATE" not in repr(Identity(uid=UID, key=KEY.pem))


def test_sec_22_floors_never_fall(state):
    state.save_floor("default", "fleet", Floor(5, "c" * 64))
    state.save_floor("default", "fleet", Floor(4, "d" * 64))
    state.save_floor("default", "lab", Floor(1, "e" * 64))
    state.save_assignment_floor(7)
    state.save_assignment_floor(6)
    assert state.floor("default", "fleet") == Floor(5, "c" * 64)
    assert state.floor("default", "lab") == Floor(1, "e" * 64)
    assert state.assignment_floor() == 7


def test_bodies_stay_while_the_newest_or_the_last_good_bundle_names_them(state):
    for body in (b"one", b"two", b"three"):
        state.put_blob(digest(body), body)
        state.save_bundle(make_bundle(1, body))
        if body == b"one":
            state.save_last_good()
    assert state.blob(digest(b"one")) == b"one"
    assert state.blob(digest(b"two")) is None
    assert state.blob(digest(b"three")) == b"three"
    state.save_last_good()
    assert state.blob(digest(b"one")) is None


def test_a_body_with_another_digest_is_refused(state):
    with pytest.raises(TrustError) as caught:
        state.put_blob(digest(b"one"), b"two")
    assert caught.value.code == "trust.blob"


@pytest.mark.parametrize("name", ["../identity.json", "A" * 64, "", "a" * 63, "a" * 64 + "\n"])
def test_sec_6_a_digest_that_is_none_never_becomes_a_name(state, name):
    with pytest.raises(TrustError):
        state.blob(name)
    with pytest.raises(TrustError):
        state.put_blob(name, b"")


def test_rel_16_a_damaged_body_is_forgotten_and_fetched_again(storage, state):
    state.put_blob(digest(b"one"), b"one")
    storage.write(f"blobs/{digest(b'one')}", b"onE")
    assert state.blob(digest(b"one")) is None
    assert storage.names("blobs") == []
    state.put_blob(digest(b"one"), b"one")
    assert state.blob(digest(b"one")) == b"one"


def test_rel_11_a_damaged_body_that_cannot_be_removed_is_none_either(storage, state, monkeypatch):
    state.put_blob(digest(b"one"), b"one")
    storage.write(f"blobs/{digest(b'one')}", b"onE")

    def refuse(_name):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(storage, "remove", refuse)
    assert state.blob(digest(b"one")) is None


READERS = {
    "join.json": AgentState.join,
    "identity.json": AgentState.identity,
    "trust.json": AgentState.documents,
    "floors.json": AgentState.assignment_floor,
    "progress.json": AgentState.progress,
    "assignment.json": AgentState.assignment,
    "bundle.json": AgentState.bundle,
    "last-good.json": AgentState.last_good,
    "location.json": AgentState.standing,
}


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"uid":7,"root":1,"urls":1}\xff', b"\x00" * 100])
@pytest.mark.parametrize("name", READERS)
def test_rel_16_a_damaged_file_is_named_with_what_to_do(storage, state, name, damage):
    storage.write(name, damage)
    with pytest.raises(StateError) as caught:
        READERS[name](state)
    assert caught.value.code == "state.corrupt"
    assert name in caught.value.problem
    assert "backup" in caught.value.hint or "Remove that file" in caught.value.hint


def test_a_key_of_another_kind_is_a_damaged_identity(storage, state):
    for pem in (SIGNER.pem, b"no key"):
        state.create_identity(UID, type("Key", (), {"pem": pem}))
        with pytest.raises(StateError, match="damaged"):
            AgentState(storage).identity_key()


def test_an_identity_whose_uid_is_none_is_damaged(storage, state):
    state.create_identity(UID, KEY)
    storage.write("identity.json", storage.read("identity.json", 10**6).replace(UID.encode(), b"x"))
    with pytest.raises(StateError, match=r"identity\.json in the agent's state directory is damaged"):
        AgentState(storage).identity()


def test_a_last_good_bundle_needs_a_bundle(state):
    with pytest.raises(StateError, match="no bundle"):
        state.save_last_good()


def test_sec_46_all_of_it_is_for_the_owner_only(tmp_path):
    with StateDir.open(tmp_path / "state", "agent", create=True) as directory:
        state = AgentState(directory)
        state.save_join(JOIN)
        state.create_identity(UID, KEY)
        state.put_blob(digest(b"one"), b"one")
        found = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
        assert len(found) == 7
        for path in found:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_state_in_memory_can_be_handed_to_the_next_life_of_an_agent():
    first = MemoryAgentState()
    first.create_identity(UID, KEY)
    assert MemoryAgentState(first.storage).uid == UID
