"""The door of a Proxy Manager for agents: it shows the certificate of the machine's own agent.

Agents dial it by the names in that certificate; a renewed one, and a new key, are shown from the next connection on.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509

from popham.agent.chain import chain_files
from popham.agent.state import AgentState
from popham.errors import ConfigError, StateError
from popham.net.tls import server_context, show_certificate
from popham.opamp.wire import OPAMP_PATH
from popham.trust.identity import load_certificate

_log = logging.getLogger(__name__)
_AUTHORITY: Final = "agents.pem"
_LOCAL: Final = "localhost"


class Shown:
    """What the listener shows, and whom it believes.

    Attributes:
        context: TLS of the listener.
        names: DNS names and addresses in the certificate, in its order; the first is told to stock agents.
    """

    def __init__(self, state: AgentState, folder: Path) -> None:
        """Show the certificate in ``state``; the library reads it from files in ``folder``, for a moment.

        Raises:
            StateError: ``state.not_enrolled``: there is none yet.
            ConfigError: Certificate and key cannot be used together.
        """
        self._state = state
        self._folder = folder
        join, certificate = self._kept()
        with chain_files(folder, certificate, state.identity_key().pem) as (cert, key):
            authority = cert.with_name(_AUTHORITY)
            authority.write_bytes(join)
            self.context: ssl.SSLContext = server_context(cert, key, authority)
        self.names = read_names(certificate)
        self._asked: frozenset[str] = frozenset()

    def renewed(self) -> None:
        """Show what there is now, from the next connection on."""
        _, certificate = self._kept()
        try:
            with chain_files(self._folder, certificate, self._state.identity_key().pem) as files:
                show_certificate(self.context, *files)
        except (ConfigError, OSError) as error:
            _log.warning("agents are shown the former certificate, until the next renewal: %s", error)
            return
        self.names = read_names(certificate)

    def lacks(self, names: object) -> bool:
        """Return whether the certificate is to be renewed for the names that are ordered; True once for the same ones."""
        if not isinstance(names, list):
            return False
        wanted = frozenset(map(_normal, names))
        asked, self._asked = self._asked, wanted
        return wanted not in {asked, frozenset(map(_normal, self.names))}

    def endpoint(self, port: int) -> str:
        """Return the URL that stock agents are told to dial."""
        name = self.names[0] if self.names else _LOCAL
        host = f"[{name}]" if ":" in name else name
        return f"wss://{host}:{port}{OPAMP_PATH}"

    def _kept(self) -> tuple[bytes, bytes]:
        join, certificate = self._state.join(), self._state.certificate()
        if join is None or certificate is None:
            raise StateError(
                "not_enrolled", "this machine has no certificate yet", "Run 'popham proxy enroll JOIN' first"
            )
        return join.ca, certificate


def read_names(certificate: bytes) -> tuple[str, ...]:
    """Return the DNS names and addresses that a certificate (PEM) is for, in its order; none if it has none."""
    try:
        found = load_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(
        str(one.value)
        for one in found.value
        if isinstance(one, x509.DNSName)
        or (isinstance(one, x509.IPAddress) and isinstance(one.value, _Address))
    )


def _normal(name: object) -> str:
    """Return a name, or an address, as certificates have it."""
    text = str(name)
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return text.lower().rstrip(".")


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
