"""Heads that were read before: what may differ, what may not, and how many are kept."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.net.hot.head import Head, Round
from popham.net.hot.heads import KEPT, LONGEST, Heads

ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


def whole(uid="", body=b"12345", token="t", name="OpAMP-Instance-UID", more=b""):
    said = f"{name}: {uid}\r\n".encode() if uid is not None else b""
    return (
        b"POST /v1/opamp HTTP/1.1\r\nHost: x\r\n"
        + said
        + f"Authorization: Bearer {token}\r\n".encode()
        + b"Content-Type: application/x-protobuf\r\n"
        + more
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


def learn(data, known=None):
    """Read a request as a connection does, and keep its head."""
    head = Head()
    for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        head.add(name, value)
    asked = Round(head, keep=True)
    asked.remember(data)
    known = Heads() if known is None else known
    known.keep(asked)
    return known


@pytest.mark.parametrize("name", ["OpAMP-Instance-UID", "Opamp-Instance-Uid"])
def test_agents_that_differ_in_their_uid_share_a_head(name):
    heads = learn(whole(ONE, name=name))
    found = heads.find(whole(TWO, name=name, body=b"abcde"))
    assert (found.uid, found.bearer, found.length, found.keep) == (TWO.bytes, "t", 5, True)
    assert whole(TWO, name=name).startswith(found.raw)
    assert found.whole == len(whole(TWO, name=name))
    assert heads.find(whole(ONE, name=name)).uid == ONE.bytes


def test_a_head_without_uid_is_known_to_the_letter():
    heads = learn(whole(None))
    assert heads.find(whole(None, body=b"abcde")).uid == b""
    assert heads.find(whole(ONE)) is None
    assert heads.find(whole("")) is None


@pytest.mark.parametrize(
    "other",
    [
        whole(TWO, token="u"),
        whole(TWO, body=b"1234"),
        whole(TWO, more=b"Transfer-Encoding: chunked\r\n"),
        whole(TWO, name="opamp-Instance-UID"),
        whole(""),
        whole(f"{TWO}0"),
        whole(str(TWO)[:-1] + "\r"),
        whole("\0"),
        whole("urn:uuid:" + str(TWO)),
        whole(TWO) + b"P",
        whole(TWO)[:-1],
        b"",
    ],
)
def test_whatever_else_differs_is_read_anew(other):
    assert learn(whole(ONE)).find(other) is None


def test_a_head_that_belongs_to_one_agent_is_not_kept():
    assert len(learn(whole(ONE, name="oPAMP-Instance-UID"))) == 0
    assert len(learn(whole("urn:uuid:" + str(ONE)))) == 0


def test_how_many_heads_are_kept_and_how_long_each_may_be_is_bounded():
    heads = Heads()
    for number in range(KEPT + 10):
        learn(whole(ONE, token=f"t{number}"), heads)
    assert len(heads) == KEPT
    assert heads.find(whole(ONE, token="t0")) is None
    assert heads.find(whole(ONE, token=f"t{KEPT}")) is not None
    assert len(learn(whole(ONE, more=b"X-More: " + b"x" * LONGEST + b"\r\n"))) == 0


@given(st.uuids(), st.uuids(), st.binary(max_size=40), st.booleans())
def test_what_is_found_is_what_would_be_read(first, second, body, upper):
    text = str(second).upper() if upper else str(second)
    heads = learn(whole(first, body=body))
    found, read = (
        heads.find(whole(text, body=body)),
        next(iter(learn(whole(text, body=body))._known.values())),
    )
    names = list(Round.__slots__)
    assert [getattr(found, name) for name in names] == [getattr(read, name) for name in names]
