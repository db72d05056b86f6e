import base64
import datetime as dt
import ipaddress
import ssl
import stat
import tempfile
import uuid
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.clock import SystemClock
from popham.errors import ConfigError, TrustError
from popham.trust.ca import Authority, find_anchor, identity_of, make_csr
from popham.trust.keys import IdentityKey, encode_private

DAY = 86400.0


def load(pem):
    return x509.load_pem_x509_certificate(pem)


def seconds(moment):
    return moment.timestamp()


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind).value


def refusal(call, *args):
    with pytest.raises(TrustError) as refused:
        call(*args)
    return refused.value.code


def company_ca(clock, *, key=None, parent=None, ca=True, days=100, signs=True):
    """A certificate as a company's PKI would make it, with its key."""
    key = key or ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Company {uuid.uuid4()}")])
    issuer, signer = (parent[0].subject, parent[1]) if parent else (name, key)
    now = dt.datetime.fromtimestamp(clock.now(), dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=10))
    builder = builder.not_valid_after(now + dt.timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
            "crl_sign",
        ),
        False,
    )
    builder = builder.add_extension(
        x509.KeyUsage(digital_signature=True, key_cert_sign=signs, **usage), critical=True
    )
    hashing = None if isinstance(signer, ed25519.Ed25519PrivateKey) else SHA256()
    return builder.sign(signer, hashing), key


def pem(*certificates):
    return b"".join(found.public_bytes(Encoding.PEM) for found in certificates)


def test_an_agents_certificate_says_who_it_is_and_for_how_long(fleet):
    found = load(fleet.ca.issue_agent(make_csr(fleet.identity, fleet.uid), fleet.uid, 3 * DAY))
    identity = identity_of(found.public_bytes(Encoding.DER))
    assert (identity.role, identity.uid, identity.trust_domain) == ("agent", fleet.uid, "popham")
    assert identity.spki == fleet.identity.keyid
    assert identity.public_der == fleet.identity.public.der
    assert identity.serial == format(found.serial_number, "x")
    assert identity.not_after == fleet.clock.now() + 3 * DAY
    names = extension(found, x509.SubjectAlternativeName)
    assert [name.value for name in names] == [f"spiffe://popham/agent/{fleet.uid}"]
    usages = set(extension(found, x509.ExtendedKeyUsage))
    assert usages == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert fleet.ca.issued(found)


def test_certificates_live_seven_days_and_begin_five_minutes_ago(fleet, other_fleet):
    ca = other_fleet.ca
    other_fleet.clock.time += DAY
    found = load(ca.issue_agent(make_csr(fleet.identity, fleet.uid), fleet.uid))
    assert seconds(found.not_valid_after_utc) == other_fleet.clock.now() + 7 * DAY
    assert seconds(found.not_valid_before_utc) == other_fleet.clock.now() - 300


def test_a_listeners_certificate_names_hosts_and_addresses(fleet):
    cert_pem, key_pem = fleet.ca.issue_listener(["manager.example", "127.0.0.1", "::1", "localhost"])
    found = load(cert_pem)
    names = extension(found, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["manager.example", "localhost"]
    addresses = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    assert names.get_values_for_type(x509.IPAddress) == addresses
    assert seconds(found.not_valid_after_utc) == fleet.clock.now() + 365 * DAY
    assert list(extension(found, x509.ExtendedKeyUsage)) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert b"PRIVATE KEY" in key_pem
    assert refusal(identity_of, found.public_bytes(Encoding.DER)) == "trust.identity"


@pytest.mark.parametrize(
    "names", [[], [""], ["a b"], ["https://x"], ["x:4320"], ["*.example"], ["ü.example"], ["-x"]]
)
def test_a_listener_name_that_is_neither_host_nor_address_is_refused(fleet, names):
    with pytest.raises(ConfigError) as refused:
        fleet.ca.issue_listener(names)
    assert refused.value.code == "config.listener_name"


def test_both_kinds_of_certificate_satisfy_an_independent_verifier(fleet):
    now = dt.datetime.fromtimestamp(fleet.clock.now(), dt.UTC)
    builder = PolicyBuilder().store(Store([load(fleet.ca.pem)])).time(now)
    listener = load(fleet.ca.issue_listener(["manager.example"])[0])
    builder.build_server_verifier(x509.DNSName("manager.example")).verify(listener, [])
    agent = load(fleet.ca.issue_agent(make_csr(fleet.identity, fleet.uid), fleet.uid))
    verified = builder.build_client_verifier().verify(agent, [])
    assert [name.value for name in verified.subjects] == [f"spiffe://popham/agent/{fleet.uid}"]


def test_the_ca_comes_back_from_its_directory_readable_by_its_user_only(fleet, tmp_path):
    fleet.ca.save(tmp_path)
    assert {stat.S_IMODE(found.stat().st_mode) for found in tmp_path.iterdir()} == {0o600}
    again = Authority.load(tmp_path, fleet.clock)
    assert (again.pem, again.trust_domain) == (fleet.ca.pem, "popham")
    assert again.issued(load(fleet.ca.issue_listener(["x"])[0]))
    (tmp_path / "ca.key").write_bytes(IdentityKey.create().pem)
    assert refusal(Authority.load, tmp_path, fleet.clock) == "trust.ca"
    (tmp_path / "ca.key").unlink()
    assert refusal(Authority.load, tmp_path, fleet.clock) == "trust.key_file"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate,
        lambda: rsa.generate_private_key(65537, 2048),
    ],
    ids=["p256", "p384", "ed25519", "rsa"],
)
def test_an_intermediate_of_a_companys_pki_can_be_imported(fleet, make, tmp_path):
    root = company_ca(fleet.clock)
    inter, key = company_ca(fleet.clock, key=make(), parent=root)
    ca = Authority.import_(encode_private(key), pem(inter, root[0]), "example.org", fleet.clock)
    assert load(ca.pem) == inter
    found = load(ca.issue_agent(make_csr(fleet.identity, fleet.uid), fleet.uid))
    assert identity_of(found.public_bytes(Encoding.DER)).trust_domain == "example.org"
    listener = x509.load_pem_x509_certificates(ca.issue_listener(["x"])[0])
    assert listener[1:] == [inter]
    assert find_anchor(ca.issuers_pem, ca.spki_sha256) == ca.pem
    ca.save(tmp_path)
    assert Authority.load(tmp_path, fleet.clock).issuers_pem == ca.issuers_pem


def test_what_is_no_ca_is_not_imported(fleet):
    root = company_ca(fleet.clock)
    leaf, expired, mute = (
        company_ca(fleet.clock, parent=root, **change)
        for change in ({"ca": False}, {"days": -1}, {"signs": False})
    )
    odd = company_ca(fleet.clock, key=ec.generate_private_key(ec.SECP521R1()))
    small = company_ca(fleet.clock, key=rsa.generate_private_key(65537, 1024))
    stranger = company_ca(fleet.clock)
    good = company_ca(fleet.clock, parent=root)
    for key, certificates in (
        (leaf[1], [leaf[0]]),
        (expired[1], [expired[0]]),
        (mute[1], [mute[0]]),
        (odd[1], [odd[0]]),
        (small[1], [small[0]]),
        (root[1], [good[0], root[0]]),
        (good[1], [good[0], stranger[0]]),
    ):
        given = (encode_private(key), pem(*certificates), "popham", fleet.clock)
        assert refusal(Authority.import_, *given) == "trust.ca"
    key = encode_private(root[1])
    assert refusal(Authority.import_, b"x", pem(root[0]), "popham", fleet.clock) == "trust.key_file"
    for data in (b"", b"x", pem(*[root[0]] * 9), b"x" * 200_000):
        assert refusal(Authority.import_, key, data, "popham", fleet.clock) == "trust.certificate"


def test_nothing_outlives_the_ca(fleet):
    root = company_ca(fleet.clock, days=2)
    clock = type(fleet.clock)()
    ca = Authority.import_(encode_private(root[1]), pem(root[0]), "popham", clock)
    found = load(ca.issue_agent(make_csr(fleet.identity, fleet.uid), fleet.uid))
    assert found.not_valid_after_utc == root[0].not_valid_after_utc
    clock.time += 3 * DAY
    assert refusal(ca.issue_listener, ["x"]) == "trust.ca"


@pytest.mark.parametrize("domain", ["", "Popham", "a/b", "x" * 256, "spiffe://x"])
def test_a_trust_domain_that_cannot_stand_in_a_name_is_refused(fleet, domain):
    with pytest.raises(ConfigError) as refused:
        Authority.create(domain, fleet.clock)
    assert refused.value.code == "config.trust_domain"


def test_sec_20_only_the_pinned_ca_is_taken_as_anchor(fleet, other_fleet):
    both = other_fleet.ca.pem + fleet.ca.pem
    assert find_anchor(both, fleet.ca.spki_sha256) == fleet.ca.pem
    assert refusal(find_anchor, other_fleet.ca.pem, fleet.ca.spki_sha256) == "trust.pin"
    for data in (b"", b"<html>", b"x" * 1_000_000):
        assert refusal(find_anchor, data, fleet.ca.spki_sha256) == "trust.certificate"


def test_a_certificate_that_names_nobody_or_several_is_no_identity(fleet):
    ca, _ = company_ca(fleet.clock)
    assert refusal(identity_of, ca.public_bytes(Encoding.DER)) == "trust.identity"
    uris = [f"spiffe://popham/agent/{fleet.uid}", f"spiffe://popham/agent/{uuid.uuid4()}"]
    for listed in (
        uris,
        [uris[0].upper()],
        ["spiffe://popham/manager/x"],
        [uris[0] + "/x"],
        [uris[0][:-1] + "-"],
    ):
        names = [x509.UniformResourceIdentifier(uri) for uri in listed]
        found = fleet.ca._issue(fleet.identity.public, "x", names, [ExtendedKeyUsageOID.CLIENT_AUTH], DAY)
        assert refusal(identity_of, load(found).public_bytes(Encoding.DER)) == "trust.identity"
    for data in (b"", b"x", b"x" * 100_000):
        assert refusal(identity_of, data) == "trust.certificate"


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=400, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_sec_20_a_changed_ca_certificate_is_read_or_refused_by_a_trust_error(fleet, where, flip):
    der = bytearray(load(fleet.ca.pem).public_bytes(Encoding.DER))
    der[int(where * len(der))] ^= flip
    text = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
    try:
        found = find_anchor(text, fleet.ca.spki_sha256)
    except TrustError:
        return
    assert load(found).public_key() == load(fleet.ca.pem).public_key()


def test_tls_accepts_what_the_ca_issues_and_the_listener_sees_the_agent():
    ca, key, uid = Authority.create("popham", SystemClock()), IdentityKey.create(), str(uuid.uuid4())
    agent_pem = ca.issue_agent(make_csr(key, uid), uid)
    seen = handshake(ca, ca.issue_listener(["manager.example"]), (agent_pem, key.pem))
    assert identity_of(seen).uid == uid


def handshake(ca, listener, agent):
    """Run TLS 1.3 in memory and return the certificate that the listener saw."""
    contexts = []
    for purpose, (cert, key) in (
        (ssl.PROTOCOL_TLS_SERVER, listener),
        (ssl.PROTOCOL_TLS_CLIENT, agent),
    ):
        context = ssl.SSLContext(purpose)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=ca.pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "both.pem")
            path.write_bytes(cert + key)
            context.load_cert_chain(path)
        contexts.append(context)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = contexts[0].wrap_bio(up, down, server_side=True)
    client = contexts[1].wrap_bio(down, up, server_hostname="manager.example")
    for _ in range(4):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return server.getpeercert(binary_form=True)


def test_sec_30_a_proxys_certificate_has_its_role_and_the_names_by_which_agents_dial_it(fleet):
    csr = make_csr(fleet.identity, fleet.uid)
    names = ["dock.example", "10.0.0.7"]
    found = load(fleet.ca.issue_agent(csr, fleet.uid, DAY, role="proxy", names=names))
    identity = identity_of(found.public_bytes(Encoding.DER))
    assert (identity.role, identity.uid) == ("proxy", fleet.uid)
    shown = extension(found, x509.SubjectAlternativeName)
    assert shown.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://popham/proxy/{fleet.uid}"]
    assert shown.get_values_for_type(x509.DNSName) == ["dock.example"]
    assert shown.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.0.0.7")]
    now = dt.datetime.fromtimestamp(fleet.clock.now(), dt.UTC)
    builder = PolicyBuilder().store(Store([load(fleet.ca.pem)])).time(now)
    builder.build_server_verifier(x509.DNSName("dock.example")).verify(found, [])
    with pytest.raises(ConfigError):
        fleet.ca.issue_agent(csr, fleet.uid, role="proxy", names=["no name"])


def test_sec_30_a_role_that_nobody_has_names_nobody(fleet):
    csr = make_csr(fleet.identity, fleet.uid)
    found = load(fleet.ca.issue_agent(csr, fleet.uid, DAY, role="manager"))
    assert refusal(identity_of, found.public_bytes(Encoding.DER)) == "trust.identity"
