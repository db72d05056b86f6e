"""The Manager's records in memory, and the database behind them; a :class:`popham.upstream.book.Book`.

Rules:

1. Memory answers; the database decides.  A change is written before memory
   shows it, except last contacts, which are written in batches.
2. What an administrator changed is read back from the database, never patched
   into memory twice.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from popham.clock import Clock
from popham.errors import GrantError, PophamError, StateError
from popham.manager.admissions import Admissions
from popham.manager.bundles import open_row
from popham.manager.keys import ManagerKeys
from popham.manager.naming import name_stock
from popham.manager.stock import stock_config
from popham.manager.tokens import find_stock
from popham.model.bundle import Bundle
from popham.model.fleet import Admission, AgentKind
from popham.model.names import digest
from popham.model.policy import Policy
from popham.model.registry import IdentityKind
from popham.model.status import STATE_TYPE, Downtime, StateRecord
from popham.net.seam import Peer, Refusal, Refused
from popham.opamp.schema.popham.v1.popham_pb2 import Enroll, Renew
from popham.opamp.session import Ear
from popham.opamp.wire import SESSION
from popham.store.rows import AgentRow, BundleRow, Contact, TokenRow
from popham.store.seam import Reading, Store, Writing
from popham.trust.dsse import Envelope
from popham.trust.identity import identity_of
from popham.upstream.book import Admitted, Identity
from popham.upstream.record import Record, RemoteStatus, Wanted

_log = logging.getLogger(__name__)
_ALIVE, _DOWNTIMES = "alive_at", "downtimes"
_KEPT_DOWNTIMES = 100
_STATUS = ("UNSET", "APPLIED", "APPLYING", "FAILED")
"""OpAMP's RemoteConfigStatuses, by number."""


class ManagerBook:
    """What the hub needs, kept in memory and made durable in the store."""

    def __init__(self, store: Store, keys: ManagerKeys, clock: Clock) -> None:
        """Keep what is needed; :meth:`load` reads it."""
        self._store = store
        self._clock = clock
        self._ca = keys.ca
        self._records: dict[str, Record] = {}
        self._wanted: dict[str, Wanted] = {}
        self._tokens: dict[str, TokenRow] = {}
        self._admissions = Admissions(store, keys, clock)
        self.downtimes: Sequence[Downtime] = ()

    async def load(self) -> None:
        """Read everything, and count the time since this Manager was last alive as downtime."""
        now = self._clock.now()
        self.downtimes = await self._store.write(lambda tx: _note_downtime(tx, now))
        for row in await self._store.read(lambda tx: tx.agents()):
            self._records[row.uid] = _record_of(row)
        await self.read_tokens()
        await self.refresh(None)

    async def refresh(self, groups: Iterable[str] | None) -> None:
        """Read again what these groups (None: all) are to have."""
        names = None if groups is None else set(groups)
        fresh = await self._store.read(lambda tx: _read_wanted(tx, names))
        for gone in (self._wanted.keys() if names is None else names) - fresh.keys():
            self._wanted.pop(gone, None)
        self._wanted.update(fresh)

    async def read_tokens(self) -> None:
        """Read again which tokens stock agents may show."""
        rows = await self._store.read(lambda tx: tx.tokens())
        self._tokens = {row.id: row for row in rows if row.kind == "stock"}

    async def reread(self, uid: str) -> Record | None:
        """Read one agent again after an administrator changed it; None if it is gone."""
        row = await self._store.read(lambda tx: tx.agent(uid))
        if row is None:
            self._records.pop(uid, None)
            return None
        record = self._records.get(uid)
        if record is None:
            record = self._records[uid] = _record_of(row)
        record.name, record.group = row.name, row.group
        record.admission = Admission(row.admission)
        record.assignment, record.assignment_seq = row.assignment, row.assignment_seq
        return record

    # What the hub asks, answered from memory.

    def identify(self, peer: Peer) -> Identity:
        """Return who the peer is."""
        known: Identity | None = peer.identity
        # A certificate is parsed once per connection; a token may be revoked between two messages.
        if known is not None and known.caller is IdentityKind.AGENT and self._clock.now() < known.until:
            return known
        if peer.certificate is not None:
            return self._identify_certificate(peer.certificate)
        if peer.bearer:
            return self._identify_bearer(peer)
        return Identity(caller=IdentityKind.NONE)

    def _identify_certificate(self, der: bytes) -> Identity:
        try:
            found = identity_of(der)
        except PophamError as error:
            raise Refused(Refusal(status=401, body=str(error))) from error
        if found.trust_domain != self._ca.trust_domain:
            raise Refused(Refusal(status=401, body="the certificate is of another fleet (trust.identity)"))
        if found.not_after <= self._clock.now():
            raise Refused(Refusal(status=401, body="the certificate has expired (trust.expired)"))
        if found.trust_domain != self._ca.trust_domain:
            raise Refused(Refusal(status=401, body="the certificate is of another fleet (trust.issuer)"))
        record = self._records.get(found.uid)
        if record is not None and record.public_key and record.public_key != found.public_der:
            raise Refused(Refusal(status=403, body="this uid belongs to another key (enrollment.uid_taken)"))
        return Identity(
            caller=IdentityKind.AGENT, uid=found.uid, public_key=found.public_der, until=found.not_after
        )

    def _identify_bearer(self, peer: Peer) -> Identity:
        try:
            row = find_stock(_Tokens(self._tokens), peer.bearer, now=self._clock.now(), address=peer.address)
        except GrantError as error:
            raise Refused(Refusal(status=401, body=str(error))) from error
        return Identity(caller=IdentityKind.STOCK, token=row.id, group=row.group)

    def record(self, uid: str) -> Record | None:
        """Return what is known of one agent."""
        return self._records.get(uid)

    def records(self) -> Iterable[Record]:
        """Return all records."""
        return self._records.values()

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

    async def save(self, record: Record) -> None:
        """Make what an agent said durable; what administrators decide is left as it is."""
        said, description, now = _say(record), record.description, self._clock.now()
        name = await self._store.write(lambda tx: _save(tx, record.uid, said, description, now))
        record.name = name or record.name

    async def contacts(self, records: list[Record]) -> None:
        """Make last contacts durable, and that this Manager is alive."""
        now = self._clock.now()
        batch = [
            Contact(r.uid, r.last_contact, r.address, r.promise, r.ear.sequence)
            for r in records
            if r.last_contact is not None
        ]

        def work(tx: Writing) -> None:
            tx.contacts(batch)
            tx.set_meta(_ALIVE, repr(now))

        await self._store.write(work)

    async def enroll(self, peer: Peer, key: bytes, csr: bytes, request: Enroll) -> Admitted:
        """Admit, or not yet, or never."""
        uid = str(uuid.UUID(bytes=key))
        row, admitted = await self._admissions.enroll(uid, csr, request, peer.address)
        self._remember(row)
        return admitted

    async def renew(self, peer: Peer, key: bytes, csr: bytes, request: Renew) -> Admitted:  # noqa: ARG002  # the seam's form
        """Give a new certificate for an old one."""
        return await self._admissions.renew(str(uuid.UUID(bytes=key)), csr, request)

    async def claim(self, record: Record, bundle: bytes) -> None:
        """Take note of a genuine bundle that is above ours."""
        if await self._admissions.claim(record.group, bundle):
            await self.refresh([record.group])

    def _remember(self, row: AgentRow) -> Record:
        record = self._records.get(row.uid)
        if record is None:
            record = self._records[row.uid] = _record_of(row)
        else:
            record.admission = Admission(row.admission)
            record.assignment, record.assignment_seq = row.assignment, row.assignment_seq
            record.public_key = row.public_key
        return record


class _Tokens:
    """The tokens in memory, in the form in which a transaction shows them."""

    def __init__(self, tokens: dict[str, TokenRow]) -> None:
        self._tokens = tokens

    def token(self, token: str) -> TokenRow | None:
        return self._tokens.get(token)


def _record_of(row: AgentRow) -> Record:
    kind = AgentKind(row.kind)
    state = None
    if row.state:
        state = StateRecord.from_payload(Envelope.parse(row.state, types=(STATE_TYPE,)).payload)
    remote = json.loads(row.remote)
    description = json.loads(row.description)
    ear = Ear(sequence=row.sequence, capabilities=row.capabilities, described=bool(description))
    if kind is not AgentKind.UNKNOWN:
        ear.custom = frozenset({SESSION} if kind is AgentKind.OWN else ())
    return Record(
        uid=row.uid,
        key=uuid.UUID(row.uid).bytes,
        name=row.name,
        group=row.group,
        kind=kind,
        admission=Admission(row.admission),
        public_key=row.public_key,
        assignment=row.assignment,
        assignment_seq=row.assignment_seq,
        ear=ear,
        state=state,
        envelope=row.state,
        description=description,
        remote=RemoteStatus(bytes.fromhex(remote["hash"]), _STATUS.index(remote["status"]), remote["error"])
        if remote
        else RemoteStatus(),
        last_contact=row.last_contact,
        promise=row.promise,
        address=row.address,
    )


def _say(record: Record) -> dict[str, Any]:
    """Return the columns that the agent itself decides, as they are now: the write happens later."""
    status = _STATUS[record.remote.status] if record.remote.status < len(_STATUS) else _STATUS[0]
    remote = {"hash": record.remote.digest.hex(), "status": status, "error": record.remote.error}
    return {
        "kind": str(record.kind),
        "capabilities": record.ear.capabilities,
        "description": json.dumps(dict(record.description), sort_keys=True),
        "state": record.envelope,
        "state_revision": record.state.revision if record.state else 0,
        "remote": json.dumps(remote) if record.remote != RemoteStatus() else "{}",
        "last_contact": record.last_contact,
        "promise": record.promise,
        "address": record.address,
        "sequence": record.ear.sequence,
    }


def _save(tx: Writing, uid: str, said: Mapping[str, Any], description: Mapping[str, str], now: float) -> str:
    """Write what an agent said and return its name; empty if it is gone."""
    row = tx.agent(uid)
    if row is None:
        return ""
    row = name_stock(tx, replace(row, **said), description, now=now)
    tx.put_agent(row)
    return row.name


def _open_kept(row: BundleRow) -> Bundle:
    """Return the bundle of a row; a row that somebody altered is named."""
    try:
        return open_row(row)
    except PophamError as error:
        problem = f"the database's bundle {row.version} of group {row.group!r} is damaged: {error.problem}"
        raise StateError("damaged", problem, "Restore a backup: popham restore") from error


def _read_wanted(tx: Reading, names: set[str] | None) -> dict[str, Wanted]:
    found = {}
    rows = tx.bundles() if names is None else [tx.bundle(name) for name in sorted(names)]
    for row in rows:
        if row is None:
            continue
        bundle = _open_kept(row)
        held = bundle.locations[bundle.default_location]
        blobs = {sha256: tx.encoded(sha256) or b"" for sha256 in bundle.blobs()}
        policies = [
            Policy(
                name=ref.name,
                type=ref.type,
                body=json.loads(blobs[ref.sha256])["body"],
                revision=ref.revision,
            )
            for ref in held.policies
        ]
        objects, objects_digest = stock_config(policies)
        found[row.group] = Wanted(
            group=row.group,
            serial=row.serial,
            version=row.version,
            content_digest=row.content_digest,
            envelope=row.envelope,
            blobs=blobs,
            objects=objects,
            objects_digest=objects_digest,
            communication=held.communication,
        )
    return found


def _note_downtime(tx: Writing, now: float) -> tuple[Downtime, ...]:
    known = [Downtime(*pair) for pair in json.loads(tx.meta(_DOWNTIMES) or "[]")]
    alive = tx.meta(_ALIVE)
    if alive is not None and float(alive) < now:
        known = [*known, Downtime(float(alive), now)][-_KEPT_DOWNTIMES:]
        tx.set_meta(_DOWNTIMES, json.dumps([[down.begin, down.end] for down in known]))
    tx.set_meta(_ALIVE, repr(now))
    return tuple(known)
