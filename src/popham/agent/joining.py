"""How a machine comes into a fleet: once by ``popham agent enroll``, and again until it is accepted."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from popham.agent.records import Join
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.downstream.enroll import Anchor, Enrolled, ask, find_anchors
from popham.errors import EnrollmentError, LinkError, StateError, TrustError
from popham.link.waits import wait_for_first
from popham.model.fleet import Admission
from popham.net.dialer import AiohttpDialer
from popham.net.seam import Dialer, Limits
from popham.net.tls import client_context, unverified_context
from popham.trust.join import EnrollmentKey, JoinString

_log = logging.getLogger(__name__)
_RETRY = 30.0
"""Seconds until another attempt, after one that reached nobody."""
_AGAIN = 600.0
"""Seconds between lines of the log that say the same: somebody has to accept it."""


class Joining:
    """Enrolls one machine."""

    def __init__(
        self,
        state: AgentState,
        clock: Clock,
        settings: AgentSettings,
        said: Callable[[str, float | None], None] = lambda _text, _wait: None,
    ) -> None:
        """Keep what is needed.

        Args:
            state: Where everything is kept.
            clock: Wall time.
            settings: Name and labels.
            said: Told how it stands, and in how many seconds it asks again.
        """
        self._state = state
        self._clock = clock
        self._settings = settings
        self._said = said

    async def begin(self, join: JoinString) -> Enrolled:
        """Ask for the first time; everything needed to ask again is kept.

        Raises:
            StateError: ``state.enrolled``: this machine belongs to a fleet already.
            EnrollmentError, TrustError, LinkError: As :func:`popham.downstream.enroll.ask`.
        """
        if self._state.certificate() is not None:
            hint = "Empty its state directory to let it join another fleet"
            raise StateError("enrolled", "this machine has joined a fleet already", hint)
        anchor = await self._find(join)
        self._state.need_identity()
        self._state.save_documents(anchor.root, anchor.targets)
        self._state.save_join(
            Join(urls=join.urls, ca=anchor.ca, ca_sha256=join.ca, root_sha256=join.root, seed=join.seed)
        )
        try:
            return await self.ask_again()
        except EnrollmentError:
            # A join string that does not serve is not tried again and again by 'popham agent run'.
            self._state.drop_join()
            raise

    def _dial(self, url: str, ca: bytes | None) -> Dialer:
        context = unverified_context() if ca is None else client_context(ca.decode())
        return AiohttpDialer(url, context=context, limits=Limits(), http_proxy=self._settings.http_proxy)

    async def ask_again(self) -> Enrolled:
        """Ask with what is kept, and keep what comes.

        Raises:
            StateError: ``state.not_enrolled``: it never began.
            EnrollmentError, TrustError, LinkError: As :func:`popham.downstream.enroll.ask`.
        """
        join, documents = self._state.join(), self._state.documents()
        if join is None or documents is None or join.seed is None:
            problem = "this machine has not joined a fleet"
            raise StateError("not_enrolled", problem, "Run 'popham agent enroll JOIN' first")
        anchor = Anchor(ca=join.ca, root=documents.root, targets=documents.targets)
        error: LinkError | None = None
        for url in join.urls:
            dialer = self._dial(url, anchor.ca)
            try:
                enrolled = await ask(
                    dialer,
                    anchor=anchor,
                    key=self._state.identity_key(),
                    uid=self._state.uid,
                    token=EnrollmentKey.from_seed(join.seed),
                    name=self._settings.name or socket.gethostname(),
                    labels=self._settings.labels,
                    proxy=self._settings.kind == "proxy",
                )
            except LinkError as failure:
                error = failure
            else:
                keep_enrolled(self._state, enrolled)
                return enrolled
            finally:
                await dialer.aclose()
        raise error or LinkError("unreachable", "the join string names no address")

    async def _find(self, join: JoinString) -> Anchor:
        error: LinkError | None = None
        for url in join.urls:
            try:
                return await find_anchors(join, url, self._dial)
            except LinkError as failure:
                error = failure
        raise error or LinkError("unreachable", "the join string names no address")

    async def wait(self, news: asyncio.Event, stopping: asyncio.Event) -> bool:
        """Ask again and again until accepted; False if it is no use, or the process stops first.

        ``news`` set (a check-in on the machine) asks at once.
        """
        now, told, told_at = asyncio.get_running_loop().time, "", 0.0
        while not stopping.is_set():
            wait = _RETRY
            try:
                enrolled = await self.ask_again()
            except (LinkError, EnrollmentError, TrustError) as error:
                text, level = f"not enrolled yet: {error}", logging.WARNING
                self._said(str(error), wait)
            else:
                if enrolled.admission is Admission.ACCEPTED:
                    _log.info("this machine was accepted")
                    return True
                wait, level = enrolled.retry_after, logging.INFO
                text = f"enrolled, and {enrolled.text or 'waiting to be accepted'}"
                self._said(enrolled.text, wait)
            if text != told or now() - told_at >= _AGAIN:
                _log.log(level, "%s; asked again every %.0f s", text, wait)
                told, told_at = text, now()
            news.clear()
            await wait_for_first(wait, news, stopping)
        return False


def keep_enrolled(state: AgentState, enrolled: Enrolled) -> None:
    """Keep certificate and assignment, if it was accepted, and forget the token."""
    if enrolled.admission is Admission.ACCEPTED:
        state.save_assignment(enrolled.assignment)
        state.save_certificate(enrolled.certificate)
        state.drop_seed()
