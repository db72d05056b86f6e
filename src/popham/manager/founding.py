"""``popham init``: a Manager's state directory, its keys, its first bundle and its first token."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from popham.clock import Clock
from popham.errors import ConfigError, StateError
from popham.manager.bundles import Bundles
from popham.manager.definitions import found_fleet
from popham.manager.grant import put_grant
from popham.manager.keys import ManagerKeys, create_keys
from popham.manager.settings import FILE
from popham.statedir import StateDir
from popham.store.seam import Reading, Store, Writing

KIND: Final = "manager"
DATABASE = "popham.db"
FIRST_LIFETIME = 365 * 86400.0
"""Seconds that the first admin's token lives. Source: guarantees 4, at most a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What is asked for.

    Attributes:
        state: The new state directory.
        names: DNS names and addresses of the listeners' certificate.
        urls: Where agents reach the Manager, best first.
        agents, people: Where it listens.
        trust_domain: First part of the names in certificates.
        database: URL of a PostgreSQL database, to be written down for the Manager; empty for none.
        authority: Key and certificate (PEM) of an intermediate to import; None makes a root.
        admin: Name of the first administrator.
    """

    state: Path
    names: Sequence[str]
    urls: Sequence[str]
    agents: str
    people: str
    trust_domain: str = "popham"
    database: str = ""
    authority: tuple[bytes, bytes] | None = None
    admin: str = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """What was made. ``token`` is shown this once."""

    keys: ManagerKeys
    token: str


async def found(asked: Founding, *, clock: Clock, open_store: Callable[[Path], Store]) -> Founded:
    """Make a state directory.

    Raises:
        StateError: There is one already, or it cannot be written; ``state.founded``.
        ConfigError: A name or URL cannot be used.
    """
    if not asked.urls or not asked.names:
        raise ConfigError("names", "a Manager needs a name that agents reach it by", "Use --name HOST")
    with StateDir.open(asked.state, KIND, create=True) as state:
        # The database first: where it cannot be used, the same command may be given again.
        store = await asyncio.to_thread(open_store, state.root / DATABASE)
        try:
            await store.read(_check_empty)
            keys = _make_keys(asked, state, clock)
            token = await store.write(lambda tx: _begin(tx, keys, asked.admin, clock.now()))
        finally:
            await store.aclose()
        state.write(FILE, _describe(asked).encode())
        return Founded(keys=keys, token=token)


def _make_keys(asked: Founding, state: StateDir, clock: Clock) -> ManagerKeys:
    (state.root / "keys").mkdir(mode=0o700)
    keys = create_keys(
        state.root / "keys",
        urls=tuple(asked.urls),
        trust_domain=asked.trust_domain,
        clock=clock,
        authority=asked.authority,
    )
    certificate, key = keys.ca.issue_listener(list(asked.names))
    state.write("tls/listener.pem", certificate)
    state.write("tls/listener.key", key)
    return keys


def _check_empty(tx: Reading) -> None:
    if tx.groups():
        problem = "The database holds a fleet already"
        raise StateError("founded", problem, "Name an empty database, or restore the keys of that fleet")


def _begin(tx: Writing, keys: ManagerKeys, admin: str, now: float) -> str:
    _check_empty(tx)
    found_fleet(tx, Bundles(keys.director), now=now)
    _, token = put_grant(
        tx, name=admin, role="admin", lifetime=FIRST_LIFETIME, now=now, draw=secrets.token_bytes
    )
    return token


def _describe(asked: Founding) -> str:
    urls = ", ".join(f'"{url}"' for url in asked.urls)
    return (
        "# Made by popham init; /etc/popham/manager.toml is read instead where it exists.\n"
        f'state = "{asked.state.absolute()}"\n'
        f"{_describe_database(asked.database)}"
        f"urls = [{urls}]\n\n[listen]\n"
        f'agents = "{asked.agents}"\npeople = "{asked.people}"\n'
    )


def _describe_database(url: str) -> str:
    # A string of JSON is one of TOML.
    return f"database = {json.dumps(url, ensure_ascii=False)}\n" if url else ""
