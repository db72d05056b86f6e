"""The Manager's records in memory, and the database behind them; a :class:`popham.upstream.book.Book`.

Rules:

1. Memory answers; the database decides.  A change is written before memory
   shows it, except last contacts, which are written in batches.
2. What an administrator changed is read back from the database, never patched
   into memory twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from popham.clock import Clock
from popham.errors import GrantError
from popham.manager.admissions import Admissions
from popham.manager.downtimes import note_downtime
from popham.manager.kept import decide, record_of
from popham.manager.key_names import KeyNames
from popham.manager.keys import ManagerKeys
from popham.manager.rejoining import SERVED, Forgotten, read_forgotten
from popham.manager.saving import Saving
from popham.manager.tokens import find_stock
from popham.manager.wanted import read_wanted
from popham.model.fleet import Admission
from popham.model.names import digest
from popham.model.registry import OWN, IdentityKind
from popham.model.status import Downtime
from popham.net.seam import Peer, Refusal, Refused
from popham.opamp.schema.popham.v1.popham_pb2 import Enroll, Renew
from popham.store.rows import AgentRow, Contact, Kept, TokenRow
from popham.store.seam import Reading, Store, Writing
from popham.upstream.book import Admitted, Identity
from popham.upstream.identifying import Certificates
from popham.upstream.record import Record, Wanted

_log = logging.getLogger(__name__)
_LINK_RATE = "link_rate"
PAGE = 4096
"""Agents read at once at the start."""
_TAKEN = Refusal(status=403, body="this uid belongs to another key (enrollment.uid_taken)")


class ManagerBook:
    """What the hub needs, kept in memory and made durable in the store.

    Attributes:
        link_rate: What was noted of the rate of new links before this start; None if nothing was.
        on_joined: Told the uid of an agent that joined, or was given a certificate; must not wait.
    """

    def __init__(
        self,
        store: Store,
        keys: ManagerKeys,
        clock: Clock,
        *,
        note_rate: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Keep what is needed; :meth:`load` reads it.  ``note_rate`` notes the rate of new links."""
        self._note_rate = note_rate
        self.link_rate: str | None = None
        self.on_joined: Callable[[str], None] = lambda _uid: None
        self._is_proxy: Callable[[str], bool] = lambda _uid: False
        self._names = KeyNames()
        self._store = store
        self._clock = clock
        self._ca = keys.ca
        self._records: dict[bytes, Record] = {}
        self._wanted: dict[str, Wanted] = {}
        self._tokens: dict[str, TokenRow] = {}
        self._certificates = Certificates(keys.ca.trust_domain, clock)
        self._bearers: dict[str, Identity] = {}
        self._keyring: object = None  # another one, each time that an agent has another key
        self._admissions = Admissions(store, keys, clock)
        self._saving = Saving(store, clock)
        self._forgotten = Forgotten()
        self.downtimes: Sequence[Downtime] = ()

    async def load(self) -> None:
        """Read everything, and count the time since this Manager was last alive as downtime.

        Reading does not wait for that write, which waits for the check of the database (REL-16).

        Raises:
            StateError: The database is damaged or cannot be used.
        """
        now = self._clock.now()
        noting = asyncio.ensure_future(self._store.write(lambda tx: note_downtime(tx, now)))
        try:
            self.link_rate = await self._store.read(lambda tx: tx.meta(_LINK_RATE))
            self._forgotten = await self._store.read(read_forgotten)
            await self._read_agents()
            await self.read_tokens()
            await self.refresh(None)
        finally:
            self.downtimes = await noting

    async def _read_agents(self) -> None:
        """Read all agents, page by page: what they said stays text until somebody needs it."""
        after = ""
        while True:
            rows = await self._store.read(partial(_page, after=after))
            for row in rows:
                record = record_of(row)
                self._records[record.key] = record
            if len(rows) < PAGE:
                return
            after = rows[-1].uid

    async def refresh(self, groups: Iterable[str] | None) -> None:
        """Read again what these groups (None: all) are to have."""
        names = None if groups is None else set(groups)
        fresh = await self._store.read(lambda tx: read_wanted(tx, names))
        for gone in (self._wanted.keys() if names is None else names) - fresh.keys():
            self._wanted.pop(gone, None)
        for name, found in fresh.items():
            # Of two readings at once the older may come last.
            if name not in self._wanted or self._wanted[name].version <= found.version:
                self._wanted[name] = found

    async def read_tokens(self) -> None:
        """Read again which tokens stock agents may show."""
        rows = await self._store.read(lambda tx: tx.tokens())
        self._tokens = {row.id: row for row in rows if row.kind == "stock"}
        self._bearers = {}

    async def reread(self, uids: Sequence[str]) -> dict[str, Record | None]:
        """Read agents again after an administrator changed them; None for one that is gone."""
        rows = await self._store.read(lambda tx: tx.agents_of(uids))
        return {uid: self._reread(uid, rows.get(uid)) for uid in uids}

    def _reread(self, uid: str, row: AgentRow | None) -> Record | None:
        if row is None:
            self._records.pop(uuid.UUID(uid).bytes, None)
            return None
        record = self.record(uid) or self._add(row)
        record.name, record.group = row.name, row.group
        self._decide(record, row)
        return record

    def _decide(self, record: Record, row: AgentRow) -> None:
        """Write into a record what others than the agent decide; its key may be another by now."""
        changed = record.public_key != row.public_key
        decide(record, row)
        if changed:
            self._keyring = object()
            self._names.add(record)

    # What the hub asks, answered from memory.

    def identify(self, peer: Peer) -> Identity:
        """Return who the peer is."""
        known: Identity | None = peer.identity
        # A certificate is looked at once per connection until some agent changes its key, a token once per
        # connection and table of tokens.
        if known is not None and self._clock.now() < known.until:
            if known.caller in OWN and known.edition is self._keyring:
                return known
            if known.caller is IdentityKind.STOCK and known.edition is self._tokens:
                return known
        if peer.certificate is not None:
            return self._identify_certificate(peer.certificate)
        if peer.uid:
            return self._identify_dialled(peer)
        if peer.bearer:
            return self._identify_bearer(peer)
        return Identity(caller=IdentityKind.NONE)

    def _identify_certificate(self, der: bytes) -> Identity:
        """Return whose certificate it is; reading one costs as much as a handshake's share of Python."""
        shown = replace(self._certificates.read(der), edition=self._keyring)
        if shown.caller is IdentityKind.PROXY:
            shown = replace(
                shown, caller=self._caller(shown.uid)
            )  # one that was a proxy once is an agent like others
        record = self.record(shown.uid)
        if record is None or not record.public_key:
            return shown
        if shown.since in self._forgotten and shown.public_key not in {record.public_key, record.former_key}:
            return replace(shown, caller=IdentityKind.NONE)
        return shown if _has(record, shown.public_key) else Identity(caller=IdentityKind.NONE)

    def _caller(self, uid: str) -> IdentityKind:
        """Return what an agent may do by what the Manager knows of it."""
        return IdentityKind.PROXY if self._is_proxy(uid) else IdentityKind.AGENT

    def watch_proxies(self, is_proxy: Callable[[str], bool]) -> None:
        """Ask this who is a Proxy Manager; say :meth:`proxies_changed` once it answers otherwise."""
        self._is_proxy, self._keyring = is_proxy, object()

    def proxies_changed(self) -> None:
        """Look anew at everybody who has a certificate, when they speak next."""
        self._keyring = object()

    def _identify_dialled(self, peer: Peer) -> Identity:
        """Return who answers where this Manager dialled: its key signs what comes, so nothing else is looked at.

        One whose certificate has ended, or that has a new key, may ask for a certificate, and for nothing else, as
        where it dials.
        """
        record = self.record(peer.uid)
        if record is None or not record.public_key:
            raise Refused(_TAKEN)
        current = _has(record, peer.key)
        if record.admission in {Admission.REFUSED, Admission.REVOKED}:
            raise Refused(Refusal(status=403, body=f"this agent was {record.admission} by an administrator"))
        until = record.certificate_until or math.inf
        if not current or until <= self._clock.now():
            return Identity(caller=IdentityKind.NONE)
        return Identity(
            caller=self._caller(record.uid),
            uid=record.uid,
            public_key=record.public_key,
            until=until,
            edition=self._keyring,
        )

    def _identify_bearer(self, peer: Peer) -> Identity:
        """Return whose token it is; one that serves from everywhere is looked up once per table of tokens."""
        now = self._clock.now()
        known = self._bearers.get(peer.bearer)
        if known is not None and now < known.until:
            return known
        try:
            row = find_stock(_Tokens(self._tokens), peer.bearer, now=now, address=peer.address)
        except GrantError as error:
            raise Refused(Refusal(status=401, body=str(error))) from error
        found = Identity(
            caller=IdentityKind.STOCK, token=row.id, group=row.group, until=row.expires, edition=self._tokens
        )
        if not row.cidr:
            self._bearers[peer.bearer] = found
        return found

    def record(self, uid: str) -> Record | None:
        """Return what is known of one agent."""
        try:
            return self._records.get(bytes.fromhex(uid.replace("-", "")))
        except ValueError:
            return None

    def find(self, key: bytes) -> Record | None:
        """Return what is known of one agent, by its instance_uid of 16 bytes."""
        return self._records.get(key)

    def records(self) -> Iterable[Record]:
        """Return all records."""
        return self._records.values()

    def name_of_key(self, keyid: str) -> str:
        """Return the name of the agent whose public key has this SHA-256; empty if there is none."""
        record = self._names.find(keyid, self._records.values())
        return record.name if record else ""

    def wanted(self, group: str) -> Wanted | None:
        """Return what a group's agents are to have."""
        return self._wanted.get(group)

    def content(self, sha256: str, group: str) -> bytes | None:
        """Return a body that the group's bundle names, or the bundle itself."""
        wanted = self._wanted.get(group)
        if wanted is None:
            return None
        body = wanted.blobs.get(sha256)
        return wanted.envelope if body is None and sha256 == digest(wanted.envelope) else body

    # What must be durable.

    async def meet(self, identity: Identity, key: bytes, peer: Peer) -> Record:
        """Return a durable record of an agent seen for the first time."""
        row = await self._admissions.meet(identity, str(uuid.UUID(bytes=key)), peer)
        return self._remember(row)

    @property
    def forgets(self) -> bool:
        """Whether agents may have other keys than are known here, which their certificates prove."""
        return self._forgotten.begin < self._forgotten.end

    async def rejoin(self, certificate: bytes, address: str) -> bool:
        """Believe an agent's other key by its certificate; False if that proves nothing."""
        row = await self._admissions.rejoin(certificate, address)
        if row is not None:
            self._remember(row)
        return row is not None

    def keep(self, record: Record, done: Callable[[BaseException | None], None]) -> None:
        """Make what an agent said durable; what administrators decide is left as it is."""
        self._saving.keep(record, done)

    async def contacts(self, records: list[Record]) -> None:
        """Make last contacts durable, that this Manager is alive, and how many links it could take."""
        now, rate = self._clock.now(), self._note_rate()
        batch = [
            Contact(r.uid, r.last_contact, r.address, r.promise, r.ear.sequence)
            for r in records
            if r.last_contact is not None
        ]

        def work(tx: Writing) -> None:
            tx.contacts(batch)
            tx.set_meta(SERVED, repr(now))
            if rate is not None:
                tx.set_meta(_LINK_RATE, rate)

        await self._store.write(work)

    async def enroll(self, peer: Peer, key: bytes, csr: bytes, request: Enroll) -> Admitted:
        """Admit, or not yet, or never."""
        uid = str(uuid.UUID(bytes=key))
        row, admitted = await self._admissions.enroll(uid, csr, request, peer.address, walled=bool(peer.key))
        self._remember(row)
        return admitted

    async def renew(self, peer: Peer, key: bytes, csr: bytes, request: Renew) -> Admitted:  # noqa: ARG002  # the seam's form
        """Give a new certificate for an old one."""
        row, admitted = await self._admissions.renew(str(uuid.UUID(bytes=key)), csr, request)
        self._remember(row)
        return admitted

    async def claim(self, record: Record, bundle: bytes) -> None:
        """Take note of a genuine bundle that is above ours."""
        if await self._admissions.claim(record.group, bundle):
            await self.refresh([record.group])

    def _remember(self, row: AgentRow) -> Record:
        record = self.record(row.uid)
        if record is None:
            record = self._add(row)
        else:
            self._decide(record, row)
        self.on_joined(row.uid)
        return record

    def _add(self, row: AgentRow) -> Record:
        record = record_of(row)
        self._records[record.key] = record
        self._names.add(record)
        return record


def _has(record: Record, key: bytes) -> bool:
    """Return whether a key is an agent's own; False if it is its former one, which serves for renewal only.

    Raises:
        Refused: It is neither.
    """
    if key == record.public_key:
        return True
    if key and key == record.former_key:
        return False
    raise Refused(_TAKEN)


class _Tokens:
    """The tokens in memory, in the form in which a transaction shows them."""

    def __init__(self, tokens: dict[str, TokenRow]) -> None:
        self._tokens = tokens

    def token(self, token: str) -> TokenRow | None:
        return self._tokens.get(token)


def _page(tx: Reading, *, after: str) -> list[Kept]:
    return tx.agents_kept(after=after, limit=PAGE)
