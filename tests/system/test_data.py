"""Lines of logs on their way between real processes, in all four cells: each is stored once, whatever happens."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from .data_lab import CELLS, Lab, Storm, numbered

KILLS = 10
ODD = (
    b"before",
    b"nul \x00 \x00 bytes",
    b"broken \xff\xfe utf-8 \xc3",
    "für Größe \U0001f6a2".encode(),
    b"after",
)
READ = ("before", "nul \x00 \x00 bytes", "broken \ufffd\ufffd utf-8 \ufffd", "für Größe \U0001f6a2", "after")
GIANT = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def lab(fleet):
    """A machine in each cell."""
    found = Lab(fleet)
    for name in CELLS:
        found.add(name)
    fleet.until(lambda: all(one.settled() for one in found.machines.values()), "each has what it should have")
    return found


@pytest.mark.parametrize("name", CELLS)
def test_rel_27_a_log_that_is_rotated_while_it_is_read_comes_whole_and_once(lab, name):
    """By rename, with a writer that goes on for a while with what it has open, and by copying and truncating."""
    log = lab.log(name)
    lab.count_on(name, 50)
    lab.check_counted(name)
    lab.count_on(name, 50)
    with log.open("ab") as old:
        log.rename(log.with_suffix(".1"))
        lab.count_on(name, 50)
        late = range(lab.written[name], lab.written[name] + 50)
        lab.written[name] += 50
        old.write(b"".join(numbered(number).encode() + b"\n" for number in late))
    lab.check_counted(name)
    shutil.copy(log, log.with_suffix(".2"))
    os.truncate(log, 0)
    lab.count_on(name, 50)
    assert len(lab.check_counted(name)) == lab.written[name]


def test_rel_12_what_is_odd_in_a_log_is_kept_and_its_neighbours_arrive(lab):
    """NUL bytes, broken UTF-8, a line of 20 MB, which is cut and says so; and 10,000 lines at once."""
    name = "dials"
    before = lab.stored(name)
    lab.write(name, *ODD, b"begin " + b"y" * GIANT, b"end")
    lines = lab.count_on(name, 10_000)
    lab.until_all(name, before + len(ODD) + 2 + len(lines))
    to = lab.fleet.folder / "lines.jsonl"
    lab.fleet.popham("data", "export", "logs", name, "-o", "jsonl", "--to", str(to))
    rows = [json.loads(line) for line in to.read_text().splitlines()]
    bodies = [row["body"] for row in rows]
    at = bodies.index(READ[0])
    assert tuple(bodies[at : at + len(READ)]) == READ
    giant = rows[at + len(READ)]
    assert giant["body"].startswith("begin y")
    assert len(giant["body"]) + giant["attributes"]["popham.cut"] == len("begin ") + GIANT
    assert bodies[at + len(READ) + 1 :] == ["end", *lines]


def test_f_l7_upload_off_keeps_everything_on_the_machine_and_on_sends_it(lab):
    name = "reached"
    lab.define(name, upload="off")
    before = lab.stored(name)
    lab.count_on(name, 40)
    lab.fleet.until(lambda: lab.waiting(name) == 40, "they are kept")
    lab.fleet.popham("op", "collect", name, "-w", "--timeout", "30s")
    assert (lab.stored(name), lab.waiting(name)) == (before, 40)
    lab.define(name)
    lab.check_counted(name)
    lab.fleet.until(lambda: not lab.waiting(name), "it is told that they are stored")


def test_f_l7_f_c3_rel_29_data_come_by_the_agents_own_dial_while_orders_come_by_visits(lab):
    name, fleet = "visited", lab.fleet
    lab.define(name, heartbeat="1h", data={"preset": "Push"})
    visited = lab[name].view["visit"]["last"]
    lab.count_on(name, 40)
    lab.check_counted(name)
    view = lab[name].view
    assert (view["mode"], view["dialer"], view["fallback"]) == ("pull", "manager", "")
    assert view["visit"]["last"] == visited, "no visit brought them"
    fleet.client.check_in([name])
    fleet.until(lambda: lab[name].view["visit"]["last"] > visited, "an order makes a visit")
    fleet.client.check_in([name])
    lab.define(name)


def test_who_follows_sees_a_line_after_it_was_written(lab):
    fleet = lab.fleet
    lab.count_on("held", 1)
    lab.check_counted("held")
    process = fleet.start("logs", "-f", "held", "reached", log="followed.out")
    followed = fleet.folder / "followed.out"
    fleet.until(lambda: numbered(lab.written["held"] - 1) in followed.read_text(), "it shows the newest")
    for name in ("held", "reached"):
        (line,) = lab.count_on(name, 1)
        fleet.until(lambda said=f"  {name}  deck  {line}": said in followed.read_text(), "it is shown")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def test_rel_1_nothing_is_lost_or_doubled_where_agents_and_manager_are_killed(lab):
    storm = Storm(lab, seed=8)
    storm.rage(KILLS)
    assert sum(storm.killed.values()) == KILLS
    for name in CELLS:
        lab.check_counted(name)


def test_rel_1_what_a_full_spool_drops_is_counted_exactly_where_both_ends_are_killed(lab):
    name, fleet = "held", lab.fleet
    lab.define(name, limits="{records: 300}")
    before = lab.lost(name)
    fleet.end_manager(signal.SIGKILL)
    lab.count_on(name, 200)
    fleet.until(lambda: lab.waiting(name), "they are kept")
    lab[name].end(signal.SIGKILL)
    lab.count_on(name, 250)
    lab[name].start()
    fleet.until(lambda: lab.waiting(name) and lab.dropped(name), "some are dropped")
    lab.count_on(name, 100)
    fleet.start_manager()
    lab.check_counted(name)
    assert lab.lost(name) > before


def test_rel_1_state_that_is_copied_back_doubles_nothing_and_loses_nothing_new(lab):
    """As a machine is when it goes back to a snapshot: its log as well, and what waited then came long ago."""
    name, fleet, state = "reached", lab.fleet, lab["reached"].state
    copy = state.with_suffix(".copy")
    lab.check_counted(name)
    fleet.manager.send_signal(signal.SIGSTOP)
    lab.count_on(name, 30)
    fleet.until(lambda: lab.waiting(name) == 30, "they are kept")
    lab[name].end(signal.SIGKILL)
    fleet.manager.send_signal(signal.SIGCONT)
    subprocess.run(["cp", "-a", state, copy], check=True)
    size = lab.log(name).stat().st_size
    lab[name].start()
    lab.check_counted(name)
    lab.count_on(name, 20)
    lab.check_counted(name)
    lab[name].end(signal.SIGKILL)
    shutil.rmtree(state)
    copy.rename(state)
    os.truncate(lab.log(name), size)
    lab.count_on(name, 25)
    lab[name].start()
    assert len(lab.check_counted(name)) == lab.written[name]
    fleet.until(lambda: not lab.waiting(name), "it knows that all are stored")
