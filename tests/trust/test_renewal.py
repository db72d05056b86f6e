import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.errors import TrustError
from popham.trust.ca import make_csr
from popham.trust.keys import IdentityKey
from popham.trust.renewal import renewal_time, sign_renewal, verify_renewal

DAY = 86400.0


@pytest.fixture(scope="module")
def case(fleet):
    """An agent with a certificate of seven days, and a request to renew it with a new key."""
    old = fleet.ca.issue_agent(make_csr(fleet.identity, fleet.uid), fleet.uid)
    csr = make_csr(IdentityKey.create(), fleet.uid)
    return {
        "ca": fleet.ca,
        "old_cert_pem": old,
        "csr_pem": csr,
        "signature": sign_renewal(fleet.identity, csr),
        "now": fleet.clock.now() + DAY,
    }


def refusal(case, **changes):
    with pytest.raises(TrustError) as refused:
        verify_renewal(**(case | changes))
    return refused.value.code


def test_rel_23_the_old_key_gets_a_new_certificate(fleet, case):
    identity = verify_renewal(**case)
    assert (identity.uid, identity.spki) == (fleet.uid, fleet.identity.keyid)
    assert fleet.ca.issue_agent(case["csr_pem"], identity.uid)


@pytest.mark.parametrize("days", [7, 60, 96.9])
def test_rel_23_an_expired_certificate_is_renewed_for_ninety_days(fleet, case, days):
    assert verify_renewal(**(case | {"now": fleet.clock.now() + days * DAY})).uid == fleet.uid


def test_rel_23_after_ninety_days_the_machine_must_enroll_again(fleet, case):
    assert refusal(case, now=fleet.clock.now() + 97.1 * DAY) == "trust.expired"


def test_a_renewal_needs_the_old_key_over_this_very_csr(fleet, case):
    stranger = IdentityKey.create()
    other = make_csr(stranger, fleet.uid)
    assert refusal(case, csr_pem=other) == "trust.signature"
    assert refusal(case, signature=sign_renewal(stranger, case["csr_pem"])) == "trust.signature"
    assert refusal(case, signature=b"") == "trust.signature"


def test_sec_25_a_signature_given_for_another_purpose_renews_nothing(fleet, case):
    assert refusal(case, signature=fleet.identity.sign(case["csr_pem"])) == "trust.signature"


def test_a_certificate_of_another_ca_is_not_renewed(fleet, other_fleet, case):
    foreign = other_fleet.ca.issue_agent(make_csr(fleet.identity, fleet.uid), fleet.uid)
    assert refusal(case, old_cert_pem=foreign) == "trust.issuer"
    assert refusal(case, old_cert_pem=b"x") == "trust.certificate"
    assert refusal(case, old_cert_pem=fleet.ca.issue_listener(["x"])[0]) == "trust.identity"


def test_sec_11_a_renewal_keeps_the_uid(fleet, case):
    other = make_csr(IdentityKey.create(), str(uuid.uuid4()))
    assert refusal(case, csr_pem=other, signature=sign_renewal(fleet.identity, other)) == "trust.csr_uid"


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=400, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_sec_21_an_old_certificate_with_any_byte_changed_renews_nothing(case, where, flip):
    der = bytearray(x509.load_pem_x509_certificate(case["old_cert_pem"]).public_bytes(Encoding.DER))
    der[int(where * len(der))] ^= flip
    assert refusal(case, old_cert_pem=bytes(der)).startswith("trust.")


@given(begin=st.floats(0, 2e9), life=st.floats(0, 1e8), draw=st.floats(0, 1, exclude_max=True))
def test_rel_23_renewal_falls_between_half_and_two_thirds_of_life(begin, life, draw):
    moment = renewal_time(begin, begin + life, draw)
    assert begin + life / 2 - 1 <= moment <= begin + life * 2 / 3 + 1


@pytest.mark.parametrize("arguments", [(0, 1, 1.0), (0, 1, -0.1), (2, 1, 0.5), (0, 1, float("nan"))])
def test_a_draw_or_a_life_out_of_range_is_an_error(arguments):
    with pytest.raises(ValueError, match="out of range"):
        renewal_time(*arguments)
