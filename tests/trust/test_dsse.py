import json

import pytest

from popham.errors import TrustError
from popham.model.bundle import BUNDLE_TYPE
from popham.model.names import canonical
from popham.trust.dsse import SIGNATURES_LIMIT, Envelope, encode_pae, seal
from popham.trust.keys import SigningKey

KEY = SigningKey.create()
SEALED = seal("text/x", b"payload", KEY)


def refusal(data, types=("text/x",), limit=4096):
    with pytest.raises(TrustError) as refused:
        Envelope.parse(data, types=types, limit=limit)
    return refused.value.code


def altered(**changes):
    return canonical(json.loads(SEALED) | changes)


def signature(keyid=KEY.keyid, sig="QQ=="):
    return {"keyid": keyid, "sig": sig}


def test_what_was_sealed_comes_back():
    parsed = Envelope.parse(SEALED, types=("text/x",))
    assert (parsed.payload_type, parsed.payload) == ("text/x", b"payload")
    KEY.public.verify(parsed.signatures[KEY.keyid], parsed.pae())
    assert parsed.encode() == SEALED


def test_the_encoding_that_is_signed_is_that_of_the_specification():
    assert encode_pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_sec_9_size_is_looked_at_before_anything_else():
    assert refusal(b"{" * 5000) == "trust.size"
    assert refusal(SEALED, limit=len(SEALED) - 1) == "trust.size"
    Envelope.parse(SEALED, types=("text/x",), limit=len(SEALED))


def test_sec_48_a_type_that_does_not_belong_is_refused():
    assert refusal(SEALED, types=(BUNDLE_TYPE,)) == "trust.type"
    assert refusal(SEALED, types=()) == "trust.type"


def test_sec_48_an_empty_list_of_signatures_is_a_refusal():
    assert refusal(altered(signatures=[])) == "trust.signature"


@pytest.mark.parametrize(
    "data",
    [
        canonical({"payload": "QQ==", "payloadType": "text/x"}),
        altered(signatures=None),
        altered(signatures={}),
        altered(signatures=[signature(), signature()]),
        altered(signatures=[signature(f"{n:064x}") for n in range(SIGNATURES_LIMIT + 1)]),
        altered(signatures=[{"sig": "QQ=="}]),
        altered(signatures=[{"keyid": KEY.keyid}]),
        altered(signatures=[signature() | {"alg": "none"}]),
        altered(signatures=[signature(keyid="")]),
        altered(signatures=[signature(keyid=None)]),
        altered(signatures=[signature(keyid=KEY.keyid.upper().replace("0", "A"))]),
        altered(signatures=[signature(sig="QR==")]),
        altered(signatures=[signature(sig="-_-_")]),
        altered(signatures=[signature(sig=None)]),
        altered(signatures=["x"]),
        altered(payload="QQ"),
        altered(payload=None),
        altered(payloadType=7),
        altered(payloadType="\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), extra=1),
        altered(note="unsigned words that ride along"),
        SEALED.replace(b",", b", ", 1),
        SEALED + b"\n",
        SEALED.replace(b'{"payload"', b'{"payload":"QQ==","payload"', 1),
        SEALED.replace(b'"text/x"', b'"text\\/x"'),
        SEALED.replace(b'"text/x"', b'"\\ud800"'),
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"payload":NaN}',
        b"[" * 4000,
        "{}".encode("utf-16"),
    ],
)
def test_sec_48_an_envelope_in_any_other_form_is_refused(data):
    assert refusal(data, limit=1 << 20) == "trust.envelope"


def test_sec_48_an_envelope_that_is_accepted_is_in_its_one_form_whatever_byte_is_another():
    texts = {
        SEALED,
        altered(signatures=[signature(), signature("0" * 64)]),
        altered(payload="QQ==", payloadType='a"'),
    }
    for sealed in texts:
        for at in range(len(sealed)):
            for byte in b'"\\ =A/R{,z':
                data = sealed[:at] + bytes([byte]) + sealed[at + 1 :]
                try:
                    found = Envelope.parse(data, types=("text/x", 'a"'))
                except TrustError:
                    continue
                assert found.encode() == data
