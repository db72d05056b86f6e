"""The service of a machine that is to be visited: off, on, somebody else's, and who came last."""

import pytest

from popham.agent.doctor.finding import Outcome
from popham.agent.doctor.service import check_service
from popham.agent.service import AgentService
from popham.agent.service_settings import ServiceSettings
from popham.testing.ports import free_ports

from .patients import told
from .test_service import Machine

OK, WARNING, FAILED, SKIPPED = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.SKIPPED


@pytest.fixture
def home(tmp_path):
    found = Machine(tmp_path)
    yield found
    found.dir.close()


@pytest.fixture
async def service(home):
    found = home.service()
    yield found
    await found.stop()
    await found._end()


def look(home, service, patient, *, needed=True, settings=None):
    found = service.describe() if isinstance(service, AgentService) else service
    settings = settings or home.settings
    return check_service(found, settings, home.key.keyid, patient.probes, needed=needed)


async def test_f_o17_a_service_that_is_off_is_told_only_where_it_is_needed(home, service, patient):
    (found,) = await look(home, service, patient, needed=False)
    assert found.outcome is SKIPPED
    (found,) = await look(home, service, patient)
    assert (found.outcome, "popham agent service start" in found.step) == (FAILED, True)
    (found,) = await look(home, None, patient)
    assert (found.outcome, "no agent runs" in found.text) == (FAILED, True)


async def test_f_o17_a_service_is_reached_from_its_machine_and_shows_its_key(home, service, patient):
    await service.start()
    found = await look(home, service, patient)
    assert (
        told(found, "service").outcome,
        "with the key of this machine" in told(found, "service").text,
    ) == (
        OK,
        True,
    )
    assert (told(found, "visits").outcome, "nobody came" in told(found, "visits").text) == (WARNING, True)
    said = service.describe() | {"visitor": {"at": 1_800_000_000.0, "address": "192.0.2.1"}}
    found = await look(home, said, patient)
    assert told(found, "visits").text == "the last one was at 2027-01-15T08:00:00Z from 192.0.2.1"
    said |= {"visitor": None, "refused": {"address": "", "text": "who are you", "code": "visit.stranger"}}
    found = await look(home, said, patient)
    assert "somebody was refused: who are you (visit.stranger)" in told(found, "visits").text


async def test_f_o17_another_program_on_the_port_is_told(home, service, patient, upstream):
    manager = await upstream()
    port = int(manager.url.rpartition(":")[2])
    await service.start()
    found = await look(home, service, patient, settings=ServiceSettings(port=port, hosts=("127.0.0.1",)))
    assert (told(found, "service").outcome, "another program" in told(found, "service").text) == (
        FAILED,
        True,
    )


async def test_f_o17_a_port_that_is_not_reached_is_told_and_a_list_of_addresses_may_be_why(
    home, service, patient
):
    await service.start()
    (port,) = free_ports(1)
    found = await look(home, service, patient, settings=ServiceSettings(port=port, hosts=("127.0.0.1",)))
    assert told(found, "service").outcome is FAILED
    listed = ServiceSettings(port=port, hosts=("127.0.0.1",), allow=("10.0.0.0/8",))
    found = await look(home, service, patient, settings=listed)
    assert (told(found, "service").outcome, "allow and deny" in told(found, "service").step) == (
        WARNING,
        True,
    )


async def test_f_o17_a_service_behind_a_socket_or_without_tls_is_reached(home, service, patient, tmp_path):
    home.settings = ServiceSettings(socket=str(tmp_path / "visit.sock"))
    await service.start()
    assert told(await look(home, service, patient), "service").outcome is OK
    gone = ServiceSettings(socket=str(tmp_path / "gone.sock"))
    assert told(await look(home, service, patient, settings=gone), "service").outcome is FAILED
    await service.stop()
    home.settings = ServiceSettings(port=free_ports(1)[0], tls=False)
    await service.start()
    found = told(await look(home, service, patient), "service")
    assert (found.outcome, "key" in found.text) == (OK, False)
