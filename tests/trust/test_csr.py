"""SEC-19: what a CSR may ask for is a certificate for its key and uid, and nothing else."""

import base64
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.errors import TrustError
from popham.trust.ca import check_csr, identity_of, make_csr
from popham.trust.keys import IdentityKey

UID = str(uuid.UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0001))
KEY = IdentityKey.create()
GENUINE = make_csr(KEY, UID)


def csr(key=None, *, names=(UID,), extensions=(), attributes=(), hashing=None):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    for oid, value in attributes:
        builder = builder.add_attribute(oid, value)
    return builder.sign(key or KEY.crypto, hashing or SHA256()).public_bytes(Encoding.PEM)


def refusal(pem, uid=UID):
    with pytest.raises(TrustError) as refused:
        check_csr(pem, uid)
    return refused.value.code


def issued(fleet, pem, uid=UID):
    return x509.load_pem_x509_certificate(fleet.ca.issue_agent(pem, uid))


def test_sec_19_a_csr_gives_its_key_and_nothing_else():
    assert check_csr(GENUINE, UID).public_key_der == KEY.public.der
    assert check_csr(GENUINE, UID).spki_sha256 == KEY.keyid


@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=True, path_length=3),
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://popham/manager/x")]),
        x509.SubjectAlternativeName([x509.DNSName("manager.example"), x509.DNSName("*")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.OCSP_SIGNING]),
        x509.NameConstraints([x509.DNSName("")], None),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x00" * 500),
    ],
    ids=lambda extension: type(extension).__name__,
)
def test_sec_19_whatever_else_a_csr_asks_for_is_ignored(fleet, extension):
    asked, plain = issued(fleet, csr(extensions=[extension])), issued(fleet, GENUINE)
    unlike = {x509.SubjectKeyIdentifier.oid}
    assert [(e.oid, e.critical, e.value) for e in asked.extensions if e.oid not in unlike] == [
        (e.oid, e.critical, e.value) for e in plain.extensions if e.oid not in unlike
    ]
    assert asked.subject == plain.subject
    assert not asked.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert identity_of(asked.public_bytes(Encoding.DER)).uid == UID


def test_sec_19_other_parts_of_the_subject_are_ignored(fleet):
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, UID),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Manager"),
        ]
    )
    pem = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(KEY.crypto, SHA256())
    found = issued(fleet, pem.public_bytes(Encoding.PEM)).subject
    assert found.rfc4514_string() == f"CN={UID}"


@pytest.mark.parametrize("names", [(), ("other",), (UID, UID), (str(uuid.UUID(int=7)),)])
def test_sec_11_a_csr_for_another_uid_is_refused(names):
    assert refusal(csr(names=names)) == "trust.csr_uid"


@pytest.mark.parametrize("uid", ["", "x", UID.upper() + "A", "{" + UID + "}", UID.replace("-", "")])
def test_a_uid_in_any_other_form_is_refused(uid):
    assert refusal(csr(names=(uid,) if uid else ()), uid) == "trust.csr_uid"


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["rsa-2048", "p521", "secp256k1"],
)
def test_sec_19_keys_of_other_kinds_are_refused(make):
    assert refusal(csr(make())) == "trust.key"


@pytest.mark.parametrize("bits", [512, 4096, 16384])
def test_sec_19_rsa_of_any_size_is_refused_without_checking_its_signature(bits):
    der = forged_rsa_csr(bits)
    assert refusal(pem_of(der)) in {"trust.key", "trust.csr"}


def test_sec_19_p256_p384_and_ed25519_are_taken():
    for key, hashing in (
        (ec.generate_private_key(ec.SECP256R1()), SHA256()),
        (ec.generate_private_key(ec.SECP384R1()), SHA256()),
    ):
        assert check_csr(csr(key, hashing=hashing), UID)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, UID)])
    key = ed25519.Ed25519PrivateKey.generate()
    pem = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, None)
    found = check_csr(pem.public_bytes(Encoding.PEM), UID)
    assert load_der_public_key(found.public_key_der) == key.public_key()


def test_sec_19_a_huge_csr_is_refused_unread():
    oid = x509.ObjectIdentifier("1.2.840.113549.1.9.7")
    big = csr(attributes=[(oid, b"x" * 60_000)])
    assert refusal(big) == "trust.csr"
    assert refusal(b"-" * 10_000_000) == "trust.csr"


def test_sec_19_possession_of_the_key_must_be_proved():
    der = bytearray(x509.load_pem_x509_csr(GENUINE).public_bytes(Encoding.DER))
    der[-1] ^= 1
    assert refusal(pem_of(bytes(der))) == "trust.csr"
    other = x509.load_pem_x509_csr(csr(ec.generate_private_key(ec.SECP256R1())))
    mine, theirs = KEY.public.der, other.public_key()
    swapped = other.public_bytes(Encoding.DER).replace(spki(theirs), mine)
    assert refusal(pem_of(swapped)) == "trust.csr"


@pytest.mark.parametrize(
    "pem", [b"", b"x", GENUINE[:-60], GENUINE.replace(b"CERTIFICATE REQUEST", b"CERTIFICATE")]
)
def test_what_is_no_csr_is_refused(pem):
    assert refusal(pem) == "trust.csr"


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_sec_19_a_csr_with_any_byte_changed_is_refused_by_a_trust_error(data):
    genuine = x509.load_pem_x509_csr(GENUINE)
    der = bytearray(genuine.public_bytes(Encoding.DER))
    # Before the signature stands how many bits of its last byte count; all that is signed stays the same.
    spare = der.rindex(genuine.signature) - 1
    at = data.draw(st.integers(0, len(der) - 1).filter(lambda at: at != spare))
    der[at] ^= data.draw(st.integers(1, 255))
    assert refusal(pem_of(bytes(der))).startswith("trust.")


def test_sec_19_a_country_of_36_letters_is_refused():
    der = bytearray(x509.load_pem_x509_csr(GENUINE).public_bytes(Encoding.DER))
    common_name, country = bytes.fromhex("0603550403"), bytes.fromhex("0603550406")
    assert refusal(pem_of(bytes(der).replace(common_name, country))).startswith("trust.csr")


def pem_of(der):
    lines = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + lines + b"-----END CERTIFICATE REQUEST-----\n"


def spki(public):
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def forged_rsa_csr(bits):
    """A CSR whose RSA key nobody has; the library makes none of 512 bits."""

    def tlv(tag, *parts):
        body = b"".join(parts)
        size = len(body)
        if size < 128:
            return bytes([tag, size]) + body
        length = size.to_bytes((size.bit_length() + 7) // 8, "big")
        return bytes([tag, 0x80 | len(length)]) + length + body

    number = tlv(0x02, b"\x00" + b"\xff" * (bits // 8))
    algorithm = tlv(0x30, bytes.fromhex("06092a864886f70d010101"), b"\x05\x00")
    public = tlv(0x30, number, tlv(0x02, b"\x01\x00\x01"))
    key = tlv(0x30, algorithm, tlv(0x03, b"\x00", public))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, UID)]).public_bytes()
    info = tlv(0x30, tlv(0x02, b"\x00"), name, key, b"\xa0\x00")
    signing = tlv(0x30, bytes.fromhex("06092a864886f70d01010b"), b"\x05\x00")
    return tlv(0x30, info, signing, tlv(0x03, b"\x00", b"\x01" * (bits // 8)))
