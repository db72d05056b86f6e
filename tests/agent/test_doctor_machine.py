"""The machine under its agent: configuration, state directory, disk, and what policies may do, each tried."""

import errno
import os
import threading
from pathlib import Path

import msgspec
import pytest

from popham.agent.doctor.finding import Outcome
from popham.agent.doctor.machine import check_configuration, check_disk, check_permissions, check_state
from popham.agent.doctor.probes import Room, read_room, try_write
from popham.agent.settings import OtelcolSettings
from popham.errors import StateError
from popham.statedir import StateView

from .patients import told

OK, WARNING, FAILED, SKIPPED = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.SKIPPED
MIB = 1024 * 1024


def raising(number):
    def call(_path):
        raise OSError(number, os.strerror(number))

    return call


def test_f_o17_a_configuration_that_others_may_write_is_told(patient):
    (found,) = check_configuration(patient.source, patient.settings)
    assert (found.outcome, "1 root, 0 commands" in found.text) == (OK, True)
    patient.source.chmod(0o664)
    (found,) = check_configuration(patient.source, patient.settings)
    assert (found.outcome, found.step) == (WARNING, f"chmod go-w {patient.source}")
    patient.source.unlink()
    (found,) = check_configuration(patient.source, patient.settings)
    assert (found.outcome, "there is no" in found.text) == (WARNING, True)


async def test_f_o17_a_state_directory_is_missing_or_anothers_or_open_or_whole(patient):
    (found,) = await check_state(patient.settings, patient.probes)
    assert (found.outcome, "(state.missing)" in found.text) == (FAILED, True)
    patient.join()
    (found,) = await check_state(patient.settings, patient.probes)
    assert found.outcome is OK
    folder = patient.folder / "state"
    os.chmod(folder, 0o755)  # noqa: PTH101  # the asynchronous form of it is a thread
    (found,) = await check_state(patient.settings, patient.probes)
    assert (found.outcome, found.step) == (WARNING, f"chmod 700 {folder}")
    (folder / "FORMAT").write_text("popham-agent 9\n")
    (found,) = await check_state(patient.settings, patient.probes)
    assert (found.outcome, "(state.newer)" in found.text) == (FAILED, True)


async def test_f_o17_a_full_disk_is_told_before_and_after_it_is_full(patient):
    patient.join()
    found = await check_disk(patient.settings, patient.probes)
    assert [one.outcome for one in found] == [OK, OK]
    for room, outcome, text in (
        (Room(20 * MIB, None), WARNING, "nearly full: 20 MiB free"),
        (Room(900 * MIB, 12), WARNING, "12 files"),
        (Room(1000, 10**6), FAILED, "is full: 0 MiB free"),
        (Room(900 * MIB, 0), FAILED, "no file more"),
    ):
        patient.given["room"] = lambda _path, room=room: room
        found = await check_disk(patient.settings, patient.probes)
        assert [(one.outcome, text in one.text, bool(one.step)) for one in found] == [
            (outcome, True, True)
        ] * 2
    patient.given["write"] = raising(errno.ENOSPC)
    found = await check_disk(patient.settings, patient.probes)
    assert [(one.outcome, "No space left" in one.text) for one in found] == [(FAILED, True)] * 2


async def test_f_o17_a_disk_that_hangs_keeps_nobody_waiting(patient):
    patient.join()
    patient.seconds = 0.1
    released = threading.Event()
    patient.given["write"] = lambda _path: released.wait()
    found = await check_disk(patient.settings, patient.probes)
    assert [(one.outcome, "does not answer within 0.1 s" in one.text) for one in found] == [
        (FAILED, True)
    ] * 2
    released.set()


async def test_what_is_written_to_see_whether_it_can_be_is_gone_again(tmp_path):
    try_write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert read_room(tmp_path).free > 0


async def test_f_o17_roots_and_programs_are_looked_for_and_no_argument_is_shown(patient):
    program = patient.folder / "check"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    commands = {"good": (str(program), "--password=hunter2"), "gone": ("/nowhere/prog", "hunter2")}
    patient.settings = msgspec.structs.replace(
        patient.settings,
        commands=commands,
        otelcol=OtelcolSettings(path="/nowhere/otel.yaml", collector="/etc"),
    )
    found = await check_permissions(patient.settings, patient.probes)
    assert [(one.check, one.outcome) for one in found] == [
        ("root", OK),
        ("command", OK),
        ("command", FAILED),
        ("command", FAILED),
        ("otelcol", FAILED),
    ]
    assert "hunter2" not in str(found)
    program.chmod(0o644)
    found = await check_permissions(patient.settings, patient.probes)
    assert (found[1].outcome, found[1].step) == (FAILED, f"chmod +x {program}")
    patient.root.rmdir()
    assert "is no directory" in told(await check_permissions(patient.settings, patient.probes), "root").text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_f_o17_a_root_that_cannot_be_written_is_told(patient):
    patient.root.chmod(0o500)
    found = told(await check_permissions(patient.settings, patient.probes), "root")
    assert (found.outcome, "cannot be written" in found.text) == (FAILED, True)


async def test_nothing_is_permitted_where_nothing_is_named(patient):
    patient.settings = type(patient.settings)(state=patient.settings.state)
    (found,) = await check_permissions(patient.settings, patient.probes)
    assert found.outcome is SKIPPED


def test_who_only_looks_at_a_state_directory_needs_no_lock_and_changes_nothing(patient):
    patient.join()
    folder = Path(patient.settings.state)
    with patient.state():
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        view = StateView.look(folder, "agent")
        assert view.read("join.json", 10**6)
        for change in (
            lambda: view.write("a", b""),
            lambda: view.note("a", b""),
            lambda: view.remove("join.json"),
        ):
            with pytest.raises(StateError) as caught:
                change()
            assert caught.value.code == "state.read_only"
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
