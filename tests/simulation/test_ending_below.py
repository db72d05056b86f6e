"""What becomes of agents below a machine that is no Proxy Manager any more, where the Manager dials it."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from popham.model.cell import Dialer, Mode
from popham.model.documents import SourceFile
from popham.net.seam import Peer
from popham.proxy.ending import TOLD
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time
from popham.trust.identity import load_certificate

from .conftest import HEARTBEAT
from .test_stories_below_a_proxy import LINK, StageBelow


@pytest.mark.parametrize("mode", [Mode.PULL, Mode.PUSH])
def test_f_t2_a_visited_proxy_whose_definition_is_deleted_hears_so_at_once_and_sends_its_agents_away(
    simulate, mode
):
    async def story(simulation):
        stage = StageBelow(simulation, (mode, Dialer.MANAGER))
        await stage.order(LINK, HEARTBEAT)
        await stage.open()
        await stage.begin()
        await pass_time(2 * HEARTBEAT + stage.hop)
        downlink = stage.dock.downlink
        assert (downlink.hub.room.held, downlink.ending.why) == (2, "")
        await simulation.manager.service.delete_proxy(ADMIN, "dock")
        await pass_time(HEARTBEAT / 2)
        assert (downlink.hub.room.held, downlink.ending.why) == (0, TOLD)
        await pass_time(10 * HEARTBEAT)
        assert (downlink.hub.room.held, downlink.ending.why) == (0, TOLD), "nobody is let in"

    simulate(story)


def test_f_t2_a_visited_proxy_that_is_revoked_hears_so_where_a_definition_says_where_it_is(simulate):
    async def story(simulation):
        stage = StageBelow(simulation, (Mode.PULL, Dialer.MANAGER))
        await stage.order(LINK, HEARTBEAT)
        await stage.open()
        await stage.begin()
        await pass_time(2 * HEARTBEAT + stage.hop)
        text = (
            "apiVersion: popham/v1\nkind: Agent\nmetadata: {name: dock}\nspec: {address: dock, tls: agent}\n"
        )
        await simulation.manager.service.apply(ADMIN, [SourceFile("dock.yaml", text)])
        await pass_time(2 * HEARTBEAT)
        await simulation.manager.service.revoke(ADMIN, "dock")
        await pass_time(2 * HEARTBEAT)
        assert stage.dock.downlink.ending.why == TOLD

    simulate(story)


def test_f_t2_a_visited_proxy_hears_so_that_was_not_heard_since_the_manager_began(simulate):
    async def story(simulation):
        stage = StageBelow(simulation, (Mode.PULL, Dialer.MANAGER))
        await stage.order(LINK, HEARTBEAT)
        await stage.open()
        await simulation.manager.crash()
        await simulation.manager.start()
        await simulation.manager.service.delete_proxy(ADMIN, "dock")
        await pass_time(2 * HEARTBEAT)
        assert stage.dock.downlink.ending.why == TOLD

    simulate(story)


def test_f_t4_an_upper_proxy_that_knows_a_lower_one_not_yet_does_not_say_that_it_is_none(simulate):
    async def story(simulation):
        stage = StageBelow(simulation, LINK)
        await stage.order(LINK, HEARTBEAT)
        await stage.open()
        lower = await simulation.add_proxy("pier", ["lab"], group="docks")
        await pass_time(2 * HEARTBEAT)
        upper = stage.dock.downlink
        peer = Peer(
            address="pier", certificate=load_certificate(lower.state.certificate()).public_bytes(Encoding.DER)
        )
        assert upper.book.record(lower.state.uid) is None
        assert upper.hub.may_relay(peer).status == 503
        upper.chain.desk.gone_above(simulation.manager.book.record(lower.state.uid))
        assert upper.hub.may_relay(peer).status == 403, "those above said so"

    simulate(story)
