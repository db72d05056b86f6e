"""The server list: which upstream an agent dials first, and which next.

Rules:

1. A smaller priority comes first; among equals each agent has an order of its own, by rendezvous
   hashing, so a fleet spreads evenly, and one server more or less moves only its own share.
2. An empty list means the URLs of the join string, in their order.

Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from popham.errors import DefinitionError
from popham.model.lines import line_of
from popham.model.names import show

SERVERS_MAX = 32
PRIORITY_MAX = 100
URL_LENGTH = 512
_URL = re.compile(r"https://[!-~]+")


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """An upstream: its priority, 1 first, and its URL (``https://host:port``)."""

    priority: int
    url: str

    def as_dict(self) -> dict[str, Any]:
        """Return the server as it stands in a bundle."""
        return {"priority": self.priority, "url": self.url}


def order_servers(servers: Iterable[Server], uid: bytes) -> tuple[tuple[str, ...], ...]:
    """Return the URLs by priority, and within one in the order of the agent ``uid`` (16 bytes)."""
    levels: dict[int, list[str]] = {}
    for server in sorted(servers):
        levels.setdefault(server.priority, []).append(server.url)
    return tuple(
        tuple(sorted(urls, key=lambda url: hashlib.sha256(uid + url.encode()).digest()))
        for urls in levels.values()
    )


def servers_from_dicts(data: Iterable[Mapping[str, Any]]) -> tuple[Server, ...]:
    """Return the server list of a bundle."""
    return tuple(Server(int(item["priority"]), str(item["url"])) for item in data)


def read_servers(spec: object) -> tuple[Server, ...]:
    """Return what people wrote under ``servers``: URLs, or ``{url, priority}``; priority 1 by default.

    Raises:
        DefinitionError: It is no list, is empty, or an item is no ``https`` URL of a host.
    """
    if not isinstance(spec, Sequence) or isinstance(spec, str) or not 0 < len(spec) <= SERVERS_MAX:
        problem = (
            "servers: the list has no server" if not spec else f"servers: {show(spec)} is no list of servers"
        )
        hint = f"Write 1 to {SERVERS_MAX} of '- url: https://manager.example:4320'"
        raise DefinitionError("servers", problem, hint)
    found = sorted(_read_server(item) for item in spec)
    urls = [server.url for server in found]
    for url in urls:
        if urls.count(url) > 1:
            raise DefinitionError("servers", f"servers: {show(url)} stands twice", "Keep one of them")
    return tuple(found)


def _read_server(item: object) -> Server:
    try:
        return _server(item)
    except DefinitionError as error:
        error.line = error.line or line_of(item)
        raise


def _server(item: object) -> Server:
    held = item if isinstance(item, Mapping) else {"url": item}
    url, priority = held.get("url"), held.get("priority", 1)
    if set(held) - {"url", "priority"} or not isinstance(url, str):
        problem = f"servers: {show(item)} names no server"
        raise DefinitionError(
            "servers", problem, "Write '- {url: https://manager.example:4320, priority: 1}'"
        )
    if type(priority) is not int or not 1 <= priority <= PRIORITY_MAX:
        problem = f"servers: priority {show(priority)} is not 1 to {PRIORITY_MAX}"
        raise DefinitionError("servers", problem, "1 is dialled first")
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or len(url) > URL_LENGTH or not _URL.fullmatch(url) or any(mark in url for mark in "?#@\\"):
        problem = f"servers: {show(url)} is no URL of a Manager"
        raise DefinitionError(
            "servers", problem, "Write https://, a host and a port: https://manager.example:4320"
        )
    return Server(priority, url.rstrip("/"))
