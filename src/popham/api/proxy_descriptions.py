"""What the fields of Proxy Managers mean: the part of :mod:`popham.api.descriptions` that is about them."""

from __future__ import annotations

from collections.abc import Mapping

PROXY_FIELDS: Mapping[str, str] = {
    "AgentDefinitionView.proxy": "The Proxy Manager that visits it, by name; empty for this Manager.",
    "AgentView.behind": "That it stays below the Manager's version, in a sentence; empty if it does not, or not for three heartbeats yet.",
    "AgentView.via": "Proxy Managers between it and this Manager by name, the one nearest to the Manager first.",
    "Proxies.items": "All Proxy Managers by name.",
    "ProxyView.address": "Address of its last contact.",
    "ProxyView.agents": "How many agents are at it now, and at those below it.",
    "ProxyView.behind": "That it stays below the Manager's version, in a sentence; empty if it does not.",
    "ProxyView.cache": "What it keeps for its agents, as it says: bytes, damaged (files since its start), problem; empty before it said.",
    "ProxyView.changed": "When its definition was changed last, in unix seconds.",
    "ProxyView.custody": "Stream to when what is sent counts as kept: hop, or end to end.",
    "ProxyView.edition": "Rises with each change of its definition.",
    "ProxyView.groups": "Groups that are given to it, with those below them.",
    "ProxyView.members": "Single agents that are given to it, by name or uid.",
    "ProxyView.name": "Name of the definition, and of the agent that it is.",
    "ProxyView.names": "Host names and addresses by which agents dial it.",
    "ProxyView.path": "Each hop from this Manager to it: from, to, who dials, mode, heartbeat, age_bound; empty in lists.",
    "ProxyView.port": "On which it listens for agents.",
    "ProxyView.spool": "Stream to records, bytes and oldest (unix seconds) of what waits there, as it says.",
    "ProxyView.state": "connected, on time, overdue, missing, never seen; before that not enrolled, new, refused or revoked.",
    "ProxyView.status": "All that it says of how it stands; empty in lists.",
    "ProxyView.uid": "The agent that it is; empty before there is one.",
    "ProxyView.version": "Of its program; empty before it reported.",
    "ProxyView.via": "Proxy Managers between it and this Manager by name, the one nearest to the Manager first.",
    "ProxyView.visits": "Definitions of agents that it is to visit, by name; empty in lists.",
    "TokenRequest.proxy": "Name of the Proxy definition that it is for; of the kind proxy only.",
    "TokenView.proxy": "Name of the Proxy definition that it is for; empty for other kinds.",
}
"""``Schema.field`` → what it means there."""
