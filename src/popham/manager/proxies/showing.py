"""Proxy Managers as people see them."""

from __future__ import annotations

from popham.manager.links import Links
from popham.manager.proxies.binding import proxy_it_is
from popham.manager.proxies.definitions import annotations_of_proxy, proxy_definition_of
from popham.manager.proxies.paths import cache_of, spool_of
from popham.manager.proxies.views import ProxyView
from popham.manager.roster import Roster
from popham.manager.views import AgentView
from popham.model.fleet import Admission
from popham.model.proxy_definition import STREAMS, Custody
from popham.model.status import Presence
from popham.store.rows import AgentRow, ProxyRow
from popham.store.seam import Reading

CONNECTED = "connected"
NOT_ENROLLED = "not enrolled"


def view_proxy(
    reading: Reading, links: Links, row: ProxyRow, now: float, *, detailed: bool = False
) -> ProxyView:
    """Return what is shown of a definition and of the agent that is its proxy.

    Args:
        reading: A snapshot.
        links: The table of open links.
        row: The definition's.
        now: Unix seconds.
        detailed: Whether its status, its path and what it visits are asked for.
    """
    definition = proxy_definition_of(row)
    agent = reading.agent(row.uid) if row.uid else None
    seen = Roster(reading, links, now).view(agent, detailed=detailed) if agent is not None else None
    status = dict(links.relayed.status(row.uid)) if row.uid else {}
    visits = tuple(one.name for one in reading.agent_definitions_by(row.name)) if detailed else ()
    return ProxyView(
        name=row.name,
        state=_state(reading, agent, seen),
        uid=row.uid,
        groups=definition.groups,
        members=definition.agents,
        names=definition.names,
        port=definition.port,
        custody={stream: definition.custody.get(stream, str(Custody.HOP)) for stream in STREAMS},
        agents=links.relayed.count(row.uid) if row.uid else 0,
        spool=spool_of(status),
        cache=cache_of(status),
        via=seen.via if seen else (),
        version=seen.version if seen else "",
        behind=seen.behind if seen else "",
        mode=seen.mode if seen else "",
        dialer=seen.dialer if seen else "",
        address=seen.address if seen else "",
        last_contact=seen.last_contact if seen else None,
        age=seen.age if seen else None,
        age_bound=seen.age_bound if seen else None,
        certificate_until=seen.certificate_until if seen else None,
        changed=row.changed,
        edition=row.edition,
        annotations=annotations_of_proxy(row),
        status=status if detailed else {},
        path=tuple(seen.detail.get("path", ())) if seen and detailed else (),
        visits=visits,
    )


def _state(reading: Reading, agent: AgentRow | None, seen: AgentView | None) -> str:
    if agent is None or seen is None:
        return NOT_ENROLLED
    if agent.admission != Admission.ACCEPTED:
        return str(agent.admission)
    if proxy_it_is(reading, agent) is None:
        return NOT_ENROLLED
    # A link that nothing comes over, of a process that hangs say, is no contact.
    return CONNECTED if seen.connected and seen.presence == Presence.ON_TIME else seen.presence
