"""Frames are looked at in the order of length, form, CRC, digest, signature."""

from dataclasses import replace

import pytest
from tests.manager.intake.framing import KEY, Sender, join, sign

from popham.errors import StreamError
from popham.streams.frame import Stream
from popham.trust.keys import IdentityKey, SigningKey
from popham.upstream.checking import Verifier, divide

UID = b"u" * 16


def divided(frames, uid=UID, stream=Stream.LOGS):
    return divide(join(frames), uid, stream)


def refused(frames, **named):
    with pytest.raises(StreamError) as error:
        divided(frames, **named)
    return error.value.code


def test_frames_are_divided_where_they_end():
    frames = Sender().frames(3)
    found = divided(frames)
    assert [head for head, _ in found] == [frame.head for frame in frames]
    assert b"".join(part for _, part in found) == join(frames)
    assert divide(b"", UID, Stream.LOGS) == []


def test_what_does_not_end_is_short():
    data = join(Sender().frames(2))
    for cut in (1, 50, len(data) - 1):
        with pytest.raises(StreamError, match=r"stream\.short"):
            divide(data[:cut], UID, Stream.LOGS)


def test_more_frames_than_an_append_may_have_are_refused():
    assert refused(Sender().frames(257)) == "stream.many"


def test_frames_of_another_agent_or_stream_are_refused():
    assert refused(Sender().frames(1), uid=b"v" * 16) == "stream.signature"
    assert refused(Sender().frames(1), stream=Stream.EVENTS) == "stream.signature"


def test_rel_8_frames_out_of_order_or_of_two_epochs_are_refused():
    one, two = Sender().frames(2)
    assert refused([two, one]) == "stream.damaged"
    assert refused([one, one]) == "stream.damaged"
    assert refused([one, Sender(epoch=2).frame()]) == "stream.damaged"


def look(data, verifier):
    for head, part in divide(data, UID, Stream.LOGS):
        verifier.verify(head, part, [KEY.public.der])


def test_rel_16_every_byte_that_flips_is_found():
    frame = Sender().frame(b"some payload")
    data = frame.encode()
    verifier = Verifier()
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 0x10
        with pytest.raises(StreamError):
            look(bytes(broken), verifier)


def verify(frame, *keys):
    ((head, part),) = divided([frame])
    Verifier().verify(head, part, keys)


def test_a_frame_is_signed_by_the_key_in_use_or_the_one_before():
    new, stranger = IdentityKey.create(), IdentityKey.create()
    frame = Sender().frame()
    verify(frame, KEY.public.der, b"")
    verify(frame, new.public.der, KEY.public.der)
    for keys in ([new.public.der, stranger.public.der], [b"", b""], [b"no key"], []):
        with pytest.raises(StreamError, match=r"stream\.signature"):
            verify(frame, *keys)


def test_an_ed25519_key_signs_as_it_does_everywhere():
    key = SigningKey.create()
    frame = Sender().frame()
    verify(frame.sign(key.sign), key.public.der)
    with pytest.raises(StreamError, match=r"stream\.signature"):
        verify(replace(frame, signature=sign(KEY, frame.head.encode())), key.public.der)
