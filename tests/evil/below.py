"""Real agents below a Proxy Manager that turns evil, and a watch that knows what was signed for each of them."""

import json
from base64 import b64decode

from tests.simulation.conftest import HEARTBEAT, LAB, settings
from tests.simulation.test_stories_below_a_proxy import LINK, StageBelow

from popham.model.names import DEFAULT_TENANT
from popham.model.status import SyncState, sync_state
from popham.testing.agent import MANAGER
from popham.testing.virtual import pass_time

from .way import Evil, EvilHub, tamper_visits

OTHER = (
    LAB.replace("name: motd", "name: other-motd")
    .replace("name: lab", "name: other")
    .replace("files: motd", "files: other-motd")
)


class Watch:
    """Knows what was signed for each agent, and looks whether anything else holds there."""

    def __init__(self, stage):
        self.stage, self.signed, self.floors = stage, {}, {}

    def note(self):
        """Take note of what is signed now."""
        book = self.stage.manager.book
        for group in ("lab", "other"):
            wanted = book.wanted(group)
            self.signed[payload(wanted.envelope)] = (group, wanted.version)

    def look(self):
        """Look at what agents hold: signed, of their group, and never older than before."""
        for agent in self.stage.everybody:
            record = self.stage.manager.book.record(agent.state.uid)
            found = agent.state.assignment()
            assert payload(found) == payload(record.assignment)
            bundle = agent.state.bundle()
            if bundle is None:
                continue
            group, version = self.signed[payload(bundle)]
            assert group == record.group
            floor = agent.state.floor(DEFAULT_TENANT, group).version
            assert version == floor >= self.floors.get(agent.name, 0)
            self.floors[agent.name] = floor
            applied = [name for names in agent.applier.applied for name in names]
            assert {name.partition("@")[0] for name in applied} <= {self.stage.policies[group]}
            revisions = [int(name.partition("@")[2]) for name in applied]
            assert revisions == sorted(revisions)
            assert agent.operations._ledger.entries == {}


def payload(envelope):
    """Return what is signed in an envelope."""
    return b64decode(json.loads(envelope)["payload"])


class EvilStage(StageBelow):
    """Three agents of two groups below one proxy, which may turn evil."""

    policies = {"lab": "motd", "other": "other-motd"}  # noqa: RUF012  # nobody changes it

    def __init__(self, simulation, evil):
        super().__init__(simulation, LINK)
        self.evil = evil

    async def open(self):
        """Have the proxy there, and everybody below it."""
        await self.manager.put_group("other", self.cell_settings)
        await self.manager.publish(OTHER.format(text="0"))
        self.dock = await self.simulation.add_proxy("dock", ["lab", "other"])
        await pass_time(5.0)
        services = self.simulation.network.services
        services["dock"] = EvilHub(services["dock"], self.evil)
        self.simulation.network.apart |= {frozenset((name, MANAGER)) for name in ("a0", "a1", "b0")}
        self.agents = await self.simulation.add_agents("lab", ["a0", "a1"], via="dock")
        self.everybody = [*self.agents, *await self.simulation.add_agents("other", ["b0"], via="dock")]
        await pass_time(4 * HEARTBEAT)

    def in_sync(self):
        """Return whether everybody has what was published last, and the Manager knows it."""
        found = []
        for agent in self.everybody:
            record = self.manager.book.record(agent.state.uid)
            wanted = self.manager.book.wanted(record.group)
            found.append(
                sync_state(wanted.content_digest, record.state) is SyncState.IN_SYNC and bool(record.via)
            )
        return all(found)


def turn_evil(simulate, monkeypatch, cell, rounds):
    """Tell of a proxy that is evil for so many publications; return what it did: nothing of it was believed, or this raises."""
    evil = Evil("-".join(cell))
    tamper_visits(monkeypatch, evil)

    async def story(simulation):
        stage = EvilStage(simulation, evil)
        stage.cell_settings = settings(cell, HEARTBEAT)
        await stage.order(cell, HEARTBEAT)
        await simulation.manager.publish(LAB.format(text="begin"))
        await stage.open()
        await pass_time(4 * HEARTBEAT)
        assert stage.in_sync()
        watch = Watch(stage)
        watch.note()
        watch.look()
        evil.on = True
        for number in range(rounds):
            for text in (LAB, OTHER):
                await simulation.manager.publish(text.format(text=f"{number}"))
            await pass_time(1.0)
            watch.note()
            await pass_time(2 * HEARTBEAT)
            watch.look()
        evil.on = False
        await simulation.manager.publish(LAB.format(text="end"))
        await pass_time(1.0)
        watch.note()
        await pass_time(3600.0)
        watch.look()
        assert stage.in_sync()

    simulate(story)
    return evil.counts
