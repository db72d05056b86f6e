"""Signatures of visits: whatever is altered, moved or swapped is refused; what web servers do in between is not."""

import dataclasses
import datetime as dt
import string

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from http_message_signatures import HTTPMessageSigner, algorithms
from http_message_signatures.resolvers import MappingKeyResolver
from hypothesis import assume, given
from hypothesis import strategies as st

from popham.errors import VisitError
from popham.net import signing
from popham.net.signing import (
    ANYBODY,
    AUDIENCE,
    NEXT,
    NONCE_MAX,
    OPERATION,
    Asked,
    Operation,
    open_answer,
    open_request,
    read_asked,
    sign_answer,
    sign_request,
)

DIRECTOR, IDENTITY = Ed25519PrivateKey.generate(), generate_private_key(SECP256R1())
OTHER_DIRECTOR, OTHER_IDENTITY = Ed25519PrivateKey.generate(), generate_private_key(SECP256R1())
UID = "0190b4a4-7a3e-7c6e-8d5f-000000000001"
NOW = 1.8e9

queries = st.lists(
    st.sampled_from(
        [*string.ascii_letters, *string.digits, *"&=?/:@!$'()*+,;-._~", "%2F", "%2f", "%00", "%25"]
    ),
    max_size=40,
).map("".join)
bodies = st.binary(max_size=200)
words = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=40)
nonces = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=NONCE_MAX)


def directors(keyid):
    return {"director": DIRECTOR.public_key(), "other": OTHER_DIRECTOR.public_key()}.get(keyid)


def identity(keyid):
    return {"agent": IDENTITY.public_key(), "other": OTHER_IDENTITY.public_key()}.get(keyid)


def ask(
    *,
    key=DIRECTOR,
    keyid="director",
    method="POST",
    query="a=b",
    body=b"body",
    audience=UID,
    operation=Operation.VISIT,
    nonce="n1",
    now=NOW,
):
    return sign_request(
        key,
        keyid,
        method=method,
        query=query,
        body=body,
        audience=audience,
        operation=operation,
        nonce=nonce,
        now=now,
    )


def tell(asked, *, key=IDENTITY, keyid="agent", status=200, body=b"report", nonce="n2", now=NOW):
    return sign_answer(key, keyid, asked, status=status, body=body, nonce=nonce, now=now)


def read(asked, headers, *, status=200, body=b"report", find=identity):
    return open_answer(asked, status=status, headers=headers, body=body, find=find)


def refused(call, *arguments, **named):
    with pytest.raises(VisitError) as caught:
        call(*arguments, **named)
    assert caught.value.code == "visit.signature"
    return caught.value


def changed(asked, name, value):
    headers = {**asked.headers, name: value}
    if value is None:
        del headers[name]
    return dataclasses.replace(asked, headers=headers)


@given(query=queries, body=bodies, audience=words, nonce=nonces, operation=st.sampled_from(Operation))
def test_a_request_says_what_was_signed(query, body, audience, nonce, operation):
    asked = ask(query=query, body=body, audience=audience, nonce=nonce, operation=operation)
    claim = open_request(asked, directors)
    assert (claim.keyid, claim.audience, claim.operation) == ("director", audience, operation)
    assert (claim.nonce, claim.created) == (nonce, int(NOW))


def test_a_request_without_a_nonce_says_none():
    assert not open_request(ask(nonce=""), directors).nonce
    assert open_request(ask(audience=ANYBODY), directors).audience == ANYBODY


@given(body=bodies, nonce=nonces, status=st.sampled_from([101, 200, 204, 403, 409, 421, 428]))
def test_an_answer_says_what_was_signed(body, nonce, status):
    asked = ask()
    headers = tell(asked, status=status, body=body, nonce=nonce)
    answered = read(asked, headers, status=status, body=body)
    assert (answered.keyid, answered.nonce) == ("agent", nonce)


@given(method=st.sampled_from(["GET", "PUT", "DELETE", "post"]))
def test_another_method_is_refused(method):
    refused(open_request, dataclasses.replace(ask(), method=method), directors)


@given(query=queries)
def test_another_query_is_refused(query):
    assume(query != "a=b")
    refused(open_request, dataclasses.replace(ask(), query=query), directors)


@given(body=bodies)
def test_another_body_is_refused(body):
    assume(body != b"body")
    refused(open_request, dataclasses.replace(ask(), body=body), directors)


@given(audience=words)
def test_another_audience_is_refused(audience):
    assume(audience != UID)
    refused(open_request, changed(ask(), AUDIENCE, audience), directors)


@pytest.mark.parametrize(
    "operation", [*(one for one in Operation if one is not Operation.VISIT), "erase", "Visit", ""]
)
def test_another_operation_is_refused(operation):
    refused(open_request, changed(ask(), OPERATION, str(operation)), directors)


def test_an_operation_that_is_not_known_is_told(monkeypatch):
    asked = ask(operation="erase")
    assert "operation" in refused(open_request, asked, directors).problem


@given(nonce=nonces)
def test_another_nonce_is_refused(nonce):
    assume(nonce != "n1")
    asked = ask()
    moved = asked.headers["Signature-Input"].replace('nonce="n1"', f'nonce="{nonce}"')
    assert moved != asked.headers["Signature-Input"]
    refused(open_request, changed(asked, "Signature-Input", moved), directors)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('nonce="n1"', ""),
        ("created=1800000000", "created=1800000001"),
        ('keyid="director"', 'keyid="other"'),
        ('keyid="director"', 'keyid="nobody"'),
        ('keyid="director"', ""),
        ('tag="popham-visit/1"', 'tag="popham-answer/1"'),
        ('tag="popham-visit/1"', ""),
        ('"@query" ', ""),
        ('"content-digest" ', ""),
        ('"@method"', '"@authority"'),
        ('"@method"', '"@path"'),
        ('alg="ed25519"', 'alg="hmac-sha256"'),
        ("popham=", "other="),
        ("popham=", ""),
        ("(", ""),
    ],
)
def test_altered_parameters_are_refused(old, new):
    asked = ask()
    altered = asked.headers["Signature-Input"].replace(old, new)
    assert altered != asked.headers["Signature-Input"]
    refused(open_request, changed(asked, "Signature-Input", altered), directors)


@pytest.mark.parametrize("name", [AUDIENCE, OPERATION, "Signature", "Signature-Input", "Content-Digest"])
@pytest.mark.parametrize(
    "value", [None, "", "x", "popham=:AAAA:", 'popham=("@method");created=1', "\x7f", "é"]
)
def test_headers_that_lack_or_are_nonsense_are_refused(name, value):
    refused(open_request, changed(ask(), name, value), directors)


@pytest.mark.parametrize("name", [AUDIENCE, OPERATION, "Signature", "Signature-Input", "Content-Digest"])
def test_headers_that_come_twice_are_refused(name):
    """As a web server or a listener joins them."""
    first, second = ask(), ask(audience="another", operation=Operation.HOLD, body=b"other", nonce="n7")
    doubled = f"{first.headers[name]}, {second.headers[name]}"
    refused(open_request, changed(first, name, doubled), directors)


def test_a_second_signature_lets_nothing_in():
    """As of a web server that signs by itself, under a label of its own."""
    asked = ask()
    for name, more in (
        ("Signature", "edge=:AAAA:"),
        ("Signature-Input", 'edge=("@method");created=1;keyid="edge"'),
    ):
        asked = changed(asked, name, f"{asked.headers[name]}, {more}")
    with pytest.raises(VisitError):
        open_request(dataclasses.replace(asked, body=b"other"), directors)


@given(st.text(string.printable, max_size=200), st.text(string.printable, max_size=200))
def test_garbage_is_refused_by_code(signature, parameters):
    headers = {**ask().headers, "Signature": signature, "Signature-Input": parameters}
    refused(open_request, Asked("POST", "a=b", headers, b"body"), directors)
    refused(read, ask(), {NEXT: "n2", "Signature": signature, "Signature-Input": parameters})


@pytest.mark.parametrize("years", [-30, -1, 1, 70])
def test_a_clock_that_is_wrong_by_years_blocks_nothing(years):
    asked = ask(now=NOW + years * 365.25 * 86_400)
    assert open_request(asked, directors).nonce == "n1"
    assert read(asked, tell(asked, now=NOW - years * 365.25 * 86_400)).nonce == "n2"


def test_keys_of_another_kind_are_refused():
    rsa, p384 = generate_rsa(65537, 2048).public_key(), generate_private_key(SECP384R1())
    for public in (IDENTITY.public_key(), p384.public_key(), rsa, b"no key", None):
        refused(open_request, ask(), lambda _keyid, key=public: key)
    asked = ask()
    for public in (DIRECTOR.public_key(), p384.public_key(), rsa, b"no key", None):
        refused(read, asked, tell(asked), find=lambda _keyid, key=public: key)
    swapped = ask(key=IDENTITY)
    refused(open_request, swapped, lambda _keyid: IDENTITY.public_key())
    refused(read, asked, tell(asked, key=DIRECTOR), find=lambda _keyid: DIRECTOR.public_key())


def test_another_fleets_manager_is_refused():
    refused(open_request, ask(key=OTHER_DIRECTOR), directors)
    refused(open_request, ask(keyid="unknown"), directors)
    assert open_request(ask(key=OTHER_DIRECTOR, keyid="other"), directors).keyid == "other"


def test_answers_of_two_agents_that_are_swapped_are_refused():
    asked = ask()
    refused(read, asked, tell(asked, key=OTHER_IDENTITY))
    assert read(asked, tell(asked, key=OTHER_IDENTITY, keyid="other")).keyid == "other", (
        "who compares it sees it"
    )


@given(
    query=queries, body=bodies, nonce=nonces, operation=st.sampled_from([Operation.CONTENT, Operation.VISIT])
)
def test_an_answer_to_another_request_is_refused(query, body, nonce, operation):
    first, second = ask(), ask(query=query, body=body, nonce=nonce, operation=operation)
    assume(first.headers["Signature"] != second.headers["Signature"])
    refused(read, second, tell(first))


@given(status=st.integers(100, 599), body=bodies, nonce=nonces)
def test_an_altered_answer_is_refused(status, body, nonce):
    asked = ask()
    headers = tell(asked)
    if status != 200:
        refused(read, asked, headers, status=status)
    if body != b"report":
        refused(read, asked, headers, body=body)
    if nonce != "n2":
        refused(read, asked, {**headers, NEXT: nonce})


@pytest.mark.parametrize("name", [NEXT, "Signature", "Signature-Input", "Content-Digest"])
@pytest.mark.parametrize("value", [None, "", "x", "popham=:AAAA:"])
def test_an_answers_headers_that_lack_or_are_nonsense_are_refused(name, value):
    asked = ask()
    headers = {**tell(asked), name: value}
    if value is None:
        del headers[name]
    refused(read, asked, headers)


def test_a_request_is_no_answer_and_an_answer_no_request():
    asked = ask()
    refused(read, asked, {**asked.headers, NEXT: "n2"}, find=directors)
    headers = tell(asked)
    refused(open_request, Asked("POST", "a=b", {**asked.headers, **headers}, b"report"), identity)


def test_a_request_without_a_signature_is_answered_without_one():
    bare = Asked("POST", "", {AUDIENCE: UID, OPERATION: "visit"}, b"")
    assert sign_answer(IDENTITY, "agent", bare, status=428, body=b"", nonce="n2", now=NOW) == {NEXT: "n2"}
    refused(open_request, bare, directors)


def test_requests_and_answers_survive_a_web_server_in_between():
    asked = ask(query="sha256=ab%2fcd", body=b"")
    headers = {name.lower(): f" {value}  ".strip() for name, value in asked.headers.items()}
    headers |= {"host": "inner:8080", "x-forwarded-for": "192.0.2.1", "via": "1.1 edge", "cookie": "a=b"}
    headers |= {"content-type": "text/plain", "content-encoding": "identity", "authorization": "Basic eA=="}
    came = read_asked("POST", "sha256=ab%2fcd", headers, b"")
    assert set(came.headers) <= {name.lower() for name in asked.headers}
    assert open_request(came, directors).nonce == "n1"
    answer = tell(came, body=b"report")
    there = {name.upper(): value for name, value in answer.items()}
    there |= {"SERVER": "nginx", "VARY": "Accept-Encoding", "SET-COOKIE": "x=y", "DATE": "now"}
    assert read(asked, there).nonce == "n2"


@pytest.mark.parametrize(
    "query", ["", "%00", "a=%2F", "a=%2f", "a=b&a=b", "=&=", "??", "a=/?:@", "a+b=c%20d"]
)
def test_odd_queries_are_signed_as_they_stand(query):
    asked = ask(query=query)
    assert open_request(read_asked("POST", query, asked.headers, b"body"), directors).keyid == "director"
    other = query.swapcase() if query.swapcase() != query else query + "&"
    refused(open_request, read_asked("POST", other, asked.headers, b"body"), directors)


@pytest.mark.parametrize(
    "query", ["%", "%%", "%zz", "[]=1", "a b", "ä=ö", 'a="b"', "a=\x00", "a=\r\nX: y", "#", "\\"]
)
def test_a_query_that_no_url_holds_is_refused_by_code(query):
    refused(open_request, dataclasses.replace(ask(), query=query), directors)


@pytest.mark.parametrize("nonce", ["n" * (NONCE_MAX + 1), "n" * 5000, "a b", "a\tb", 'a"b', "a\\b"])
def test_sec_a_next_nonce_that_could_not_be_sent_is_none(nonce):
    asked = ask()
    assert not read(asked, tell(asked, nonce=nonce)).nonce
    assert len(read(asked, tell(asked, nonce="n" * NONCE_MAX)).nonce) == NONCE_MAX


def test_nothing_secret_is_shown():
    assert "body" not in repr(signing.Asked("POST", "", {}, b"secret body"))


def test_sec_50_a_signature_that_leaves_out_what_has_to_be_signed_is_refused(monkeypatch):
    for left_out in signing._ASKED:
        if left_out == "content-digest":
            continue  # the library signs it wherever there is a body
        with monkeypatch.context() as patch:
            patch.setattr(signing, "_ASKED", tuple(name for name in signing._ASKED if name != left_out))
            asked = ask()
        with pytest.raises(VisitError, match="leaves out") as refused:
            open_request(asked, directors)
        assert refused.value.code == "visit.signature"


def test_what_is_sent_is_written_as_the_library_writes_it():
    ours = ask()
    theirs = Asked(
        ours.method, ours.query, {name: ours.headers[name] for name in (AUDIENCE, OPERATION)}, ours.body
    )
    (found,) = signing._Timeless(
        signature_algorithm=algorithms.ED25519, key_resolver=signing._Keys(directors)
    ).verify(ours, max_age=None, expect_tag="popham-visit/1")
    said = found.parameters
    signer = HTTPMessageSigner(
        signature_algorithm=algorithms.ED25519,
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={"director": DIRECTOR}),
    )
    signer.sign(
        theirs,
        key_id="director",
        created=dt.datetime.fromtimestamp(NOW, dt.UTC),
        nonce=said.get("nonce"),
        label="popham",
        tag="popham-visit/1",
        covered_component_ids=signing._ASKED,
        body=ours.body,
    )
    assert {name.lower(): value for name, value in theirs.headers.items()} == {
        name.lower(): value for name, value in ours.headers.items()
    }
