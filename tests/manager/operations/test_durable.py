"""Operations in a real database: a Manager that is killed goes on where it was."""

import pytest
from tests.manager.conftest import ADMIN
from tests.manager.ordering import Fleet

from popham.manager.bundles import Bundles
from popham.manager.definitions import found_fleet
from popham.model.operation import OperationState
from popham.store.opening import open_store


@pytest.fixture
async def fleet(bench, tmp_path):
    store = open_store("", tmp_path / "popham.db", clock=bench.clock)
    bench.store = bench.service._store = store
    await store.write(lambda tx: found_fleet(tx, Bundles(bench.keys.director), now=bench.clock.at))
    found = Fleet(bench)
    await found.begin()
    found.path = tmp_path / "popham.db"
    yield found
    await found.store.aclose()


async def kill(fleet):
    """End the Manager between two of its writes, and start it again."""
    await fleet.register.settle()
    await fleet.store.aclose()
    store = open_store("", fleet.path, clock=fleet.clock)
    fleet.store = fleet.bench.store = fleet.service._store = store
    await fleet.start()


async def test_f_o4_a_manager_killed_between_sent_and_result_hears_the_result(fleet):
    await fleet.order("diagnose", "a0", "a1", "a2")
    (document,), (other,) = fleet.hear(0), fleet.hear(1)
    await fleet.answer(1, other, OperationState.RUNNING, began=1.0)
    await kill(fleet)
    assert await fleet.states("op1") == {"sent": 1, "running": 1, "queued": 1}
    (again,) = fleet.hear(0)
    assert (again.nonce, again.expires) == (document.nonce, document.expires)
    await fleet.answer(0, document, body=b"x" * 2000)
    await fleet.answer(1, other, OperationState.UNKNOWN, revision=2, text="the agent was killed")
    digest = fleet.register.lacks_outputs(fleet.record(0))[0]
    await kill(fleet)
    assert fleet.register.lacks_outputs(fleet.record(0)) == (digest,)
    await fleet.register.take_output(fleet.record(0), digest, b"x" * 2000)
    await kill(fleet)
    assert await fleet.service.operation_output(ADMIN, "op1", "a0") == b"x" * 2000
    assert await fleet.states("op1") == {"succeeded": 1, "unknown": 1, "queued": 1}
    await fleet.pass_time(601.0)
    assert (await fleet.service.operation(ADMIN, "op1")).state == "over"
    await kill(fleet)
    assert fleet.register.operations == 0
