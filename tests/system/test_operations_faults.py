"""What may go wrong with an operation between real processes: each is told once, and honestly."""

import signal
from pathlib import Path

import pytest

from .operations_lab import Lab
from .small_disk import fill, on_small_disk, seen_by

ROOM = 50 * 1024
"""kB by which an agent may grow while a command prints 1 GB."""


@pytest.fixture(scope="module")
def lab(fleet):
    return Lab(fleet, ("held", "till"))


def waits(lab, name):
    """Return an operation that runs on a machine until it is released there."""
    lab.release(name, on=False)
    return lab.order("run", name, args={"name": "wait"}, expires=3600).become("running", name)


def test_f_o4_a_manager_that_is_killed_between_sent_and_result_has_the_result_once(lab):
    before = lab.ran("held"), lab.ran("till")
    found = [waits(lab, name) for name in ("held", "till")]
    lab.fleet.end_manager(signal.SIGKILL)
    lab.release("held")
    lab.release("till")
    lab.fleet.start_manager()
    for name, ordered in zip(("held", "till"), found, strict=True):
        one = ordered.over()[name]
        assert (one["state"], one["code"]) == ("succeeded", "")
        assert one["text"].endswith("released")
    lab.fleet.until(lab.is_there, "each is reached again")
    assert (lab.ran("held"), lab.ran("till")) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("name", ["held", "till"])
def test_f_o4_an_agent_that_is_killed_between_running_and_result_says_that_nobody_knows(lab, name):
    before, ordered = lab.ran(name), waits(lab, name)
    lab[name].end(signal.SIGKILL)
    lab.release(name)
    lab[name].start()
    one = ordered.over()[name]
    assert (one["state"], one["code"]) == ("unknown", "operation.unknown")
    assert "nobody can know" in one["text"]
    lab.fleet.until(lab.is_there, "it is reached again")
    assert lab.order("check-in", name).over()[name]["state"] == "succeeded"
    assert lab.ran(name) == before + 1
    shown = lab.fleet.popham("op", "status", ordered.name, code=1)
    assert "Look at the machine" in shown.stdout


def test_f_o4_an_order_for_an_agent_that_is_away_expires_and_is_not_obeyed_when_it_returns(lab):
    before = lab.ran("held")
    lab["held"].end()
    ordered = lab.op("run", "count", "held", "--expires", "2s")
    assert ordered.over()["held"]["state"] == "expired"
    lab["held"].start()
    lab.fleet.until(lab.is_there, "it is back")
    assert lab.order("check-in", "held").over()["held"]["state"] == "succeeded"
    assert lab.ran("held") == before
    again = lab.fleet.popham("op", "retry", ordered.name, "--state", "expired").stdout
    assert "run count" in again
    lab.fleet.until(lambda: lab.ran("held") == before + 1, "what is ordered again is done")


def test_f_o4_a_cancel_ends_a_command_that_runs(lab):
    ordered = waits(lab, "held")
    lab.fleet.popham("op", "cancel", ordered.name)
    one = ordered.over()["held"]
    assert (one["state"], one["cancelled_by"]) == ("cancelled", "admin")
    lab.release("held")


def memory(process):
    """Return the kB that a process has in memory."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def test_f_o4_of_a_command_that_prints_1_gb_ends_are_kept_and_the_agent_does_not_grow(lab):
    before = memory(lab["held"].process)
    output = lab.order("run", "held", args={"name": "flood"}).over()["held"]["output"]
    assert output["length"] + output["left_out"] >= 1024**3
    assert output["length"] < 1024**2
    assert memory(lab["held"].process) < before + ROOM


def test_f_o4_a_diagnosis_on_a_full_disk_fails_with_the_reason_and_the_agent_goes_on(lab):
    machine = lab.add("small", "held", run=False)
    machine.start(inside=on_small_disk(machine.state, "400k"))
    lab.fleet.until(lambda: machine.view["connected"], "it holds a link")
    filler = seen_by(machine.process, machine.state) / "filler"
    fill(filler)
    one = lab.order("diagnose", "small").over()["small"]
    assert (one["state"], one["code"]) == ("failed", "operation.disk"), one
    assert "No space left on device" in one["text"]
    filler.unlink()
    ordered = lab.order("diagnose", "small")
    assert ordered.over()["small"]["state"] == "succeeded"
    assert machine.process.poll() is None
    machine.end()
