"""What a machine that waits to be accepted says in its log: that it waits and for what, and not each time it asks."""

import asyncio
import logging

from popham.agent.joining import Joining
from popham.downstream.enroll import Enrolled
from popham.errors import LinkError
from popham.model.fleet import Admission
from popham.testing.virtual import VirtualClock, run_virtual

WAITING = "waiting to be accepted by an administrator: popham accept agent dock"


class Asking(Joining):
    """Asks a list of answers instead of a Manager."""

    def __init__(self, answers):
        super().__init__(None, None, None)
        self._answers = iter(answers)

    async def ask_again(self):
        """Return, or raise, the next answer."""
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_f_p4_a_proxy_says_seldom_that_it_waits_and_at_once_when_that_is_for_something_else(caplog):
    new = Enrolled(admission=Admission.NEW, retry_after=30.0, text=WAITING)
    away = LinkError("unreachable", "nobody answers", "Check the network")
    joining = Asking(
        [*[new] * 22, *[away] * 3, Enrolled(admission=Admission.ACCEPTED, retry_after=0.0, text="")]
    )

    async def story():
        assert await joining.wait(asyncio.Event(), asyncio.Event())

    with caplog.at_level(logging.INFO, "popham.agent.joining"):
        run_virtual(story(), VirtualClock())
    said = [one.getMessage() for one in caplog.records]
    waits = f"enrolled, and {WAITING}; asked again every 30 s"
    assert said == [
        waits,
        waits,
        f"not enrolled yet: {away}; asked again every 30 s",
        "this machine was accepted",
    ]
