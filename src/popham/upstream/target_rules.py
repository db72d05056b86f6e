"""Who is visited, where, and how often: the rules, the same for a Manager and a Proxy Manager; pure.

Rules:

1. A definition says where an agent is.  Without one it is visited at the address of its last contact, by the scheme and
   port that it reports, and nowhere else; and only by the upstream that it came to itself.
2. By the settings that hold for an agent where it is, this end dials; also until it was told otherwise, and where it
   would dial itself in other places, as long as nothing is heard of it.
3. Who dials for its orders may be visited for its data alone.
4. Who is too old to be visited goes on dialling until it is upgraded.  A Proxy Manager visits none that is older than
   visitor statements.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from urllib.parse import urlsplit

from popham.model.cell import Dialer, Mode
from popham.model.communication import VISIT_DEFAULT, CommunicationSettings
from popham.model.fleet import Admission, AgentKind
from popham.model.generation import VISITS, generation_of
from popham.model.status import StateRecord
from popham.net.visiting import Place
from popham.upstream.record import Record, Wanted, Within
from popham.upstream.targets import Target

_ANY = "*"
_GONE = frozenset({Admission.REFUSED, Admission.REVOKED})


# Who.


def target_at_definition(
    name: str, place: Place, uid: str, record: Record | None, wanted: Wanted | None, *, oldest: int = VISITS
) -> Target | None:
    """Return who is visited where a definition points; None for nobody.

    Args:
        name: Of the definition.
        place: Where it points.
        uid: Whom it is bound to; empty for nobody.
        record: What is known of that agent; None for nothing.
        wanted: What its group is to have.
        oldest: Generation of the oldest agents that this upstream visits.
    """
    if record is not None and record.kind is AgentKind.STOCK:
        return None
    # Who was refused or revoked is told so; and its machine may have been set up anew, and wait to be born.
    gone = record is not None and record.admission in _GONE
    if record is not None and not gone and (record.certificate_until or record.envelope):
        return target_of(record, wanted, place, name, oldest=oldest)
    # The one that was promised by a uid of its own, and is not known, is named as such when it is visited.
    expected = uid if record is None else ""
    return Target(uid=expected, name=name, place=place, mode=Mode.PULL, interval=VISIT_DEFAULT)


def target_where_it_came(
    record: Record, wanted: Wanted | None, http_proxy: str = "", *, oldest: int = VISITS
) -> Target | None:
    """Return how an agent without a definition is visited: at the address of its last contact; None for not at all."""
    if record.via or not may_be_visited(record, wanted):
        return None  # the proxy that it is at does so
    place = find_place(record.state.service if record.state else "", record.address, http_proxy)
    return target_of(record, wanted, place, oldest=oldest) if place else None


def target_of(
    record: Record, wanted: Wanted | None, place: Place, name: str = "", *, oldest: int = VISITS
) -> Target | None:
    """Return how an agent is visited at a place; None for not at all.

    Args:
        record: The agent.
        wanted: What its group is to have.
        place: Where it is.
        name: Of the definition that says so; empty for none.
        oldest: Generation of the oldest agents that this upstream visits.
    """
    if record.kind is not AgentKind.OWN or record.admission is not Admission.ACCEPTED:
        return None
    if (
        record.state is not None
        and generation_of(record.state.agent_version, record.state.generation) < oldest
    ):
        return None
    found = _cadence(record, wanted)
    if found is None and name and not record.envelope:
        found = Mode.PULL, VISIT_DEFAULT  # just born, and not heard of since
    reads = _reads(record, wanted)
    if reads and not record.awaits_dial:
        found = Mode.PULL, reads
    if found is None:
        return None
    mode, interval = found
    return Target(
        uid=record.uid,
        name=name or record.name,
        place=place,
        mode=mode,
        interval=interval,
        reads=reads > 0,
    )


def may_be_visited(record: Record, wanted: Wanted | None) -> bool:
    """Return whether an agent may be one to visit, by what costs next to nothing to know."""
    if record.dialer is Dialer.MANAGER:
        return True
    ordered = record.dialer is None and wanted is not None and wanted.is_visited
    return ordered or record.awaits_dial


def is_elsewhere(record: Record | None, wanted: Wanted | None, interval: float, now: float) -> bool:
    """Return whether an agent dials by its settings where it is, and came within the visit interval (seconds)."""
    if record is None or wanted is None or record.last_contact is None or record.awaits_dial:
        return False
    if settings_here(wanted.settings_for(record.uid, record.candidate), record).dialer is Dialer.MANAGER:
        return False
    return record.link is not None or now - record.last_contact < interval


def _cadence(record: Record, wanted: Wanted | None) -> tuple[Mode, float] | None:
    """Return mode and seconds by which an agent is visited, where it is or where it would be; None for never."""
    if wanted is None or not may_be_visited(record, wanted):
        return None
    within = wanted.settings_for(record.uid, record.candidate)
    here, state = settings_here(within, record), record.state
    if here.dialer is Dialer.MANAGER:
        return here.mode, here.heartbeat
    if state is not None and record.awaits_dial:
        # It has not been told otherwise yet, or may not dial since it was born by a visit.
        return (Mode.PUSH if state.mode == Mode.PUSH else Mode.PULL), state.promise
    if record.dialer is Dialer.AGENT:
        return None
    held = [one for settings in within.settings.values() for one in variants(settings)]
    others = [one for one in held if one.dialer is Dialer.MANAGER]
    best = min(others, key=lambda one: one.heartbeat, default=None)
    return (best.mode, best.heartbeat) if best else None


def _reads(record: Record, wanted: Wanted | None) -> float:
    """Return the seconds after which the data of an agent are read that dials for its orders; 0 for never."""
    if wanted is None or record.dialer is not None:
        return 0.0
    here = settings_here(wanted.settings_for(record.uid, record.candidate), record)
    reads = here.upload and here.data is not None and here.data.dialer is Dialer.MANAGER
    return here.heartbeat if reads and here.dialer is Dialer.AGENT else 0.0


# By which settings.


def settings_here(within: Within, record: Record) -> CommunicationSettings:
    """Return the settings that hold for an agent where it says that it is, at the time of day that holds there."""
    state = record.state
    held = within.at(state.location if state else within.default)
    found = _in_force(held, state) if state else held
    return found if record.dialer is None else replace(found, dialer=record.dialer)


def _in_force(held: CommunicationSettings, state: StateRecord) -> CommunicationSettings:
    """Return which of the settings' times of day holds, by the agent's own clock: the one that it reports."""
    said = (state.mode, state.dialer)
    return next((one for one in variants(held) if (one.mode, one.dialer) == said), held)


def variants(held: CommunicationSettings) -> list[CommunicationSettings]:
    """Return settings as they hold at some time, the usual first."""
    found = [held, *(held.under(period.override) for period in held.times)]
    return found + ([one.under(held.metered) for one in found] if held.metered else [])


# Where.


def find_place(service: str, address: str, http_proxy: str = "") -> Place | None:
    """Return where to visit an agent; None if a definition is needed, or its service is off.

    Scheme and port are the agent's word, which is signed; the host is where it came from, so that no agent
    sends its upstream elsewhere.

    Args:
        service: As its state record says: ``https://*:23440``, ``http://127.0.0.1:8080``, ``unix``, or nothing.
        address: Of its last contact.
        http_proxy: Web proxy on the way; empty for none.
    """
    try:
        parts = urlsplit(service)
        host, port = parts.hostname or _ANY, parts.port
    except ValueError:
        return None
    if not address or port is None or parts.scheme not in {"http", "https"}:
        return None
    secure = parts.scheme == "https"
    if is_loopback(host) and not is_loopback(address):
        return None  # it is another machine's loopback
    if not secure and (is_loopback(host) or is_loopback(address)):
        return None  # a web server stands before it, or before this upstream
    shown = f"[{address}]" if ":" in address else address
    return Place(f"{parts.scheme}://{shown}:{port}", "agent" if secure else "off", http_proxy)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself, by its address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
