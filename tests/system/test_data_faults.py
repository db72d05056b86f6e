"""What may go wrong with data between real processes: full disks on either side, and a clock that jumps."""

import time

import pytest

from .data_lab import Lab, fill_disk_of_manager, numbered
from .small_disk import fill, on_small_disk, seen_by
from .walled import find_faketime

HOUR, DAY = 3600, 86_400
NEAR = 60.0
"""Seconds by which a corrected time may be off: a machine under load is slow, and hours are what is tested."""


@pytest.fixture(scope="module")
def lab(founding):
    return Lab(founding().found("[intake]\nreserve = 0\n"))


def test_f_d12_rel_4_times_are_corrected_for_a_clock_that_jumps_and_its_skew_is_shown(lab):
    if not find_faketime():
        pytest.skip("NOT TESTED: a clock that jumps: there is no libfaketime on this machine")
    fleet, clock = lab.fleet, lab.fleet.folder / "clock"
    clock.write_text("+0")
    machine = lab.add("reached", run=False)
    lies = {
        "LD_PRELOAD": str(find_faketime()[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    machine.start(**lies)
    fleet.until(machine.settled, "it has what it should have")
    for skew in (0, 2 * HOUR, -DAY):
        clock.write_text(f"{skew:+d}")
        begin = time.time()
        lines = lab.count_on("reached", 10)
        lab.check_counted("reached")
        rows = [row for row in fleet.client.logs({"agent": ["reached"]})["items"] if row["text"] in lines]
        assert [row["text"] for row in rows] == lines
        for row in rows:
            assert row["time"] - skew == pytest.approx(begin, abs=NEAR)
            assert begin - 1 < row["at"] <= row["received"] < time.time()
        assert lab.summary("reached")["skew"] == pytest.approx(skew, abs=NEAR)
    assert f"{-DAY:+.1f}s" in fleet.popham("get", "summary").stdout
    machine.end()


def test_rel_3_an_agent_whose_disk_is_full_goes_on_and_what_is_lost_is_counted(lab):
    """Lines wait in their file meanwhile, and none is lost; key metrics cannot wait."""
    name, fleet = "held", lab.fleet
    machine = lab.add(name, summary="{interval: 1s}", run=False)
    machine.start(inside=on_small_disk(machine.state, "24m"))
    lab.count_on(name, 10)
    fleet.until(lambda: lab.stored(name) == 10, "they came")
    filler = seen_by(machine.process, machine.state) / "filler"
    fill(filler)
    lab.count_on(name, 20)
    fleet.until(lambda: "(stream.full)" in (fleet.folder / machine.log).read_text(), "the agent tells of it")
    filler.unlink()
    lab.count_on(name, 10)
    fleet.until(lambda: lab.stored(name) == 40, "all came")
    fleet.until(lambda: lab.summary(name)["lost"].get("disk", 0) > 0, "it is known how many were lost")
    lines = lab.until_all(name, 40)
    assert lines == dict.fromkeys(map(numbered, range(40)), 1)
    assert machine.process.poll() is None
    machine.end()


def test_rel_3_a_manager_whose_disk_is_full_refuses_data_and_serves_people(lab):
    """What comes of it once there is room takes minutes, and is in the soak."""
    filler = fill_disk_of_manager(lab, "dials", 3000)
    assert (lab.fleet.manager.poll(), lab["dials"].process.poll()) == (None, None)
    assert lab.waiting("dials") == 3000
    filler.unlink()
