"""The agent's service, where the Manager dials: whether it listens, is reached from here, and who came last."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

from popham.agent.doctor.finding import Finding, fail, ok, skip, warn
from popham.agent.doctor.identity import show_moment
from popham.agent.doctor.probes import Probes
from popham.agent.service_settings import ServiceSettings
from popham.errors import TrustError
from popham.net.tls import unverified_context
from popham.trust.identity import load_certificate
from popham.trust.keys import PublicKey

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what it is reached by where it listens on all
_NAME: Final = "service"


async def check_service(
    found: Mapping[str, Any] | None, settings: ServiceSettings, keyid: str, probes: Probes, *, needed: bool
) -> list[Finding]:
    """Return how the service stands.

    Args:
        found: What the running agent says of it; None if no agent answers.
        settings: Where it is to listen.
        keyid: Of this machine's key.
        probes: Bound each try.
        needed: Whether the Manager is to dial.
    """
    if not needed and not (found and found["on"]):
        return [skip(_NAME, "it is off, and this machine is not to be visited")]
    if found is None:
        return [fail(_NAME, "no agent runs that could be visited", "systemctl start popham-agent")]
    if not found["on"]:
        problem = found.get("problem")
        text = (
            f"it is off: {problem['problem']}" if problem else "it is off, and this machine is to be visited"
        )
        return [fail(_NAME, text, str(found["next"]))]
    port = settings.listens_on
    if port is None:
        tried = await _try_socket(settings.socket or "", probes)
    else:
        first = settings.addresses[0]
        host = _LOOPBACK.get(first, first)
        tried = await _try_port(host, port, keyid if settings.tls else "", settings, probes)
    return [tried, _describe_visits(found)]


async def _try_socket(path: str, probes: Probes) -> Finding:
    try:
        async with asyncio.timeout(probes.seconds):
            _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return fail(_NAME, f"nobody answers at {path}", "popham agent service stop, then start")
    writer.transport.abort()
    return ok(_NAME, f"it answers at {path}")


async def _try_port(host: str, port: int, keyid: str, settings: ServiceSettings, probes: Probes) -> Finding:
    """Return whether the port is reached from here, and, with TLS, whether this machine's own key answers."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    context = unverified_context() if keyid else None
    try:
        async with asyncio.timeout(probes.seconds):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except OSError as error:
        text = f"it is on, and {where} is not reached from this machine: {type(error).__name__}"
        if settings.allow or settings.deny:
            return warn(_NAME, text, "allow and deny under [service] may keep this machine itself out")
        return fail(
            _NAME, text, "popham agent service stop, then start; see whether a firewall is on loopback"
        )
    shown: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    der = shown.getpeercert(binary_form=True) if shown is not None else None
    writer.transport.abort()
    if keyid and _keyid_of(der) != keyid:
        return fail(
            _NAME, f"another program answers at {where}", f"See who listens: ss -ltnp sport = :{port}"
        )
    return ok(_NAME, f"it answers at {where}{', with the key of this machine' if keyid else ''}")


def _keyid_of(der: bytes | None) -> str:
    try:
        return PublicKey.wrap(load_certificate(der).public_key()).keyid if der else ""
    except TrustError:
        return ""


def _describe_visits(found: Mapping[str, Any]) -> Finding:
    visitor, refused = found["visitor"], found["refused"]
    if visitor is None:
        text = "nobody came since the agent started"
        if refused:
            text += f"; {refused['address'] or 'somebody'} was refused: {refused['text']} ({refused['code']})"
        step = "At the Manager: popham why agent NAME; check the address there, and the firewall here"
        return warn("visits", text, step)
    source = f" from {visitor['address']}" if visitor["address"] else ""
    return ok("visits", f"the last one was at {show_moment(visitor['at'])}{source}")
