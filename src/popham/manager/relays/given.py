"""Whom a Proxy Manager may speak for: what was given to it, and nobody else (SEC-30)."""

from __future__ import annotations

import uuid

from popham.errors import GrantError, WireError
from popham.manager.proxies.directory import ProxyDirectory
from popham.upstream.book import Book
from popham.upstream.record import Record

_KEY = 16


def find_given(book: Book, directory: ProxyDirectory, proxy: Record, key: bytes) -> Record | None:
    """Return an agent that a proxy may speak for; None if nobody has this uid. Raises GrantError ``grant.proxy``."""
    record = book.find(key) if len(key) == _KEY else None
    if record is not None:
        require_given(directory, proxy, record)
    return record


def require_given(directory: ProxyDirectory, proxy: Record, record: Record) -> None:
    """Return if an agent was given to a proxy. Raises GrantError ``grant.proxy``."""
    scope = directory.scope_of(proxy.uid)
    if scope is None or record.uid == proxy.uid or not scope.has(record):
        name = directory.name_of(proxy.uid) or proxy.name
        whose = f"agent {record.name} is in the group {record.group}, which was not given to the proxy {name}"
        if record.uid == proxy.uid:
            whose = f"the proxy {name} speaks for itself only by its own voice"
        raise GrantError("proxy", whose, "Name the group, or the agent, in the definition of the proxy")


def require_group(directory: ProxyDirectory, proxy: Record, group: str) -> None:
    """Return if a group was given to a proxy. Raises GrantError ``grant.proxy``."""
    scope = directory.scope_of(proxy.uid)
    if scope is None or group not in scope.groups:
        problem = f"the group {group} was not given to the proxy {directory.name_of(proxy.uid) or proxy.name}"
        raise GrantError("proxy", problem, "Name the group in the definition of the proxy")


def uid_of(key: bytes) -> str:
    """Return an instance_uid of 16 bytes as text. Raises WireError ``wire.instance_uid``."""
    if len(key) != _KEY:
        raise WireError("instance_uid", f"instance_uid has {len(key)} bytes, and needs {_KEY}")
    return str(uuid.UUID(bytes=key))
