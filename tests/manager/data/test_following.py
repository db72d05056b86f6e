"""From the intake into memory and into files: nothing is missing, nothing is doubled."""

import pytest
from tests.manager.data.intaking import (
    ALICE,
    BOB,
    NOW,
    SECOND,
    Clock,
    Running,
    Segments,
    lines,
    make_follower,
    until,
)

from popham.manager.data import catalog as catalogs
from popham.manager.data import follower
from popham.manager.data.place import place_of
from popham.manager.data.upkeep import TOGETHER
from popham.manager.intake.position import Position
from popham.streams.frame import Stream

DAY = 86_400


def numbered(number, count=3):
    return lines([f"{number}.{part}" for part in range(count)])


def everything(*numbers, count=3):
    return sorted(f"{number}.{part}" for number in numbers for part in range(count))


async def test_what_came_is_found_before_it_is_in_a_file(tmp_path):
    segments = Segments()
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        segments.take(*numbered(1))
        await running.read_all()
        assert running.bodies() == ["1.0", "1.1", "1.2"]
        assert not running.follower.catalog.contents.files


async def test_f_d5_a_record_stands_once_in_memory_and_once_in_a_file(tmp_path):
    segments = Segments()
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        segments.take(*numbered(1))
        await running.read_all()
        await running.follower.write()
        assert sorted(running.bodies()) == everything(1)
        segments.take(*numbered(2), uid=BOB)
        await running.read_all()
        assert sorted(running.bodies()) == everything(1, 2)
    assert segments.released[Stream.LOGS, "files"] == Position(1, 1000)
    assert [path.name for path in tmp_path.glob("logs/2027-01-15/*")] == ["1.1000-1.1000.parquet"]
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        assert sorted(running.bodies()) == everything(1, 2)


@pytest.mark.parametrize("step", ["finish_file", "replace_file"])
async def test_f_d5_a_crash_while_files_are_written_loses_and_doubles_nothing(tmp_path, monkeypatch, step):
    segments = Segments()
    segments.take(*lines(["old", "new"], time=NOW - DAY, step=DAY))
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        with monkeypatch.context() as patched:
            # The files stand, or one of two does; the catalog does not name them.
            broken = break_after(step)
            patched.setattr("popham.manager.data.writing.finish_file", broken)
            patched.setattr(catalogs, "replace_file", broken)
            with pytest.raises(OSError, match="power"):
                await running.follower.write()
        assert sorted(running.bodies()) == ["new", "old"]
    assert list(tmp_path.glob("logs/*/*.parquet"))
    segments.take(*numbered(1))
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        assert sorted(running.bodies()) == [*everything(1), "new", "old"]
        await running.follower.write()
        assert sorted(running.bodies()) == [*everything(1), "new", "old"]


def break_after(step):
    """Return what stands for both steps: it fails at the second file, or at the catalog."""
    real, done = catalogs.finish_file, []

    def act(path, *more):
        if path.name == catalogs.NAME or (step == "finish_file" and done):
            raise OSError("power")
        done.append(path)
        real(path, *more)

    return act


async def test_f_d5_merging_files_leaves_every_record_once(tmp_path):
    segments = Segments()
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        for number in range(TOGETHER):
            with running.follower.look() as before:
                segments.take(*numbered(number), uid=ALICE if number % 2 else BOB)
                await running.read_all()
                await running.follower.write()
                held = [running.follower.catalog.path(file) for file in before.contents.files]
                assert all(path.exists() for path in held), "whoever reads keeps its files"
        (file,) = running.follower.catalog.contents.files
        assert (file.level, file.rows) == (1, 3 * TOGETHER)
        assert sorted(running.bodies()) == everything(*range(TOGETHER))
        assert [path.name for path in tmp_path.glob("logs/*/*.parquet")] == [file.name]


async def test_records_stand_under_the_day_on_which_they_were(tmp_path):
    segments = Segments()
    segments.take(*lines(["old", "new"], time=NOW - DAY, step=DAY))
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        await running.follower.write()
        assert [file.day for file in running.follower.catalog.contents.files] == ["2027-01-14", "2027-01-15"]
        assert running.bodies(since=(NOW - 10) * SECOND) == ["new"]


async def test_what_is_too_old_is_dropped_and_counted(tmp_path):
    segments, clock = Segments(), Clock()
    segments.take(*lines(["ancient", "new"], time=NOW - 30 * DAY, step=30 * DAY))
    async with Running(make_follower(tmp_path, segments, clock), segments) as running:
        await running.follower.write()
        assert running.bodies() == ["new"]
        clock.at += 9 * DAY
        await running.follower.write()
        assert running.bodies() == []
        assert running.follower.catalog.contents.dropped == {"age": 2}


async def test_what_is_too_much_is_dropped_the_oldest_first(tmp_path):
    segments = Segments()
    segments.take(*lines(["old", "new"], time=NOW - DAY, step=DAY))
    async with Running(make_follower(tmp_path, segments, Clock(), most=4096), segments) as running:
        await running.follower.write()
        assert running.bodies() == ["new"]
        assert running.follower.catalog.contents.dropped == {"bytes": 1}


async def test_rel_12_what_cannot_be_read_is_counted_once_and_stops_nobody(tmp_path):
    segments = Segments()
    segments.take(b"\xff\xff", 5)
    segments.take(*numbered(1))
    for _ in range(2):
        async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
            assert running.bodies() == everything(1)
            await running.follower.write()
            assert running.follower.catalog.contents.aside == {"broken": 5}
    assert [path.suffix for path in (tmp_path / "aside" / "logs").iterdir()] == [".broken"]


async def test_rel_16_a_file_that_is_damaged_is_set_aside_and_the_rest_is_served(tmp_path):
    segments = Segments()
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        for number in (1, 2):
            segments.take(*numbered(number))
            await running.read_all()
            await running.follower.write()
        path = running.follower.catalog.path(running.follower.catalog.contents.files[0])
        path.write_bytes(path.read_bytes()[:-40] + bytes(40))
        assert await running.follower.inspect()
        assert running.bodies() == everything(2)
        assert running.follower.catalog.contents.dropped == {"damaged": 3}
        assert path.with_name(path.name + ".damaged").exists()
        assert not await running.follower.inspect()


async def test_rel_16_a_damaged_catalog_is_made_anew_from_the_files(tmp_path):
    segments = Segments()
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        segments.take(*numbered(1))
        await running.read_all()
        await running.follower.write()
    (tmp_path / "logs" / "catalog.json").write_bytes(b"{")
    segments.take(*numbered(2))
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        assert sorted(running.bodies()) == everything(1, 2)


async def test_while_the_disk_takes_nothing_everything_is_found_and_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("popham.manager.data.follower.FULL", 1)
    segments = Segments()

    def refuse(*_):
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr("popham.manager.data.follower.write_days", refuse)
        async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
            segments.take(*numbered(1))
            await until(running.bodies)
            with pytest.raises(OSError, match="no space"):
                await running.follower.write()
            assert running.bodies() == everything(1)
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        await running.follower.write()
        assert running.bodies() == everything(1)


async def test_what_could_not_be_written_is_tried_again_though_nothing_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(follower, "LOOK", 0.01)
    segments, write = Segments(), follower.write_days
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        await until(lambda: running.follower._day)

        def refuse(*_):
            monkeypatch.setattr(follower, "write_days", write)
            raise OSError("no space")

        monkeypatch.setattr(follower, "write_days", refuse)
        segments.take(*numbered(1))
        await running.read_all()
        with pytest.raises(OSError, match="no space"):
            await running.follower.write()
        await until(lambda: running.follower.catalog.contents.files)
        assert running.bodies() == everything(1)


async def test_rel_12_few_bytes_that_are_many_rows_are_read_an_entry_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(follower, "_ROWS", 10)
    segments = Segments()
    for _ in range(3):
        segments.take(*lines(["x"] * 25))
    made = make_follower(tmp_path, segments, Clock())
    batches, end = made._read(Position())
    assert [batch.num_rows for batch, _ in batches] == [10, 10, 5]
    assert end == place_of(segments.entries[0].position_after)


async def test_many_small_entries_stay_few_batches_in_their_order(tmp_path):
    segments = Segments()
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        for number in range(300):
            segments.take(*numbered(number, count=1))
            if number % 2:
                await running.read_all()
        await running.read_all()
        assert sorted(running.bodies()) == sorted(f"{number}.0" for number in range(300))
        with running.follower.look() as snapshot:
            assert len(snapshot.batches) <= 65
        middle = running.find(after=f"{(1 << 40) + 150_000}.{(1 << 62) - 1}")
        assert [row[middle.names.index("body")] for row in middle.rows[:2]] == ["150.0", "151.0"]
