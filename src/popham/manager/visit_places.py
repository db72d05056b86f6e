"""Where an agent is visited: as its definition says, or as it says itself, at the address of its last contact."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from popham.model.agent_definition import AgentDefinition
from popham.net.visiting import Place

UNIX = "unix"
"""What an agent reports whose service is on a Unix socket only."""
_ANY = "*"


def defined_place(definition: AgentDefinition, http_proxy: str = "") -> Place:
    """Return where a definition points, as who dials takes it; ``http_proxy`` where it names none."""
    found = definition.place()
    return Place(found.url, found.tls, found.http_proxy or http_proxy, found.password, found.ca)


def find_place(service: str, address: str, http_proxy: str = "") -> Place | None:
    """Return where to visit an agent; None if a definition is needed, or its service is off.

    Scheme and port are the agent's word, which is signed; the host is where it came from, so that no agent
    sends this Manager elsewhere.

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
    if _is_loopback(host) and not _is_loopback(address):
        return None  # it is another machine's loopback
    if not secure and (_is_loopback(host) or _is_loopback(address)):
        return None  # a web server stands before it, or before this Manager
    shown = f"[{address}]" if ":" in address else address
    return Place(f"{parts.scheme}://{shown}:{port}", "agent" if secure else "off", http_proxy)


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
    if _is_loopback(address) and not _is_loopback(host):
        return "it comes from this machine's own address, and no definition says where it is"
    return f"its service listens on {parts.netloc} only, and no definition names its web server"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
