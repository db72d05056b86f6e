"""Who a lean agent is: by a certificate of its own, or by the token it shares with others."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from popham.net.tls import client_context
from popham.trust.keys import IdentityKey, load_private


@dataclass(slots=True, kw_only=True)
class LoadIdentity:
    """One lean agent, as it is handed from process to process.

    Attributes:
        uid: instance_uid as a UUID string.
        bearer: Token of a stock agent; empty for one of ours.
        certificate, key: PEM of one of ours; empty for a stock agent.
        group, assignment: Of its assignment.
        state: Its state record, signed, as the Manager knows it; empty before the first.
        revision: Of that record.
    """

    uid: str
    bearer: str = ""
    certificate: str = ""
    key: str = ""
    group: str = ""
    assignment: int = 0
    state: bytes = b""
    revision: int = 0

    @property
    def own(self) -> bool:
        """Whether it is an agent of ours."""
        return bool(self.certificate)

    def signer(self) -> IdentityKey:
        """Return its key."""
        return _load_key(self.key)


@lru_cache(64)
def _load_key(pem: str) -> IdentityKey:
    return IdentityKey(load_private(pem.encode(), "a simulated agent's key"))  # type: ignore[arg-type]  # made by us


def save_identities(path: Path, identities: Iterable[LoadIdentity]) -> None:
    """Write identities, one JSON object a line; they hold keys, so nobody else may read them."""
    path.touch(mode=0o600)
    with path.open("w", encoding="utf-8") as file:
        for identity in identities:
            data: dict[str, Any] = asdict(identity)
            data["state"] = base64.b64encode(identity.state).decode()
            file.write(json.dumps(data) + "\n")


def load_identities(path: Path, *, first: int = 0, step: int = 1, count: int = -1) -> list[LoadIdentity]:
    """Return every ``step``-th identity of a file from the one numbered ``first``, at most ``count``."""
    found: list[LoadIdentity] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number % step == first and len(found) != count:
                data = json.loads(line)
                data["state"] = base64.b64decode(data["state"])
                found.append(LoadIdentity(**data))
    return found


class ResumingContext(ssl.SSLContext):
    """A dialer's context that hands its last session to the next handshake.

    Attributes:
        last: TLS of the newest connection; its ticket comes some time after the handshake.
        resumes: Whether a session is handed on at all.
    """

    last: ssl.SSLObject | None = None
    resumes = True

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Return TLS over memory, resuming the last session if there is one."""
        session = self.last.session if self.last is not None and self.resumes else None
        if session is not None and session.has_ticket:
            options["session"] = session
        self.last = super().wrap_bio(*arguments, **options)
        return self.last


def make_context(ca: str, identity: LoadIdentity | None, *, resumes: bool) -> ssl.SSLContext:
    """Return the TLS context of one agent; that of a stock agent may serve many.

    Raises:
        ConfigError: The CA is no PEM.
    """
    context = _resuming(ca, resumes=resumes)
    if identity is None or not identity.own:
        return context
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(identity.key + identity.certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _resuming(ca: str, *, resumes: bool) -> ResumingContext:
    reference = client_context(ca)
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = reference.minimum_version
    context.verify_flags = reference.verify_flags
    context.set_alpn_protocols(["http/1.1"])
    context.load_verify_locations(cadata=ca)
    context.resumes = resumes
    return context
