"""Frames of a held link that the visitor opened: each is signed for its link, its way and its place."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import VisitError
from popham.net.signing import FRAME_SIGNATURE, Frames

DIRECTOR, IDENTITY = Ed25519PrivateKey.generate(), generate_private_key(SECP256R1())


def ends(nonce="n1", *, director=DIRECTOR, identity=IDENTITY):
    """Return the Manager's end and the agent's."""
    down = Frames(director, identity.public_key(), nonce=nonce, up=False)
    up = Frames(identity, director.public_key(), nonce=nonce, up=True)
    return down, up


def refused(end, data):
    with pytest.raises(VisitError) as caught:
        end.open(data)
    assert caught.value.code == "visit.signature"


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=200)), max_size=8))
def test_messages_go_both_ways_in_their_order(messages):
    manager, agent = ends()
    for downwards, message in messages:
        sender, taker = (manager, agent) if downwards else (agent, manager)
        sealed = sender.seal(message)
        assert len(sealed) == FRAME_SIGNATURE + len(message)
        assert taker.open(sealed) == message


@given(st.binary(max_size=60), st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_refused(message, place, change):
    manager, agent = ends()
    sealed = bytearray(manager.seal(message))
    sealed[place % len(sealed)] ^= change
    refused(agent, bytes(sealed))


def test_frames_that_are_repeated_dropped_or_moved_are_refused():
    manager, agent = ends()
    first, second, third = (manager.seal(message) for message in (b"1", b"2", b"3"))
    refused(agent, second)
    assert agent.open(first) == b"1"
    refused(agent, first)
    refused(agent, third)
    assert agent.open(second) == b"2"
    manager, agent = ends()
    twice = [manager.seal(b"same"), manager.seal(b"same")]
    refused(agent, twice[1])


def test_a_frame_of_another_link_or_of_the_other_way_is_refused():
    manager, agent = ends("n1")
    other, _ = ends("n2")
    refused(agent, other.seal(b"m"))
    refused(manager, manager.seal(b"m"))
    refused(agent, agent.seal(b"m"))
    mirrored = Frames(DIRECTOR, IDENTITY.public_key(), nonce="n1", up=True)
    _, fresh = ends("n1")
    refused(fresh, mirrored.seal(b"m"))


def test_a_nonce_and_a_message_do_not_run_into_each_other():
    longer, _ = ends("n1x")
    _, agent = ends("n1")
    sealed = longer.seal(b"y")
    refused(agent, sealed[:FRAME_SIGNATURE] + b"xy")


def test_a_frame_of_somebody_else_is_refused():
    stranger, _ = ends(director=Ed25519PrivateKey.generate())
    manager, agent = ends()
    refused(agent, stranger.seal(b"m"))
    _, impostor = ends(identity=generate_private_key(SECP256R1()))
    refused(manager, impostor.seal(b"m"))


@pytest.mark.parametrize("data", [b"", b"x", bytes(63), bytes(64), bytes(200), b"\xff" * 64])
def test_what_is_no_frame_is_refused(data):
    for end in ends():
        refused(end, data)
