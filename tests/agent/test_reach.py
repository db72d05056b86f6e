"""Servers are asked whether they are there: any answer counts, silence and refusals to connect do not."""

import asyncio

import pytest

from popham.agent.ways import UpstreamWays
from popham.errors import LinkError
from popham.model.communication import CommunicationSettings, Dialer
from popham.testing.virtual import VirtualClock, run_virtual

URLS = ("https://a:4320", "https://b:4320")


class Answering:
    """A dialer to one server that answers, refuses, is silent or not there."""

    def __init__(self, how, closed):
        self.how, self.closed = how, closed

    async def fetch(self, path, *, limit):
        assert (path, limit > 0) == ("/livez", True)
        if self.how == "silent":
            await asyncio.Event().wait()
        if self.how == "gone":
            raise LinkError("unreachable", "the connection was refused")
        if self.how == "busy":
            raise LinkError("busy", "it is busy", status=503)
        return b"ok"

    async def aclose(self):
        self.closed.append(self.how)


@pytest.mark.parametrize(
    ("hows", "reachable"),
    [
        (("well", "silent"), True),
        (("gone", "well"), True),
        (("gone", "busy"), True),
        (("gone", "gone"), False),
        (("silent", "gone"), False),
    ],
)
def test_rel_11_a_server_that_says_anything_is_there(hows, reachable):
    clock, closed = VirtualClock(), []

    async def story():
        ways = UpstreamWays(
            lambda url: Answering(hows[URLS.index(url)], closed),
            uid=bytes(16),
            join=URLS,
            ordered=CommunicationSettings,
            draw=lambda: 0.5,
        )
        assert await ways.reach(4.0) is reachable
        assert clock.elapsed == (4.0 if not reachable and "silent" in hows else 0.0)
        assert sorted(closed) == sorted(hows)

    run_virtual(story(), clock)


def test_where_the_manager_dials_it_is_not_asked():
    async def story():
        settings = CommunicationSettings(dialer=Dialer.MANAGER)
        ways = UpstreamWays(
            lambda _url: Answering("gone", []),
            uid=bytes(16),
            join=URLS,
            ordered=lambda: settings,
            draw=lambda: 0.5,
        )
        assert await ways.reach(4.0)

    run_virtual(story(), VirtualClock())
