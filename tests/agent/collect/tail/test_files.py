"""Log files, from the line that is written to the record in the stream."""

import os

import pytest

from popham.agent.collect.tail.checkpoint import NAME, take_up
from popham.agent.collect.tail.followed import GRACE, HOLD, Cause
from popham.agent.collect.tail.wire import RECORD_LIMIT
from popham.errors import StateError
from popham.testing.virtual import pass_time


def test_rel_27_lines_come_once_across_rotation_by_rename(story):
    async def tell():
        await story.start()
        story.write("app.log", "1\n2\n")
        await pass_time(1)
        story.write("app.log", "3\n").rename(story.folder / "app.log.1")
        story.write("app.log", "5\n")
        # Its writer has the old one open still.
        story.write("app.log.1", "4\n")
        await pass_time(GRACE / 2)
        story.write("app.log.1", "6\n")
        await pass_time(GRACE * 3)
        assert sorted(story.stream.lines()) == ["1", "2", "3", "4", "5", "6"]
        assert story.files.status().sources["shop"].files == 1

    story.run(tell)


def test_rel_27_a_file_truncated_in_place_is_read_from_its_beginning_and_what_was_lost_is_told(story):
    async def tell():
        path = story.write("app.log", "1\n2\n")
        await story.start()
        story.files.pause()
        await pass_time(1)
        story.write("app.log", "lost\n")
        await pass_time(1)
        os.truncate(path, 0)
        story.write("app.log", "3\n")
        await pass_time(4)
        story.files.resume()
        await story.files.collect()
        assert story.stream.lines() == ["1", "2", "3"]
        assert [(loss.size, loss.cause) for loss in story.lost] == [(5, Cause.TRUNCATED)]

    story.run(tell)


def test_rel_27_a_file_truncated_and_grown_beyond_its_place_is_known_by_what_stands_before_the_place(story):
    async def tell():
        path = story.write("app.log", "1\n2\n")
        await story.start()
        os.truncate(path, 0)
        story.write("app.log", "3\n4\n5\n")
        await story.files.collect()
        assert story.stream.lines() == ["1", "2", "3", "4", "5"]

    story.run(tell)


def test_rel_27_a_file_renamed_while_the_agent_was_away_is_read_to_its_end(story):
    async def tell():
        story.write("app.log", "1\n")
        await story.start()
        await story.end()
        story.write("app.log", "2\n").rename(story.folder / "app.log.1")
        story.write("app.log", "3\n")
        story.write("other.1", "not meant\n")
        await story.start()
        await pass_time(1)
        assert sorted(story.stream.lines()) == ["1", "2", "3"]

    story.run(tell)


def test_rel_27_an_inode_used_again_by_another_file_is_seen(story):
    async def tell():
        path = story.write("app.log", "1\n2\n")
        await story.start()
        await story.end()
        # The same number, as after a deletion.
        path.write_text("another\nfile\n")
        await story.start()
        assert story.stream.lines() == ["1", "2", "another", "file"]

    story.run(tell)


@pytest.mark.parametrize("taken", range(3))
def test_rel_27_a_crash_between_spool_and_checkpoint_doubles_and_loses_nothing(story, taken):
    line = "x" * 300_000

    async def tell():
        await story.start()
        story.write("app.log", "".join(f"{number} {line[: 200 * 1024]}\n" for number in range(6)))
        story.stream.room = taken
        # A crash leaves the checkpoint as it was before the batch.
        await pass_time(1)
        assert story.files.status().stopped
        crashed = story.storage.files.copy()
        await story.end()
        story.storage.files = crashed
        story.stream.room = None
        await story.start()
        assert [body.split()[0] for body in story.stream.lines()] == [*"012345"]

    story.run(tell)


def test_rel_27_others_append_only_once_what_was_not_taken_is_written_off(story):
    async def tell():
        await story.start()
        story.write("app.log", "1\n")
        story.stream.room = 0
        await pass_time(1)
        assert story.stream.turn.locked()
        async with story.stream.turn:
            # So far, a crash would ask how much of the batch came.
            crashed = story.storage.files.copy()
            story.stream.end += 5
        story.storage.files = crashed
        rows = take_up(story.storage, *story.stream.position()).rows
        assert [row.offset for row in rows] == [0]
        story.stream.end = 0

    story.run(tell)


def test_rel_27_a_spool_that_lost_its_history_gets_the_batch_again(story):
    async def tell():
        story.write("app.log", "1\n")
        await story.start()
        crashed = story.storage.files.copy()
        await story.end()
        story.storage.files = crashed
        story.stream.epoch, story.stream.end, story.stream.payloads = 2, 0, []
        await story.start()
        assert story.stream.lines() == ["1"]

    story.run(tell)


def test_rel_27_a_full_spool_loses_nothing_until_the_file_is_gone_and_then_it_is_counted(story):
    async def tell():
        await story.start()
        story.stream.room = 0
        kept = story.write("kept.log", "1\n2\n")
        story.write("app.log", "lost\n")
        await pass_time(5)
        assert story.files.status().stopped == "the disk is full"
        assert story.files.status().sources["shop"].waiting == 9
        (story.folder / "app.log").unlink()
        kept.rename(story.folder / "kept.log.1")
        await pass_time(HOLD + 10)
        story.stream.room = None
        await pass_time(5)
        assert story.stream.lines() == ["1", "2"]
        assert [(loss.size, loss.cause) for loss in story.lost] == [(5, Cause.DELETED)]
        assert story.files.status().lost == {"deleted": 5}

    story.run(tell)


def test_rel_27_a_checkpoint_that_cannot_be_written_stops_reading_and_loses_nothing(story):
    async def tell():
        await story.start()
        write, story.storage.write = story.storage.write, _fail
        story.write("app.log", "1\n")
        await pass_time(5)
        assert (story.stream.end, story.files.status().stopped) == (0, "no room")
        story.storage.write = write
        await pass_time(5)
        assert story.stream.lines() == ["1"]

    story.run(tell)


def _fail(*_):
    raise StateError("disk", "no room")


def test_rel_12_poison_lines_come_with_their_neighbours(story):
    poison = [
        b"\0" * 100,
        b"\xff\xfe broken \xc3",
        b"",
        b"\r",
        "\U0001f4a5".encode(),
        b"\xed\xa0\x80",
        b"y" * 20_000_000,
    ]

    async def tell():
        await story.start()
        for number, line in enumerate(poison):
            story.write("app.log", b"before %d\n%b\nafter %d\n" % (number, line, number))
        await pass_time(10)
        records = story.stream.records()
        bodies = [record.body.string_value for record in records]
        assert bodies[::3] == [f"before {number}" for number in range(len(poison))]
        assert bodies[2::3] == [f"after {number}" for number in range(len(poison))]
        broken = "\ufffd\ufffd broken \ufffd"
        assert bodies[1:-2:3] == ["\0" * 100, broken, "", "", "\U0001f4a5", "\ufffd" * 3]
        long = records[-2]
        cut = next(one.value.int_value for one in long.attributes if one.key == "popham.cut")
        assert cut + len(long.body.string_value) == 20_000_000
        assert RECORD_LIMIT - 1024 < long.ByteSize() <= RECORD_LIMIT
        assert story.files.status().cut == 1

    story.run(tell)


def test_rel_25_files_names_and_remembered_places_are_bounded(story):
    async def tell():
        for number in range(5):
            story.write(f"{number}.log", f"{number}\n")
        await story.start(most=3)
        assert story.stream.lines() == ["0", "1", "2"]
        assert story.files.status().over == 2
        (story.folder / "0.log").unlink()
        await pass_time(GRACE * 2)
        assert story.stream.lines() == ["0", "1", "2", "3"]

    story.run(tell)


def test_rel_25_what_must_not_or_cannot_be_read_is_said_and_holds_nobody_up(story):
    async def tell():
        os.mkfifo(story.folder / "pipe.log")
        (story.folder / "folder.log").mkdir()
        story.write("old.log.gz", "packed\n")
        secret = story.write("secret", "secret\n")
        (story.folder / "link.log").symlink_to(secret)
        (story.folder / "loop.log").symlink_to("loop.log")
        story.refused.add(str(secret))
        story.write("app.log", "1\n")
        await story.start(story.source("*.log*"))
        assert story.stream.lines() == ["1"]
        problems = story.files.status().problems
        assert [path.rpartition("/")[2] for path in problems] == ["link.log"]

    story.run(tell)


def test_rel_25_one_file_at_a_hundred_times_the_rate_does_not_hold_up_others(story):
    async def tell():
        await story.start()
        story.write("a.log", ("x" * 99 + "\n") * 200_000)
        story.write("b.log", "here\n")
        await story.files.collect()
        assert story.stream.lines().index("here") < 60_000

    story.run(tell)


def test_rel_27_the_checkpoint_forgets_files_that_are_gone(story):
    async def tell():
        story.write("app.log", "1\n").unlink()
        story.write("old.log", "1\n")
        await story.start()
        (story.folder / "old.log").unlink()
        await pass_time(GRACE * 2)
        assert b"old.log" in story.storage.files[NAME]
        story.clock.offset += 25 * 3600
        story.write("new.log", "2\n")
        await story.files.collect()
        assert b"old.log" not in story.storage.files[NAME]

    story.run(tell)
