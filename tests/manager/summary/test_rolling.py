"""F.D7: roll-ups of ten minutes, hours and days; whole, restart-proof, and of what came late too."""

import json
from pathlib import Path

import pytest
from tests.manager.summary.feeding import CPU, MOUNTED, UIDS

from popham.manager.data.catalog import Contents
from popham.manager.data.columns import form_of, make_batch
from popham.manager.data.engine import Engine
from popham.manager.data.rows import STREAM, PointRow
from popham.manager.data.writing import write_days
from popham.manager.summary.levels import BY_NAME, DAY, LATENESS
from popham.manager.summary.rolled import read_rolled
from popham.manager.summary.rolling import JOURNAL, Rolling
from popham.streams.frame import Stream

BEGIN = 1_800_000_000 - 1_800_000_000 % DAY
"""The beginning of a day."""
FORM = form_of(Stream.SUMMARY)


def row(at, value, *, uid=UIDS[1], name=CPU, attributes="{}"):
    nanos = round((BEGIN + at) * 1e9)
    return PointRow(
        uid=uid,
        epoch=1,
        offset=0,
        received=nanos,
        skew=None,
        at=nanos,
        time=nanos,
        start=0,
        name=name,
        unit="1",
        kind="gauge",
        delta=False,
        value=value,
        detail="",
        attributes=attributes,
        resource="{}",
        way=STREAM,
    )


class Files:
    """The summary's files, and what rolls them up: a new process whenever it is asked for."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.engine = Engine(folder, memory=256 * 1024**2)
        self.contents = Contents()
        self.rolling = Rolling(folder, self.engine)

    def add(self, *rows):
        """Write rows into files, as what came next."""
        place = self.contents.place + 1
        batch = make_batch(FORM, [place] * len(rows), rows)
        summary = self.folder / "summary"
        summary.mkdir(exist_ok=True)
        with self.engine.open() as connection:
            files = write_days(connection, summary, FORM, [batch], 0)
        self.contents = Contents(files=(*self.contents.files, *files), place=place)

    def roll(self, now, *, plans=(), restart=False):
        """Make what is due; with a new process for each window, if ``restart``."""
        assert self.rolling.note(self.contents, self.folder / "summary")
        while self.rolling.make(self.contents, self.folder / "summary", dict(plans), BEGIN + now):
            if restart:
                self.rolling = Rolling(self.folder, self.engine)

    def read(self, level, *, uid=UIDS[1], since=0, until=400 * DAY, item=""):
        with self.engine.open() as connection:
            return read_rolled(
                connection,
                self.folder,
                BY_NAME[level],
                uid,
                since=BEGIN + since,
                until=BEGIN + until,
                item=item,
            )


@pytest.fixture
def files(tmp_path):
    found = Files(tmp_path)
    yield found
    found.engine.close()


def hours(count, *, every=60, uid=UIDS[1]):
    return [row(at, (at // 60) % 10, uid=uid) for at in map(float, range(0, count * 3600, every))]


@pytest.mark.parametrize("restart", [False, True])
def test_f_d7_two_hours_become_windows_of_ten_minutes_two_hours_and_a_day(files, restart):
    files.add(*hours(2), *hours(2, uid=UIDS[2]))
    files.roll(DAY + LATENESS, restart=restart)
    for level, windows, share in (("10m", 12, 1.0), ("1h", 2, 1.0), ("1d", 1, 120 / 1440)):
        found = files.read(level)
        assert {(one.min, one.max, one.mean, one.count, one.whole) for one in found} == {
            (0.0, 9.0, 4.5, 120 // windows, True)
        }
        assert [one.share for one in found] == pytest.approx([share] * windows)
        seconds = BY_NAME[level].seconds
        assert [one.at for one in found] == [BEGIN + number * seconds for number in range(windows)]


def test_f_d7_a_window_is_made_once_it_is_over_and_most_of_what_is_late_has_come(files):
    files.add(*hours(1))
    files.roll(600 + LATENESS - 1)
    assert files.read("10m") == ()
    files.roll(600 + LATENESS)
    assert [one.at for one in files.read("10m")] == [BEGIN]


def test_f_d7_what_comes_late_counts_in_every_level(files):
    first, late = hours(2)[:60], hours(2)[60:]
    files.add(*first)
    files.roll(DAY + LATENESS)
    assert (len(files.read("10m")), len(files.read("1h")), files.read("1d")[0].count) == (6, 1, 60)
    files.add(*late[30:], *late[:20])
    files.roll(DAY + LATENESS)
    files.add(*late[20:30])
    files.roll(2 * DAY)
    files.roll(2 * DAY)
    assert (len(files.read("10m")), len(files.read("1h")), files.read("1d")[0].count) == (12, 2, 120)


@pytest.mark.parametrize(("kept", "whole"), [(6, False), (7, True)])
def test_f_d7_a_value_is_whole_from_a_share_of_its_samples_on(files, kept, whole):
    files.add(*(one for one in hours(1) if one.value < kept))
    files.roll(DAY + LATENESS)
    for level in ("10m", "1h"):
        assert {(one.share, one.whole) for one in files.read(level)} == {(kept / 10, whole)}


@pytest.mark.parametrize(("samples", "whole"), [(14, False), (15, True)])
def test_f_d7_a_day_is_whole_from_a_hundredth_on(files, samples, whole):
    files.add(*hours(1)[:samples])
    files.roll(DAY + LATENESS)
    (found,) = files.read("1d")
    assert (found.count, found.whole) == (samples, whole)


def test_f_d7_the_share_is_of_what_the_policy_of_the_agent_asks_for(files):
    files.add(*hours(1, every=300), *hours(1, every=300, uid=UIDS[2]))
    files.roll(DAY + LATENESS, plans={UIDS[2]: 300.0})
    assert {one.share for one in files.read("10m")} == {0.2}
    assert {one.share for one in files.read("1h", uid=UIDS[2])} == {1.0}


def test_f_d7_the_fullest_filesystem_is_one_item_whichever_it_is(files):
    mounts = ('{"system.filesystem.mountpoint":"/"}', '{"system.filesystem.mountpoint":"/var"}')
    files.add(*(row(at * 60.0, 0.5, name=MOUNTED, attributes=mounts[at % 2]) for at in range(10)))
    files.roll(DAY)
    (found,) = files.read("10m", item=MOUNTED)
    assert (found.resource, found.count, found.whole) == ("", 10, True)
    assert files.read("10m", item=CPU) == ()


def test_f_d7_days_are_kept_for_a_week_six_weeks_and_thirteen_months(files):
    files.add(*hours(1))
    files.roll(DAY + LATENESS)
    for kept, gone in ((7, "600"), (42, "3600"), (396, "86400")):
        assert files.rolling.drop(BEGIN + DAY + kept * DAY - 1) == []
        assert files.rolling.drop(BEGIN + DAY + kept * DAY) == [f"{gone}/2027-01-15"]


def test_f_d7_nothing_is_made_of_less_than_it_was_made_of(files):
    files.add(*hours(1))
    files.roll(DAY + LATENESS)
    # The summary itself is kept for a shorter time; one sample comes much later.
    files.contents = Contents(place=files.contents.place)
    files.add(row(30.0, 99.0))
    files.roll(5 * DAY)
    assert files.read("10m")[0].count == 10
    assert files.read("1d")[0].count == 60


@pytest.mark.parametrize("junk", ["", "{", json.dumps({"place": "x"})])
def test_f_d7_a_damaged_journal_costs_work_and_nothing_else(files, junk):
    files.add(*hours(1))
    files.roll(DAY + LATENESS)
    before = files.read("10m"), files.read("1h"), files.read("1d")
    (files.folder / "rollups" / JOURNAL).write_text(junk)
    files.rolling = Rolling(files.folder, files.engine)
    files.roll(DAY + LATENESS)
    assert (files.read("10m"), files.read("1h"), files.read("1d")) == before


def test_f_d7_a_process_that_ends_anywhere_makes_the_same(files, monkeypatch):
    files.add(*hours(1))
    save = Rolling._save
    for _ in range(20):
        left = [2]

        def ending(rolling, journal, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            save(rolling, journal)

        monkeypatch.setattr(Rolling, "_save", ending)
        try:
            files.roll(DAY + LATENESS)
            break
        except KeyboardInterrupt:
            files.rolling = Rolling(files.folder, files.engine)
    found = [(one.count, one.min, one.max) for one in files.read("1d")]
    assert found == [(60, 0.0, 9.0)]
    assert len(files.read("10m")) == 6


def test_f_d7_a_damaged_file_is_set_aside_and_stops_nothing(files):
    files.add(*hours(1))
    files.roll(3600)
    (tens, *_) = sorted((files.folder / "rollups" / "600").glob("*/*"))
    tens.write_bytes(b"PAR1" * 10)
    files.roll(DAY + LATENESS)
    assert tens.with_name(tens.name + ".damaged").exists()
    assert (len(files.read("10m")), files.read("1h")[0].count) == (5, 50)


def test_nothing_is_made_before_it_is_known_which_files_there_are(files):
    files.add(*hours(1))
    assert files.rolling.note(files.contents, files.folder / "summary")
    assert not Rolling(files.folder, files.engine).note(Contents(), files.folder / "summary")
