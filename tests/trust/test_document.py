import pytest

from popham.trust.document import (
    decode_base64,
    decode_base64url,
    encode_base64url,
    parse_strict,
)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b"[1]",
        b"1",
        b"",
        b"{",
        b'{"a":1} x',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"1" * 10_000 + b"}",
    ],
)
def test_sec_49_json_that_two_readers_could_read_differently_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        parse_strict(data)


def test_a_plain_object_is_read():
    assert parse_strict(b'{"a":[1,2.5,null,"\xc3\xa9"]}') == {"a": [1, 2.5, None, "é"]}


@pytest.mark.parametrize("text", ["QQ", "QR==", "QQ==\n", "Q Q==", "-_==", None, 7, "QUI=é"])
def test_base64_has_one_form(text):
    assert decode_base64("QQ==") == b"A"
    with pytest.raises(ValueError, match=r"."):
        decode_base64(text)


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "Q+", None, "Q\nQ", "é"])
def test_base64url_has_one_form_without_padding(text):
    assert decode_base64url(encode_base64url(b"\xff\xfe")) == b"\xff\xfe"
    with pytest.raises(ValueError, match=r"."):
        decode_base64url(text)
