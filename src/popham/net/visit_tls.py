"""TLS towards agents' services: one context for many agents, each with its own session.

Rules:

1. ``agent``: the certificate leads up to our own authority; its name is checked by whoever knows which agent is
   meant.  Its times are not looked at: a clock that is wrong, here or there, blocks nothing, and an agent whose
   certificate has expired is visited to renew it.  Who it is, it shows by signing its answers.
2. ``web``: a web server's certificate, host name included, by the machine's authorities or one that is named.
3. Without an authority nothing is verified: for an agent that is not born yet and has no certificate of ours.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from typing import Literal, Self

from popham.errors import ConfigError
from popham.net.tls import ALPN

Tls = Literal["agent", "web", "off"]
"""Whose certificate a visitor expects."""

AUTHORITIES = 64
"""Contexts kept for authorities of web servers; the one not used for longest goes first."""

SESSIONS = 20_000
"""Sessions kept in one context; the one not used for longest goes first. Each takes some 3 kB."""

USES = 4
"""Connections for which one session serves, before the next is asked for. Source: measured; 0.3 ms each."""

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME. Source: openssl x509_vfy.h."""


class VisitContext(ssl.SSLContext):
    """A context that dialers of many hosts share; it resumes the last session of each.

    asyncio has no parameter for a session, but makes its TLS objects by :meth:`wrap_bio`. A session belongs to a
    host name or address: where several agents share one, the wrong session only costs a full handshake.

    Source: measured; a context of its own for each agent takes 18 kB and 1.1 ms.
    """

    def __new__(cls, protocol: int) -> Self:
        """Make a context without sessions."""
        made = super().__new__(cls, protocol)
        made._sessions = OrderedDict()
        made._used = {}
        return made

    _sessions: OrderedDict[str, ssl.SSLSession]
    _used: dict[str, int]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT002 - the library's form
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return the TLS object of a new connection, with the last session of its host."""
        known = self._sessions.get(server_hostname) if isinstance(server_hostname, str) else None
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or known)

    def remember(self, connection: ssl.SSLObject) -> None:
        """Keep the session of a connection that has answered; its ticket came before the answer."""
        host = connection.server_hostname
        if not isinstance(host, str):
            return
        if connection.session_reused and self._used.get(host, USES) < USES:
            self._used[host] += 1
            self._sessions.move_to_end(host)
            return
        found = connection.session
        if found is None or not found.has_ticket:
            return
        self._sessions[host] = found
        self._sessions.move_to_end(host)
        self._used[host] = 1
        if len(self._sessions) > SESSIONS:
            oldest, _ = self._sessions.popitem(last=False)
            del self._used[oldest]


def visit_context(tls: Tls, authority: str = "") -> VisitContext | None:
    """Return the context of visits; None where there is no TLS.

    Args:
        tls: As in the agent's definition.
        authority: PEM text. For ``agent`` our own CA, or empty for an agent that waits to be born, where nothing
            is verified; for ``web`` the only authority to trust, or empty for those of this machine.

    Raises:
        ConfigError: ``config.tls``: the text is no PEM certificate.
    """
    if tls == "off":
        return None
    context = VisitContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(ALPN)
    # Web servers in front may be old, and nothing is believed for their sake.
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if tls == "web" else ssl.TLSVersion.TLSv1_3
    if tls == "agent":
        context.check_hostname = False
        context.verify_flags |= _NO_CHECK_TIME
    if authority:
        try:
            context.load_verify_locations(cadata=authority)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError("tls", "The text given as authority is no PEM certificate") from error
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    elif tls == "web":
        context.load_default_certs()
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


class VisitContexts:
    """The contexts of one process, each made once: what they load is large, and their sessions are to be kept."""

    def __init__(self, authority: str) -> None:
        """Take our own CA, as PEM text."""
        self._authority = authority
        self._made: OrderedDict[tuple[Tls, str], VisitContext | None] = OrderedDict()

    def find(self, tls: Tls, ca: str = "", *, born: bool = True) -> VisitContext | None:
        """Return the context for an agent.

        Args:
            tls: As in the agent's definition.
            ca: Likewise, for ``web``; empty for the authorities of this machine.
            born: Whether the agent has a certificate of ours; nothing is verified where it has none.

        Raises:
            ConfigError: ``config.tls``: a text is no PEM certificate.
        """
        authority = ca if tls == "web" else self._authority if born else ""
        place = (tls, authority)
        if place not in self._made:
            self._made[place] = visit_context(tls, authority)
        self._made.move_to_end(place)
        if len(self._made) > AUTHORITIES:
            self._made.popitem(last=False)
        return self._made[place]
