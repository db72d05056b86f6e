"""Everything that an agent needs, tried in the order in which one thing rests on another."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from popham.agent.chain import dialing_context
from popham.agent.doctor.finding import Finding, Outcome, fail, failed, is_well, ok, skip, warn
from popham.agent.doctor.identity import ANEW, check_certificate, check_clock, check_enrollment, check_trust
from popham.agent.doctor.machine import check_configuration, check_disk, check_permissions, check_state
from popham.agent.doctor.probes import Probes
from popham.agent.doctor.service import check_service
from popham.agent.doctor.way import Credentials, Way, check_proxies
from popham.agent.local import ask
from popham.agent.service import is_enabled
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.agent.stopped import Orders
from popham.errors import LinkError, PophamError, StateError, TrustError
from popham.model.communication import Dialer
from popham.posix import lock_holder
from popham.statedir import LOCK, StateView
from popham.trust.identity import load_certificate, read_identity
from popham.trust.issuer import load_issuers

TOGETHER: Final = 16
"""Servers that are tried at once: each may have a call under way that blocks."""


async def examine(settings: AgentSettings, source: Path, probes: Probes) -> list[Finding]:
    """Return what came of trying everything that this machine's agent needs, whether or not it runs.

    Args:
        settings: What this machine permits.
        source: The file that it was read from.
        probes: What things are tried with.
    """
    found = check_configuration(source, settings)
    found += await check_state(settings, probes)
    agent, live = await _find_agent(settings, probes)
    found += [agent, *await check_disk(settings, probes), *await check_permissions(settings, probes)]
    kept: list[Finding] = []
    try:
        state, orders = await probes.ask("kept", lambda: _check_kept(settings, probes, kept))
    except (StateError, OSError, ValueError) as error:
        return _give_up([*found, *kept], error, settings, probes)
    try:
        return [*found, *kept, *await _examine_ways(settings, state, orders, live, probes)]
    except (StateError, ValueError) as error:
        return _give_up([*found, *kept], error, settings, probes)


def _check_kept(
    settings: AgentSettings, probes: Probes, found: list[Finding]
) -> tuple[AgentState, Orders | None]:
    """Add to ``found`` how that stands which is kept here, and return it. Raises StateError, OSError, ValueError."""
    state, now = AgentState(StateView.look(Path(settings.state), settings.kind)), probes.clock.now()
    found += check_enrollment(state)
    found += check_certificate(state, now)
    trust, orders = check_trust(state, now)
    found += [*trust, *check_clock(orders, now)]
    return state, orders


def _give_up(
    found: list[Finding], error: StateError | OSError | ValueError, settings: AgentSettings, probes: Probes
) -> list[Finding]:
    """Return what was found, and why nothing more was tried."""
    said = fail("state", "what is kept here is damaged", ANEW)
    if isinstance(error, StateError):
        said = failed("state", error, ANEW)
    elif isinstance(error, TimeoutError):
        text = f"{settings.state} does not answer within {probes.seconds:g} s"
        said = fail("state", text, "Look at that disk")
    # That it is missing, hangs, or may not be read, was said already.
    if all(said.text != one.text for one in found):
        found.append(said)
    return [*found, skip("way", "not tried, since nothing is known here of it")]


def refuse(error: PophamError) -> list[Finding]:
    """Return what there is to say of a machine whose configuration cannot be read."""
    why = "not tried, since the configuration does not say where things are"
    return [failed("configuration", error, "Correct it"), skip("all else", why)]


async def _find_agent(settings: AgentSettings, probes: Probes) -> tuple[Finding, Mapping[str, Any] | None]:
    """Return whether the agent runs and answers on its machine, and what it says of its service."""
    try:
        holder = await probes.ask("lock", lambda: lock_holder(Path(settings.state) / LOCK))
    except OSError:
        return skip("agent", "whether it runs cannot be told by this user"), None
    try:
        live = await ask(settings.socket_path, "service", seconds=probes.seconds)
    except LinkError as error:
        if holder is None:
            step = "systemctl start popham-agent, or popham agent run"
            return warn("agent", "no agent runs here", step), None
        text = f"process {holder} has the state directory, and {error.problem}"
        return fail("agent", text, "Look at its log, and start it again"), None
    return ok("agent", f"process {holder or 'unknown'} runs, and answers"), live if "on" in live else None


async def _examine_ways(
    settings: AgentSettings,
    state: AgentState,
    orders: Orders | None,
    live: Mapping[str, Any] | None,
    probes: Probes,
) -> list[Finding]:
    """Return how the ways between this machine and its upstream stand, whichever end opens them."""
    join = state.join()
    if join is None:
        return [skip("way", "not tried, since this machine knows no Manager")]
    visited = join.walled if orders is None else orders.settings.dialer is Dialer.MANAGER
    needed = visited or is_enabled(state)
    keyid = state.identity_key().keyid
    found = await check_service(live, settings.service, keyid, probes, needed=needed)
    if join.walled if orders is None else (visited and orders.settings.never_dial):
        return [*found, skip("way", "not tried, since this machine dials nobody")]
    try:
        load_issuers(join.ca)
    except TrustError as error:
        return [*found, failed("ca", error, ANEW)]
    urls = orders.urls if orders is not None else join.urls
    credentials = Credentials(
        ca=join.ca, pin=join.ca_sha256, own=_make_own(state, Path(settings.state), join.ca, probes)
    )
    room = asyncio.Semaphore(TOGETHER)

    async def try_one(url: str) -> list[Finding]:
        async with room:
            return await Way(url, credentials, probes, http_proxy=settings.http_proxy).examine()

    ways = await asyncio.gather(*map(try_one, urls))
    # An agent goes on to the next server, and one that is visited needs none.
    spare = visited or any(is_well(way) for way in ways)
    return [
        *found,
        check_proxies(probes, settings.http_proxy),
        *(_excuse(one) if spare else one for way in ways for one in way),
    ]


def _excuse(one: Finding) -> Finding:
    return replace(one, outcome=Outcome.WARNING) if one.outcome is Outcome.FAILED else one


def _make_own(
    state: AgentState, folder: Path, ca: bytes, probes: Probes
) -> Callable[[], ssl.SSLContext] | None:
    """Return what makes the context that shows this machine's certificate; None where it has none that serves."""
    certificate, now = state.certificate(), probes.clock.now()
    try:
        if certificate is None or read_identity(load_certificate(certificate)).not_after <= now:
            return None
    except PophamError:
        return None
    key = state.identity_key().pem
    return lambda: dialing_context(folder, ca=ca, certificate=certificate, key=key, now=now)
