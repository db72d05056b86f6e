"""Real agents below a Proxy Manager that turns evil, in each cell: nothing of it is taken, and all is well once it ends."""

import json

import pytest
from tests.simulation.conftest import FOUR_CELLS, HEARTBEAT, LAB
from tests.simulation.test_stories_below_a_proxy import LINK

from popham.errors import LinkError
from popham.net.seam import Refusal, Refused
from popham.testing.virtual import pass_time

from .below import turn_evil
from .way import WHAT

SERVERS = ("dock", "pier", "manager")
ROUNDS = 12
"""Publications while the proxy is evil."""


@pytest.mark.parametrize("cell", FOUR_CELLS, ids=lambda cell: f"{cell[0]}-dialled-by-{cell[1]}")
def test_sec_21_25_a_proxy_that_turns_evil_is_not_believed_and_forgotten_once_it_is_good(
    simulate, cell, monkeypatch
):
    counts = turn_evil(simulate, monkeypatch, cell, ROUNDS)
    assert counts.keys() >= set(WHAT)
    assert sum(counts.values()) > 100


def test_agents_that_take_what_is_older_or_for_others_are_found_out(simulate, monkeypatch):
    monkeypatch.setattr("popham.trust.verify._check_floor", lambda *_: None)
    monkeypatch.setattr("popham.trust.verify.check_audience", lambda *_, **__: None)
    with pytest.raises((AssertionError, KeyError)):
        turn_evil(simulate, monkeypatch, LINK, ROUNDS)


class Withholding:
    """A hub that brings nothing."""

    def __init__(self, hub, how):
        self._hub, self._how = hub, how

    def admit(self, peer, *, held, uid):
        """Refuse, or not yet."""
        if self._how == "busy":
            return Refusal(status=503, body="come again", retry_after=5.0)
        return self._hub.admit(peer, held=held, uid=uid)

    def round(self, peer, body):
        """Answer with nothing of use."""
        if self._how == "silent":
            raise LinkError("timeout", "no answer within 46 s")
        if self._how == "denies":
            raise Refused(Refusal(status=403, body="no"))
        return b"\xff\xff"

    def opened(self, link):
        """Close at once."""
        link.close(1011, "no")
        return self._hub.opened(link)

    async def other(self, request):
        """Answer as the hub does."""
        return await self._hub.other(request)


async def publish(manager, mode, text):
    """Order that there are three servers, and a policy."""
    listed = [{"url": f"https://{name}:4320", "priority": at} for at, name in enumerate(SERVERS, 1)]
    settings = {"mode": mode, "heartbeat": "60s", "spread": "off", "servers": listed}
    await manager.publish(LAB.format(text=text) + f"  communication: {json.dumps(settings)}\n")


@pytest.mark.parametrize("how", ["busy", "silent", "denies", "garbage"])
@pytest.mark.parametrize("mode", ["push", "pull"])
def test_sec_27_withholding_is_denial_of_service_only_the_next_proxy_and_then_the_manager_are_dialled(
    simulate, how, mode
):
    async def story(simulation):
        manager, services = simulation.manager, simulation.network.services
        await publish(manager, mode, "one")
        docks = [await simulation.add_proxy(name, ["lab"]) for name in SERVERS[:2]]
        await pass_time(5.0)
        (agent,) = await simulation.add_agents("lab", ["a0"], via="dock")
        await pass_time(4 * HEARTBEAT)
        for place, name in enumerate(SERVERS):
            record = manager.book.record(agent.state.uid)
            assert record.via == ((docks[place].state.uid,) if place < 2 else ())
            assert record.state.content_digest == manager.book.wanted("lab").content_digest
            if place == 2:
                break
            services[name] = Withholding(services[name], how)
            for pipe in list(simulation.network.pipes):
                if pipe.upstream == name and pipe.name == "a0":
                    pipe.end(1006)
            await publish(manager, mode, name)
            await pass_time(12 * HEARTBEAT)

    simulate(story)
