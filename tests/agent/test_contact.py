"""When a machine was last in touch is noted cheaply, and known while no agent runs."""

import json
import uuid
from pathlib import Path

import pytest

from popham.agent.apply import in_thread
from popham.agent.contact import EVERY, NAME, ContactNote, read_contact
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.agent.stopped import describe_stopped, look
from popham.agent.streams.spools import FOLDER, Spools
from popham.clock import SystemClock
from popham.errors import StateError
from popham.model.communication import Mode
from popham.model.servers import Server
from popham.statedir import StateDir, StateView
from popham.streams.frame import Stream

from .patients import UID


class Disk:
    """Where notes are written and read; counts them."""

    def __init__(self):
        self.data, self.written, self.full = None, 0, False

    def note(self, name, data):
        if self.full:
            raise OSError(28, "No space left on device")
        assert name == NAME
        self.data, self.written = data, self.written + 1

    def read(self, _name, _limit):
        return self.data


class Time:
    def __init__(self):
        self.at = 1000.0

    def now(self):
        return self.at


def test_f_o17_the_last_contact_is_noted_once_a_minute_and_at_the_end():
    disk, clock = Disk(), Time()
    note = ContactNote(disk, disk, clock)
    for second in range(301):
        clock.at = 1000.0 + second
        note.note(clock.at, "https://a", "")
    assert disk.written == 300 / EVERY + 1
    assert read_contact(disk).at == 1300.0
    clock.at = 1350.0
    note.end()
    found = read_contact(disk)
    assert (found.at, found.url, found.began, found.ended) == (1300.0, "https://a", 1000.0, 1350.0)
    # The next process knows it, and one that is killed leaves no end.
    clock.at = 2000.0
    note = ContactNote(disk, disk, clock)
    assert (note.known.at, note.known.ended) == (1300.0, 0.0)
    note.note(None, "", "nobody answers")
    found = read_contact(disk)
    assert (found.at, found.url, found.began, found.ended) == (1300.0, "https://a", 2000.0, 0.0)
    assert (found.problem, found.problem_at) == ("nobody answers", 2000.0)


def test_another_server_or_problem_is_noted_at_once():
    disk, clock = Disk(), Time()
    note = ContactNote(disk, disk, clock)
    for url, problem in (("https://a", ""), ("https://b", ""), ("https://b", "no"), ("https://b", "no")):
        clock.at += 1
        note.note(clock.at, url, problem)
    assert disk.written == 3


@pytest.mark.parametrize("data", [b"", b"{", b'{"at": "x"}', b"\xff", b"[]"])
def test_a_damaged_note_says_nothing_and_a_full_disk_stops_nobody(data):
    disk, clock = Disk(), Time()
    disk.data = data
    note = ContactNote(disk, disk, clock)
    assert note.known.at == 0.0
    disk.full = True
    note.note(5.0, "https://a", "")
    note.end()
    assert (disk.written, note.known.at) == (0, 5.0)


def test_f_o17_what_a_stopped_agent_was_ordered_is_read_from_what_it_keeps(patient):
    url = "https://a:4320"
    bundle = patient.enroll("https://join:4320").order(mode=Mode.PULL, servers=(Server(1, url),))
    with patient.state() as state:
        found = describe_stopped(state)
    assert (found["running"], found["group"], found["serial"], found["version"]) == (False, "fleet", 3, 7)
    assert found["content_digest"] == found["applied_digest"] == bundle.content_digest
    assert (found["ordered"]["mode"], found["servers"]) == ("pull", [url, "https://join:4320"])
    assert (found["last_contact"], found["stopped_since"], found["location"]) == (None, None, "default")


def test_what_is_kept_and_not_believed_is_told(patient, keys):
    patient.enroll().order()
    with patient.state() as state:
        state.save_documents(keys.root, keys.targets)
        assert "(trust.signature)" in describe_stopped(state)["problem"]
        state.save_documents(b"{}", b"{}")
        assert "(trust.tuf)" in describe_stopped(state)["problem"]


async def test_f_o17_an_agent_that_holds_its_directory_and_does_not_answer_is_told(patient):
    patient.enroll()
    found = await look(patient.settings)
    assert (found["running"], found["uid"], "held_by" in found) == (False, UID, False)
    with patient.state():
        found = await look(patient.settings)
    assert found["running"] is False
    assert f"process {found['held_by']} has the state directory, and no agent answers" in found["problem"]
    with pytest.raises(StateError) as caught:
        await look(AgentSettings(state=str(patient.folder / "nowhere")))
    assert caught.value.code == "state.missing"


def test_a_note_is_whole_and_its_owners_alone(patient):
    patient.enroll()
    folder = patient.folder / "state"
    with StateDir.open(folder, "agent", create=False) as directory:
        note = ContactNote(directory, directory, patient.clock)
        note.note(5.0, "https://a", "")
    assert json.loads((folder / NAME).read_text())["at"] == 5.0
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600
    assert read_contact(AgentState(StateView.look(folder, "agent")).room).url == "https://a"


async def test_f_o17_what_waits_in_the_streams_of_a_stopped_agent_is_read_from_its_files(patient):
    patient.enroll()
    assert (await look(patient.settings))["streams"] == {}
    with patient.state() as state:
        uid, folder = uuid.UUID(state.uid).bytes, Path(patient.settings.state) / FOLDER
    spools = Spools(folder, uid, SystemClock(), boot=bytes(8), offload=in_thread)
    await spools.append(Stream.LOGS, b"a line", 3)
    await spools.close()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert (await look(patient.settings))["streams"]["logs"]["waiting"] == 3
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
