import stat

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from popham.errors import TrustError
from popham.trust.keys import KEY_LIMIT, IdentityKey, PublicKey, SigningKey

KINDS = pytest.mark.parametrize("kind", [SigningKey, IdentityKey])


def spki(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@KINDS
def test_a_saved_key_is_private_and_comes_back(kind, tmp_path):
    key, path = kind.create(), tmp_path / "key.pem"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kind.load(path).public == key.public
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


@KINDS
def test_a_signature_holds_for_its_data_and_key_only(kind):
    key = kind.create()
    signature = key.sign(b"order")
    PublicKey.from_der(key.public.der).verify(signature, b"order")
    for public, data, given in (
        (key.public, b"other", signature),
        (kind.create().public, b"order", signature),
        (key.public, b"order", b""),
    ):
        with pytest.raises(TrustError) as refused:
            public.verify(given, data)
        assert refused.value.code == "trust.signature"


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate,
        x25519.X25519PrivateKey.generate,
    ],
    ids=["rsa", "p521", "secp256k1", "ed448", "x25519"],
)
def test_sec_19_public_keys_of_other_kinds_are_refused(make):
    with pytest.raises(TrustError) as refused:
        PublicKey.from_der(spki(make()))
    assert refused.value.code == "trust.key"


@pytest.mark.parametrize("der", [b"", b"x", b"0" * (KEY_LIMIT + 1)])
def test_bytes_that_are_no_key_are_refused(der):
    with pytest.raises(TrustError) as refused:
        PublicKey.from_der(der)
    assert refused.value.code == "trust.key"


def test_a_p384_key_is_checked_with_sha384():
    key = ec.generate_private_key(ec.SECP384R1())
    public = PublicKey.from_der(spki(key))
    public.verify(key.sign(b"x", ec.ECDSA(SHA384())), b"x")
    with pytest.raises(TrustError):
        public.verify(key.sign(b"x", ec.ECDSA(SHA256())), b"x")


def test_sec_50_the_algorithm_comes_from_the_key(fleet):
    with pytest.raises(TrustError):
        fleet.director.public.verify(fleet.identity.sign(b"x"), b"x")
    with pytest.raises(TrustError):
        fleet.identity.public.verify(fleet.director.sign(b"x"), b"x")


def test_key_files_that_hold_something_else_are_refused(tmp_path):
    path = tmp_path / "key.pem"
    encrypted = IdentityKey.create().crypto.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    for data in (b"", b"not a key", IdentityKey.create().pem, encrypted, b"x" * 20_000):
        path.write_bytes(data)
        with pytest.raises(TrustError) as refused:
            SigningKey.load(path)
        assert refused.value.code == "trust.key_file"
    path.write_bytes(SigningKey.create().pem)
    for wrong in (path, tmp_path / "missing"):
        with pytest.raises(TrustError) as refused:
            IdentityKey.load(wrong)
        assert refused.value.code == "trust.key_file"


def test_no_repr_shows_a_private_key(fleet):
    for key in (fleet.director, fleet.identity):
        assert "PRIVATE" not in repr(key)
        assert repr(key.pem) not in repr(key)


@pytest.mark.parametrize("make", [SigningKey.create, IdentityKey.create], ids=["ed25519", "p256"])
def test_a_key_that_was_kept_is_the_same_as_one_that_came(make):
    key = make()
    found = PublicKey.from_known(key.public.der)
    assert (found, found.keyid) == (key.public, key.public.keyid)
    found.verify(key.sign(b"order"), b"order")


def test_what_was_kept_of_a_key_is_refused_if_it_is_none():
    der = IdentityKey.create().public.der
    for broken in (der[:-1], der[:-32] + bytes(32), b"", spki(ec.generate_private_key(ec.SECP256K1()))):
        with pytest.raises(TrustError) as refused:
            PublicKey.from_known(broken)
        assert refused.value.code == "trust.key"
