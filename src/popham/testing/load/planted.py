"""Puts agents into a Manager's database directly, for measurements that are not about enrollment.

The Manager must not be running.  All agents share one key, which costs it the same.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uuid_utils import uuid7

from popham.clock import Clock
from popham.manager.bundles import open_row
from popham.manager.founding import DATABASE
from popham.manager.grant import Grant, Role
from popham.manager.keys import ManagerKeys, load_keys
from popham.manager.proxies.definitions import proxy_row
from popham.manager.tokens import create_token
from popham.model.bundle import Bundle
from popham.model.proxy_definition import ProxyDefinition
from popham.opamp.wire import OWN_AGENT
from popham.store.rows import AgentRow, TokenRow
from popham.store.seam import Reading, Writing
from popham.store.sqlite import SqliteStore
from popham.testing.load.identity import LoadIdentity
from popham.testing.load.messages import STOCK_AGENT, described, holding, name_of, seal_next
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import seal
from popham.trust.identity import AGENT, PROXY, make_csr
from popham.trust.keys import IdentityKey

_BATCH = 2000
_PLANTER = Grant(actor="bench", role=Role.ADMIN, source="local")
_YEAR = 365 * 86400.0


async def plant(
    state: Path,
    clock: Clock,
    *,
    own: int = 0,
    stock: int = 0,
    group: str = "fleet",
    certified: int | None = None,
) -> list[LoadIdentity]:
    """Write agents that are accepted and have their group's bundle, and return who they are.

    Args:
        state: State directory of a Manager that is not running.
        clock: Wall time.
        own: Agents of ours.
        stock: Stock agents, all by one token.
        group: Group of all of them.
        certified: How many of ours get a certificate, which takes time; None for all.
    """
    store = SqliteStore.open(state / DATABASE, clock=clock)
    try:
        keys = load_keys(state / "keys", urls=(), clock=clock)
        bundle = await store.read(lambda tx: _bundle(tx, group))
        found = _Planter(keys, clock, bundle, group)
        identities = [found.make_own(certified=certified is None or n < certified) for n in range(own)]
        if stock:
            token = await store.write(lambda tx: _token(tx, keys, group, clock.now()))
            identities += [LoadIdentity(uid=new_uid(), bearer=token, group=group) for _ in range(stock)]
        for first in range(0, len(identities), _BATCH):
            part = [found.row(identity) for identity in identities[first : first + _BATCH]]
            await store.write(lambda tx, rows=part: _put(tx, rows))  # type: ignore[misc]  # bound now, not later
    finally:
        await store.aclose()
    return identities


async def plant_proxies(
    state: Path, clock: Clock, names: Sequence[str], *, given: str, group: str = "fleet"
) -> list[LoadIdentity]:
    """Write Proxy Managers that are accepted, and return who they are.

    Args:
        state: State directory of a Manager that is not running.
        clock: Wall time.
        names: Of their definitions.
        given: The group that each of them may speak for, and those below it.
        group: Their own.
    """
    store = SqliteStore.open(state / DATABASE, clock=clock)
    try:
        keys = load_keys(state / "keys", urls=(), clock=clock)
        bundle = await store.read(lambda tx: _bundle(tx, group))
        found = _Planter(keys, clock, bundle, group)
        made = [found.make_own(certified=True, role=PROXY) for _ in names]
        for name, identity in zip(names, made, strict=True):
            row = replace(found.row(identity), name=name, token=f"bench-{name}")
            await store.write(lambda tx, row=row: _bind(tx, row, given))  # type: ignore[misc]  # bound now, not later
    finally:
        await store.aclose()
    return made


def _bind(tx: Writing, row: AgentRow, given: str) -> None:
    """Have an agent be the proxy of a definition with its name."""
    now, end = row.first_seen, row.first_seen + _YEAR
    tx.put_token(
        TokenRow(
            id=row.token,
            kind="proxy",
            group=row.group,
            public=b"",
            created=now,
            expires=end,
            uses_left=0,
            uses=1,
            proxy=row.name,
        )
    )
    tx.put_agent(row)
    definition = ProxyDefinition(name=row.name, groups=(given,))
    tx.put_proxy(proxy_row(definition, {}, uid=row.uid, edition=1, now=now))


def new_uid() -> str:
    """Return an instance_uid."""
    return str(uuid.UUID(bytes=uuid7().bytes))


def _bundle(tx: Reading, group: str) -> Bundle:
    row = tx.bundle(group)
    if row is None:
        raise LookupError(f"group {group} has no bundle")
    return open_row(row)


def _token(tx: Writing, keys: ManagerKeys, group: str, now: float) -> str:
    made = create_token(
        tx,
        _PLANTER,
        keys,
        kind="stock",
        group=group,
        uses=None,
        lifetime=None,
        accepts=True,
        cidr="",
        now=now,
        draw=secrets.token_bytes,
    )
    return made.secret


def _put(tx: Writing, rows: Sequence[AgentRow]) -> None:
    for row in rows:
        tx.put_agent(row)


class _Planter:
    def __init__(self, keys: ManagerKeys, clock: Clock, bundle: Bundle, group: str) -> None:
        self._keys = keys
        self._now = clock.now()
        self._held = holding(bundle)
        self._group = group
        self._key = IdentityKey.create()
        self._pem = self._key.pem.decode()

    def make_own(self, *, certified: bool, role: str = AGENT) -> LoadIdentity:
        uid = new_uid()
        identity = LoadIdentity(
            uid=uid, key=self._pem, group=self._group, assignment=int(self._now * 1000), certificate="none"
        )
        if certified:
            issued = self._keys.ca.issue_agent(make_csr(self._key, uid), uid, _YEAR, role=role)
            identity.certificate = issued.decode()
        identity.state = seal_next(identity, self._held)
        return identity

    def row(self, identity: LoadIdentity) -> AgentRow:
        uid, group = identity.uid, identity.group
        base = {
            "uid": uid,
            "name": name_of(uid),
            "group": group,
            "admission": "accepted",
            "first_seen": self._now,
            "last_contact": self._now,
            "promise": 300.0,
        }
        if not identity.own:
            said = json.dumps(described(uid, "otelcol"), sort_keys=True)
            return AgentRow(kind="stock", capabilities=int(STOCK_AGENT), description=said, **base)  # type: ignore[arg-type]  # as named
        public = self._key.public
        assignment = Assignment(
            tenant="default",
            uid=uid,
            spki_sha256=public.keyid,
            group=group,
            seq=identity.assignment,
            issued=int(self._now),
        )
        return AgentRow(
            kind="own",
            spki=public.keyid,
            public_key=public.der,
            certificate_until=self._now + _YEAR,
            assignment=seal(ASSIGNMENT_TYPE, assignment.payload(), self._keys.director),
            assignment_seq=identity.assignment,
            capabilities=int(OWN_AGENT),
            description=json.dumps(described(uid, "popham-agent"), sort_keys=True),
            state=identity.state,
            state_revision=identity.revision,
            **base,  # type: ignore[arg-type]  # as named
        )
