"""How far streams are above, as a proxy remembers it."""

from popham.proxy.spool.words import NAME, Words
from popham.streams.disk import SystemDisk
from popham.streams.frame import Stream
from popham.streams.standing import Standing

UID, OTHER = b"a" * 16, b"b" * 16


def test_that_there_is_no_epoch_is_known_by_stream_kept_on_the_disk_and_forgotten_with_the_agent(tmp_path):
    words = Words()
    words.note(UID, Standing(stream=Stream.EVENTS))
    assert words.is_first
    words.note(UID, Standing(stream=Stream.LOGS, epoch=7, newest=7, next=3))
    words.note(OTHER, Standing(stream=Stream.LOGS))
    words.freshen(UID, Stream.EVENTS, 0)
    assert words.is_fresh(UID, Stream.EVENTS, 0)
    assert words.is_fresh(UID, Stream.EVENTS, 5), "an epoch that is newer than all is not known above"
    assert not words.is_fresh(UID, Stream.METRICS, 0)
    assert not words.is_fresh(UID, Stream.LOGS, 7)
    (tmp_path / NAME).write_bytes(words.encode())
    read = Words()
    read.load(SystemDisk(), tmp_path)
    found = [read.newest(uid, stream) for uid in (UID, OTHER) for stream in Stream]
    assert found == [0, None, None, 7, None, None, None, 0]
    assert not read.is_fresh(UID, Stream.EVENTS, 0), "that was said to another process"
    read.note(UID, Standing(stream=Stream.EVENTS))
    assert not read.is_first
    words.forget(UID)
    assert [words.newest(UID, stream) for stream in Stream] == [None] * 4
    assert not words.is_fresh(UID, Stream.EVENTS, 0)
    assert words.newest(OTHER, Stream.LOGS) == 0


def test_an_epoch_takes_the_place_of_none_and_the_other_way_round():
    words = Words()
    words.note(UID, Standing(stream=Stream.LOGS))
    words.note(UID, Standing(stream=Stream.LOGS, epoch=9, newest=9, next=1))
    words.freshen(UID, Stream.LOGS, 9)
    assert words.newest(UID, Stream.LOGS) == 9
    assert words.is_fresh(UID, Stream.LOGS, 0)
    assert not words.is_fresh(UID, Stream.LOGS, 8)
    words.note(UID, Standing(stream=Stream.LOGS))
    assert words.newest(UID, Stream.LOGS) == 0
