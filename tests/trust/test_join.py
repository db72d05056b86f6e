import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.errors import EnrollmentError, PophamError
from popham.model.names import canonical, digest
from popham.trust.ca import make_csr
from popham.trust.document import encode_base64url
from popham.trust.join import JOIN_LIMIT, EnrollmentKey, JoinString, verify_enrollment
from popham.trust.keys import IdentityKey

SEED = bytes(range(32))
JOIN = JoinString(("https://manager.example:4320", "https://[::1]:4320/fleet"), "a" * 64, "b" * 64, SEED)
TEXT = JOIN.encode()
BODY = {"urls": ["https://m:4320"], "ca": "a" * 64, "root": "b" * 64, "token": encode_base64url(SEED)}


def joined(**changes):
    return "pop1." + encode_base64url(canonical(BODY | changes))


def refusal(text):
    with pytest.raises(EnrollmentError) as refused:
        JoinString.parse(text)
    return refused.value.code


def test_what_was_encoded_comes_back_whatever_white_space_is_around_it():
    assert TEXT.startswith("pop1.")
    assert "=" not in TEXT
    assert JoinString.parse(f"  {TEXT}\n") == JOIN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pop1.",
        "pop2." + TEXT[5:],
        TEXT[5:],
        TEXT[:-1],
        TEXT[:40],
        TEXT + "A",
        TEXT + "=",
        TEXT.replace("pop1.", "pop1.\n"),
        "pop1." + "A" * JOIN_LIMIT,
        "pop1." + encode_base64url(b'{"a":1,"a":2}'),
        "pop1." + encode_base64url(b"[1]"),
        "pop1." + encode_base64url(b" " + canonical(BODY)),
        "pop1.é",
        joined(extra=1),
        joined(urls=[]),
        joined(urls="https://m:4320"),
        joined(urls=[7]),
        joined(urls=["https://m:4320"] * 17),
        joined(ca="A" * 64),
        joined(ca=None),
        joined(root="b" * 63),
        joined(token=encode_base64url(SEED[:31])),
        joined(token=BODY["token"] + "="),
        joined(token=None),
    ],
)
def test_anything_but_a_whole_join_string_is_refused(text):
    assert refusal(text) == "enrollment.join_string"


@pytest.mark.parametrize(
    "url",
    [
        "http://m:4320",
        "wss://m:4320",
        "file:///etc/passwd",
        "https://",
        "https://user:word@m",
        "https://@m",
        "https://m?x=1",
        "https://m#x",
        "https://m:99999",
        "https://m:0",
        "https://m x",
        "https://m\r\nHost: y",
        "https://" + "m" * 300,
        "https://[::1",
    ],
)
def test_sec_1_a_url_that_is_not_plain_https_is_refused(url):
    assert refusal(joined(urls=[url])) == "enrollment.join_string"


@settings(max_examples=500, deadline=None)
@given(at=st.integers(0, len(TEXT) - 1), other=st.characters(min_codepoint=33, max_codepoint=126))
def test_sec_21_a_changed_character_never_gives_the_same_join_string(at, other):
    text = TEXT[:at] + other + TEXT[at + 1 :]
    if text == TEXT:
        return
    try:
        parsed = JoinString.parse(text)
    except EnrollmentError:
        return
    assert (parsed.urls, parsed.ca, parsed.root) != (JOIN.urls, JOIN.ca, JOIN.root) or parsed.seed != SEED


def test_no_repr_shows_the_token():
    assert str(SEED) not in repr(JOIN)
    assert "seed" not in repr(JOIN)
    assert str(SEED) not in repr(EnrollmentKey.from_seed(SEED))


def test_sec_20_the_token_itself_never_travels():
    key = EnrollmentKey.from_seed(SEED)
    sent = key.token_id.encode() + key.sign(b"csr") + key.public_der
    assert SEED not in sent
    assert encode_base64url(SEED).encode() not in sent


def test_the_managers_half_of_a_token_recognizes_the_machines_half():
    mine, theirs = EnrollmentKey.create(), EnrollmentKey.create()
    again = EnrollmentKey.from_seed(mine.seed)
    assert (again.token_id, again.public_der) == (mine.token_id, mine.public_der)
    assert mine.token_id == digest(mine.public_der[-32:])[:16]
    assert len({mine.token_id, theirs.token_id}) == 2
    csr = make_csr(IdentityKey.create(), "x")
    signature = again.sign(csr)
    verify_enrollment(mine.public_der, csr, signature)
    for public, data, given_signature in (
        (theirs.public_der, csr, signature),
        (mine.public_der, csr + b"\n", signature),
        (mine.public_der, csr, signature[:-1]),
        (b"x", csr, signature),
    ):
        with pytest.raises(EnrollmentError) as refused:
            verify_enrollment(public, data, given_signature)
        assert refused.value.code == "enrollment.signature"


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_seed_of_another_length_is_refused(length):
    with pytest.raises(PophamError):
        EnrollmentKey.from_seed(b"x" * length)
