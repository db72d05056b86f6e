"""Machines change their keys after a backup, and the Manager is restored from it: nobody is locked out, in any cell."""

import asyncio
import copy

from popham.manager.agents import reassign_all
from popham.manager.rejoining import note_forgotten
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB, settings

ROUNDS = 12 * HEARTBEAT


async def restore(simulation, store, made_at):
    """Go on from a copy of what was written, as a Manager that starts after a restore."""
    manager, now = simulation.manager, simulation.clock.now()
    await manager.crash()
    manager.store = store

    def recover(tx):
        manager.bundles.resign_all(tx, now=now)
        reassign_all(tx, simulation.keys.director, now=now)
        note_forgotten(tx, f"{now} {int(made_at)}")

    await store.write(recover)
    await manager.start()


def test_rel_9_a_key_that_was_changed_after_the_backup_is_believed_by_its_certificate(
    simulate, cell, monkeypatch
):
    async def story(simulation):
        manager = simulation.manager
        # Those keys are made once for many stories: here it matters when certificates are issued.
        monkeypatch.setattr(simulation.keys.ca, "_clock", simulation.clock)
        await manager.put_group("lab", settings(cell))
        await manager.publish(LAB.format(text="one"))
        (agent,) = await simulation.add_agents("lab", ["web-1"])
        await pass_time(ROUNDS)
        made_at, backup = simulation.clock.now(), copy.deepcopy(manager.store)
        await pass_time(ROUNDS)
        former = agent.state.identity_key().keyid
        rotating = asyncio.ensure_future(agent.credentials.rotate())
        await pass_time(ROUNDS)
        await rotating
        key = agent.state.identity_key().keyid
        assert key != former
        await restore(simulation, backup, made_at)
        assert (await manager.service.agent(ADMIN, "web-1")).detail["spki"] == former
        await pass_time(2 * ROUNDS)
        await manager.publish(LAB.format(text="two"))
        await pass_time(ROUNDS)
        view = await manager.service.agent(ADMIN, "web-1")
        assert (agent.applied, view.sync, view.presence, view.detail["spki"]) == (
            ("motd@2",),
            "in sync",
            "on time",
            key,
        )
        entries = [row for row in await manager.store.read(lambda tx: tx.audit()) if "rejoin" in row.method]
        assert [(row.method, row.object) for row in entries] == [("agent.rejoin", f"agent/{agent.state.uid}")]

    simulate(story)
