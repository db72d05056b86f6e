import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

from popham.errors import TrustError
from popham.model.names import digest
from popham.trust.dsse import Envelope, seal
from popham.trust.keys import SigningKey
from popham.trust.tuf import METADATA_LIMIT, TrustedTuf, create_root, create_targets

NOW = 1_800_000_000.0


def refusal(call, *args, **kwargs):
    with pytest.raises(TrustError) as refused:
        call(*args, **kwargs)
    return refused.value.code


def signed_targets(fleet, keys, role):
    """Targets with whatever keys and role, properly signed: a mistake or a theft upstream."""
    delegations = Delegations(keys, {"director": role} if role else {})
    expires = datetime(2060, 1, 1, tzinfo=UTC)
    metadata = Metadata(Targets(version=1, expires=expires, delegations=delegations))
    public = SSlibKey.from_crypto(fleet.targets.public.crypto, keyid=fleet.targets.keyid)
    metadata.sign(CryptoSigner(fleet.targets.crypto, public))
    return metadata.to_bytes()


def director_role(*keyids, threshold=1):
    return DelegatedRole("director", list(keyids), threshold, terminating=True, paths=[])


def tuf_key(key, keyid):
    return SSlibKey.from_crypto(key.public.crypto, keyid=keyid)


def test_root_and_targets_lead_to_the_director(fleet):
    tuf = TrustedTuf.from_bytes(fleet.root_bytes, fleet.targets_bytes, root_sha256=digest(fleet.root_bytes))
    assert (tuf.root_version, tuf.targets_version) == (1, 1)
    tuf.verify(Envelope.parse(seal("x", b"y", fleet.director), types=("x",)))


@pytest.mark.parametrize("name", ["root", "targets", "identity"])
def test_only_the_director_signs_documents(fleet, name):
    sealed = Envelope.parse(seal("x", b"y", getattr(fleet, name)), types=("x",))
    assert refusal(fleet.tuf.verify, sealed) == "trust.signature"


def test_sec_20_a_root_that_the_join_string_does_not_name_is_refused(fleet, other_fleet):
    pin = digest(fleet.root_bytes)
    other = (other_fleet.root_bytes, other_fleet.targets_bytes)
    assert refusal(TrustedTuf.from_bytes, *other, root_sha256=pin) == "trust.pin"


def test_targets_of_another_fleet_are_refused(fleet, other_fleet):
    assert refusal(TrustedTuf.from_bytes, fleet.root_bytes, other_fleet.targets_bytes) == "trust.signature"


@pytest.mark.parametrize("swap", [("root", "root"), ("targets", "targets"), ("targets", "root")])
def test_metadata_of_another_role_is_refused(fleet, swap):
    parts = [getattr(fleet, f"{name}_bytes") for name in swap]
    assert refusal(TrustedTuf.from_bytes, *parts) == "trust.tuf"


def test_metadata_without_its_signature_is_refused(fleet):
    for part in (0, 1):
        both = [fleet.root_bytes, fleet.targets_bytes]
        both[part] = json.dumps(json.loads(both[part]) | {"signatures": []}).encode()
        assert refusal(TrustedTuf.from_bytes, *both) == "trust.signature"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"x", b'{"signed":1,"signatures":[]}', b'{"a":1,"a":1}'])
def test_malformed_metadata_is_refused(fleet, data):
    assert refusal(TrustedTuf.from_bytes, fleet.root_bytes, data) == "trust.tuf"
    assert refusal(TrustedTuf.from_bytes, data, fleet.targets_bytes) == "trust.tuf"


def test_oversized_metadata_is_refused(fleet):
    assert refusal(TrustedTuf.from_bytes, fleet.root_bytes, b" " * (METADATA_LIMIT + 1)) == "trust.size"


def test_sec_48_one_key_under_two_keyids_does_not_count_twice(fleet):
    one, two = fleet.director.keyid, "f" * 64
    keys = {one: tuf_key(fleet.director, one), two: tuf_key(fleet.director, two)}
    data = signed_targets(fleet, keys, director_role(one, two, threshold=2))
    assert refusal(TrustedTuf.from_bytes, fleet.root_bytes, data) == "trust.tuf"


def test_sec_48_a_key_under_the_keyid_of_another_is_refused(fleet):
    keyid = fleet.director.keyid
    data = signed_targets(fleet, {keyid: tuf_key(SigningKey.create(), keyid)}, director_role(keyid))
    assert refusal(TrustedTuf.from_bytes, fleet.root_bytes, data) == "trust.tuf"


def test_sec_48_a_threshold_of_zero_is_refused(fleet):
    keyid = fleet.director.keyid
    role = director_role(keyid)
    role.threshold = 0
    data = signed_targets(fleet, {keyid: tuf_key(fleet.director, keyid)}, role)
    assert refusal(TrustedTuf.from_bytes, fleet.root_bytes, data) == "trust.tuf"


def test_sec_48_a_threshold_of_two_needs_two_keys(fleet):
    second = SigningKey.create()
    keyids = [fleet.director.keyid, second.keyid]
    keys = {key.keyid: tuf_key(key, key.keyid) for key in (fleet.director, second)}
    data = signed_targets(fleet, keys, director_role(*keyids, threshold=2))
    tuf = TrustedTuf.from_bytes(fleet.root_bytes, data)
    sealed = Envelope.parse(seal("x", b"y", fleet.director), types=("x",))
    assert refusal(tuf.verify, sealed) == "trust.signature"
    both = {key.keyid: key.sign(sealed.pae()) for key in (fleet.director, second)}
    tuf.verify(Envelope("x", b"y", both))


def test_targets_without_a_director_are_refused(fleet):
    keyid = fleet.director.keyid
    keys = {keyid: tuf_key(fleet.director, keyid)}
    for data in (signed_targets(fleet, keys, None), signed_targets(fleet, {}, director_role(keyid))):
        assert refusal(TrustedTuf.from_bytes, fleet.root_bytes, data) == "trust.tuf"


def test_sec_50_a_director_key_of_a_scheme_that_is_not_allowed_is_refused(fleet):
    key = SSlibKey.from_crypto(generate_private_key(65537, 2048).public_key())
    data = signed_targets(fleet, {key.keyid: key}, director_role(key.keyid))
    assert refusal(TrustedTuf.from_bytes, fleet.root_bytes, data) == "trust.key"


def test_a_lost_director_key_is_replaced_by_new_targets(fleet):
    fresh = SigningKey.create()
    advanced = fleet.tuf.advance(create_targets(fleet.targets, fresh.public, now=NOW, version=2))
    assert advanced.targets_version == 2
    advanced.verify(Envelope.parse(seal("x", b"y", fresh), types=("x",)))
    old = Envelope.parse(seal("x", b"y", fleet.director), types=("x",))
    assert refusal(advanced.verify, old) == "trust.signature"


def test_a_new_root_needs_the_old_roots_signature(fleet):
    targets = SigningKey.create()
    fresh = create_root(fleet.root, targets.public, now=NOW, version=2)
    named = create_targets(targets, fleet.director.public, now=NOW, version=2)
    advanced = fleet.tuf.advance(named, [fresh])
    assert (advanced.root_version, advanced.targets_version) == (2, 2)
    foreign = create_root(SigningKey.create(), targets.public, now=NOW, version=2)
    assert refusal(fleet.tuf.advance, named, [foreign]) == "trust.signature"


def test_sec_22_metadata_never_goes_back(fleet):
    held = fleet.tuf.advance(create_targets(fleet.targets, fleet.director.public, now=NOW, version=3))
    older = create_targets(fleet.targets, fleet.director.public, now=NOW, version=2)
    assert refusal(held.advance, older) == "trust.rollback"
    skipped = create_root(fleet.root, fleet.targets.public, now=NOW, version=3)
    assert refusal(held.advance, fleet.targets_bytes, [skipped]) == "trust.rollback"
    other = create_targets(fleet.targets, SigningKey.create().public, now=NOW, version=3)
    assert refusal(held.advance, other) == "trust.equivocation"
    assert refusal(held.advance, older, [b""] * 257) == "trust.size"


def test_metadata_is_valid_for_ten_years(fleet):
    fleet.tuf.check_current(NOW + 3650 * 86400)
    assert refusal(fleet.tuf.check_current, NOW + 3660 * 86400) == "trust.expired"
