"""How an agent's connections are made: with the certificate that it has at the time."""

from __future__ import annotations

import ssl
import uuid

from popham.agent.chain import dialing_context
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import StateError
from popham.net.dialer import AiohttpDialer
from popham.net.seam import Dialer, Limits
from popham.statedir import StateDir


class Transports:
    """Makes the transports of one agent."""

    def __init__(self, state: AgentState, state_dir: StateDir, clock: Clock, *, http_proxy: str = "") -> None:
        """Show the certificate in ``state``; the library reads it from files in ``state_dir``.

        ``http_proxy`` is the URL of a web proxy that leads to every server; empty for none.
        """
        self._http_proxy = http_proxy
        self._state = state
        self._dir = state_dir
        self._clock = clock

    def make(self, url: str) -> Dialer:
        """Return the transport to a URL, showing the certificate there is now.

        Raises:
            StateError: There is none yet, or it cannot be read.
        """
        join, certificate = self._state.join(), self._state.certificate()
        if join is None or certificate is None:
            raise StateError("not_enrolled", "this machine has no certificate yet")
        context = self._state.room.with_room(lambda: self._make_context(join.ca, certificate))
        uid = uuid.UUID(self._state.uid).bytes
        return AiohttpDialer(
            url, context=context, limits=Limits(), instance_uid=uid, http_proxy=self._http_proxy
        )

    def _make_context(self, ca: bytes, certificate: bytes) -> ssl.SSLContext:
        key = self._state.identity_key().pem
        now = self._clock.now()
        return dialing_context(self._dir.root, ca=ca, certificate=certificate, key=key, now=now)
