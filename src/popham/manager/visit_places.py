"""Where an agent is visited: as its definition says, or as it says itself, at the address of its last contact."""

from __future__ import annotations

from urllib.parse import urlsplit

from popham.model.agent_definition import AgentDefinition
from popham.net.visiting import Place
from popham.upstream.target_rules import find_place, is_loopback

UNIX = "unix"
"""What an agent reports whose service is on a Unix socket only."""
_ANY = "*"


def defined_place(definition: AgentDefinition, http_proxy: str = "") -> Place:
    """Return where a definition points, as who dials takes it; ``http_proxy`` where it names none."""
    found = definition.place()
    return Place(found.url, found.tls, found.http_proxy or http_proxy, found.password, found.ca)


def explain_place(service: str, address: str) -> str:
    """Return why an agent without a definition cannot be visited, in a sentence; empty if it can."""
    if find_place(service, address) is not None:
        return ""
    if not service or service == UNIX:
        behind = "its service is behind a web server, whose address no definition names"
        return behind if service else "its service is off"
    if not address:
        return "it has not been in touch from any address yet"
    try:
        parts = urlsplit(service)
        host = parts.hostname or _ANY
    except ValueError:
        return "what it says of its service cannot be read"
    if is_loopback(address) and not is_loopback(host):
        return "it comes from this machine's own address, and no definition says where it is"
    return f"its service listens on {parts.netloc} only, and no definition names its web server"
