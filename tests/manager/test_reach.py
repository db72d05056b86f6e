"""How far a change reaches on a Manager as it is configured."""

from functools import partial

import pytest
from tests.manager.conftest import ADMIN, otelcol
from tests.manager.rolling import add, agent

from popham.clock import SystemClock
from popham.errors import ConflictError
from popham.manager.app import open_manager
from popham.manager.definitions import Terms
from popham.manager.founding import Founding, found
from popham.manager.publishing import ASK_ABOVE
from popham.manager.settings import Listen, ManagerSettings, PublishSettings
from popham.model.documents import SourceFile
from popham.store.opening import open_store

FLEET = "---\napiVersion: popham/v1\nkind: Group\nmetadata: {name: fleet}\nspec: {policies: {otelcol: col}}\n"


@pytest.mark.parametrize(("bound", "refused"), [(None, False), (4, True), (5, False), (0, False)])
async def test_sec_42_the_bound_is_the_configurations(tmp_path, bound, refused):
    clock, listen = SystemClock(), Listen(agents="127.0.0.1:0", people="127.0.0.1:0")
    asked = Founding(
        state=tmp_path / "state",
        urls=("https://127.0.0.1:4320",),
        names=("127.0.0.1",),
        agents=listen.agents,
        people=listen.people,
    )
    await found(asked, clock=clock, open_store=partial(open_store, "", clock=clock))
    publish = PublishSettings() if bound is None else PublishSettings(ask_above=bound)
    settings = ManagerSettings(state=str(asked.state), listen=listen, publish=publish)
    files = [SourceFile("fleet.yaml", otelcol() + FLEET)]
    async with open_manager(settings, clock) as manager:
        manager.store = manager._store
        await add(manager, *(agent(number, "fleet") for number in range(5)))
        if refused:
            with pytest.raises(ConflictError, match="to 5 agents in 1 group"):
                await manager.service.apply(ADMIN, files)
        result = await manager.service.apply(ADMIN, files, terms=Terms(everyone=refused))
    assert result.reach == 5


def test_sec_42_without_a_word_the_bound_is_a_hundred():
    assert ManagerSettings().publish.ask_above == ASK_ABOVE == 100
