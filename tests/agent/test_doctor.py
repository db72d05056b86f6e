"""The whole examination: on machines that run, are stopped, are not enrolled, or are damaged; and no secret in it."""

import errno
import json
import threading
from base64 import urlsafe_b64encode

import msgspec
import pytest

from popham.agent.doctor.examination import examine, refuse
from popham.agent.doctor.finding import Outcome, is_well
from popham.agent.local import LocalDoor
from popham.agent.service import enable
from popham.agent.status import Status
from popham.errors import ConfigError
from popham.model.communication import Dialer, Mode
from popham.model.names import digest
from popham.model.servers import Server
from popham.statedir import StateView

from .patients import nobodys_url, told

OK, WARNING, FAILED, SKIPPED = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.SKIPPED


async def look(patient):
    return await examine(patient.settings, patient.source, patient.probes)


async def test_f_o17_a_stopped_agent_of_a_manager_that_is_there_is_well_but_for_being_stopped(
    patient, upstream
):
    manager = await upstream()
    patient.enroll(manager.url).order()
    found = await look(patient)
    assert is_well(found), found
    assert (told(found, "agent").outcome, told(found, "identity").outcome) == (WARNING, OK)
    assert told(found, "service").outcome is SKIPPED
    assert all(set(one.as_dict()) == {"check", "outcome", "text", "next", "server"} for one in found)
    assert all(bool(one.step) == (one.outcome in {WARNING, FAILED}) for one in found)


async def test_f_o17_a_running_agent_is_examined_beside_its_lock_and_one_that_is_silent_is_told(
    patient, upstream
):
    manager = await upstream()
    patient.enroll(manager.url).order()
    with patient.state() as state:
        patient.seconds = 1.0
        found = told(await look(patient), "agent")
        assert (found.outcome, "has the state directory, and no agent answers" in found.text) == (
            FAILED,
            True,
        )
        door = LocalDoor(patient.settings.socket_path, Status(state, patient.clock))
        await door.open()
        found = await look(patient)
        await door.close()
    assert (told(found, "agent").outcome, is_well(found)) == (OK, True)
    assert manager.asked.count("/v1/trust/ca") == 2


async def test_f_o17_every_server_of_the_list_is_tried_and_one_that_works_is_enough(patient, upstream):
    manager, gone = await upstream(), nobodys_url()
    patient.enroll(nobodys_url()).order(servers=(Server(1, gone), Server(2, manager.url)))
    found = await look(patient)
    assert len({one.server for one in found}) == 4
    assert (told(found, "port", gone).outcome, told(found, "identity", manager.url).outcome) == (WARNING, OK)
    assert is_well(found)
    await manager.stop()
    found = await look(patient)
    assert (told(found, "port", gone).outcome, told(found, "port", manager.url).outcome) == (FAILED, FAILED)


async def test_f_o17_a_machine_that_is_to_be_visited_dials_nobody_if_it_may_not(patient, upstream):
    manager = await upstream()
    patient.enroll(manager.url).order(dialer=Dialer.MANAGER, mode=Mode.PULL, never_dial=True)
    found = await look(patient)
    assert "dials nobody" in told(found, "way").text
    assert (told(found, "service").outcome, manager.asked) == (FAILED, [])
    patient.order(dialer=Dialer.MANAGER, mode=Mode.PULL)
    await manager.stop()
    assert told(await look(patient), "port").outcome is WARNING


async def test_f_o17_one_that_waits_to_be_born_dials_nobody(patient):
    patient.join(walled=True)
    with patient.state() as state:
        enable(state, on=True)
    found = await look(patient)
    assert (told(found, "enrollment").outcome, told(found, "way").outcome) == (WARNING, SKIPPED)
    assert told(found, "service").outcome is FAILED


async def test_f_o17_a_machine_that_waits_for_its_certificate_tries_the_way_without_one(patient, upstream):
    manager = await upstream()
    found = await look(patient.join(manager.url))
    assert (told(found, "livez").outcome, told(found, "identity").outcome) == (OK, SKIPPED)
    assert is_well(found)


async def test_f_o17_an_expired_certificate_is_not_shown(patient, upstream):
    manager = await upstream()
    patient.enroll(manager.url, lifetime=1.0).clock.ahead = 3600
    found = await look(patient)
    assert (told(found, "certificate").outcome, told(found, "identity").outcome) == (WARNING, SKIPPED)


@pytest.mark.parametrize("name", ["join.json", "identity.json", "trust.json", "bundle.json"])
async def test_f_o17_a_damaged_file_is_named_and_ends_nothing_but_what_rests_on_it(patient, name):
    patient.enroll().order()
    (patient.folder / "state" / name).write_bytes(b'{"hunter2"')
    found = await look(patient)
    assert not is_well(found)
    assert any(name in one.text for one in found if one.outcome is FAILED)
    assert told(found, "root").outcome is OK
    assert "hunter2" not in str(found)


async def test_f_o17_a_machine_without_state_or_configuration_is_told_what_to_do(patient):
    found = await look(patient)
    assert "popham agent enroll" in told(found, "state directory").step
    assert told(found, "way").outcome is SKIPPED
    assert [one.outcome for one in found].count(FAILED) == 1
    found = refuse(ConfigError("value", "agent.toml: port: expected int", "Write a number"))
    assert [one.outcome for one in found] == [FAILED, SKIPPED]


async def test_sec_53_no_finding_holds_a_secret(patient, upstream):
    manager = await upstream()
    manager.nobodys = (403, b"no")
    patient.environ = {"https_proxy": "http://joe:hunter2@proxy:3128"}
    patient.settings = msgspec.structs.replace(
        patient.settings, commands={"reload": ("/usr/bin/none", "--token", "hunter2")}
    )
    patient.join(manager.url)
    waiting = await look(patient)
    body = b'{"body": {"password": "hunter2"}}'
    patient.enroll(manager.url).order()
    with patient.state() as state:
        state.put_blob(digest(body), body)
        key = state.identity_key()
    said = json.dumps([one.as_dict() for one in (*waiting, *await look(patient))])
    seed = patient.seed
    secrets = ["hunter2", seed.hex(), urlsafe_b64encode(seed).decode().rstrip("="), "PRIVATE KEY"]
    secrets += key.pem.decode().splitlines()[1:-1]
    assert [secret for secret in secrets if secret in said] == []


async def test_f_o17_an_examination_ends_though_everything_hangs(patient):
    patient.enroll("https://manager.example:4320").order()
    patient.seconds = 0.1
    released = threading.Event()
    patient.given = dict.fromkeys(("room", "write", "resolve"), lambda *_: released.wait())
    found = await look(patient)
    released.set()
    assert (told(found, "name").outcome, "the resolver does not answer" in told(found, "name").text) == (
        FAILED,
        True,
    )
    assert [one.outcome for one in found if one.check == "disk"] == [FAILED, FAILED]


async def test_f_o17_an_examination_ends_though_the_disk_with_the_state_hangs(patient, monkeypatch):
    patient.enroll().order()
    patient.seconds = 0.1
    released = threading.Event()

    def hang(*_):
        released.wait(10)
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(StateView, "look", hang)
    found = await look(patient)
    released.set()
    assert "does not answer within 0.1 s" in told(found, "state directory").text
    assert told(found, "way").outcome is SKIPPED


async def test_f_o17_everything_that_is_not_well_has_a_next_step_whatever_is_damaged(patient):
    patient.enroll()
    found = []
    for name, text in (("ca", "bm9uZQ=="), ("uid", "x"), ("certificate", "bm9uZQ==")):
        file = patient.folder / "state" / ("join.json" if name == "ca" else "identity.json")
        before = file.read_bytes()
        file.write_text(json.dumps(json.loads(before) | {name: text}))
        found += [one for one in await look(patient) if one.outcome in {WARNING, FAILED}]
        file.write_bytes(before)
    assert {"ca", "state", "certificate"} <= {one.check for one in found}
    assert [one for one in found if not one.step] == []
