"""A proxy's records: agents and groups as it was told, kept in files; a :class:`popham.upstream.book.Book`.

Rules:

1. What was told holds until something else is, so agents are answered while nothing above answers.
2. Nobody is known here of whom nothing was told: who comes first is asked for above, and has to wait for it.
3. What agents say is kept in memory only: they say it again after a new start, and it goes up then.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final

from google.protobuf.message import DecodeError

from popham.clock import Clock
from popham.errors import LinkError, PophamError, WireError
from popham.model.fleet import Admission
from popham.model.names import DEFAULT_TENANT, digest
from popham.model.registry import IdentityKind
from popham.net.seam import Peer, Refusal, Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.admitting import Admitting
from popham.proxy.bearers import Bearers
from popham.proxy.cache import CacheView, ProxyCache
from popham.proxy.calls import Calls
from popham.proxy.groups import ProxyGroups
from popham.proxy.meeting import Meeting
from popham.proxy.told import check_told, known, record_of, write
from popham.trust.identity import load_certificate, read_identity
from popham.trust.tuf import TrustedTuf
from popham.upstream.book import Admitted, Identity, Reading
from popham.upstream.identifying import Certificates
from popham.upstream.record import Record, Wanted

_log = logging.getLogger(__name__)
_OWN: Final = {IdentityKind.AGENT, IdentityKind.PROXY}
_TAKEN: Final = Refusal(status=403, body="this uid belongs to another key (enrollment.uid_taken)")
_TOKENS: Final = "tokens"
KNOWN_MAX: Final = 100_000
"""Agents that are named after a boot; 30 bytes each, in one message."""
_CLAIM: Final = 600.0
"""Seconds that a bundle above the Manager's is shown to it."""


class ProxyBook:
    """What the hub of a proxy needs.

    Attributes:
        calls: What is asked above.
        meeting: Asks above for agents that are not known here.
        groups: What groups are to have.
        bearers: Tokens of stock agents.
        kept: What the files had of this proxy itself: kind → name → data.
        on_said: Told an agent that said something new. Must not wait.
        on_contact: Told an agent that was in contact. Must not wait.
        on_told: Told a record that was written, what was told, and whether it is new here. Must not wait.
        on_gone: Told the record of an agent that is not at this proxy any more. Must not wait.
    """

    def __init__(
        self,
        cache: ProxyCache,
        calls: Calls,
        clock: Clock,
        *,
        trust_domain: str,
        tuf: Callable[[], TrustedTuf],
        tenant: str = DEFAULT_TENANT,
        rng: random.Random | None = None,
    ) -> None:
        """Keep what is needed; :meth:`load` reads what was told before this start.

        Args:
            cache: Keeps what is told.
            calls: Asks above.
            clock: Judges certificates and tokens.
            trust_domain: Of the fleet.
            tuf: Returns the metadata that is trusted now.
            tenant: This proxy's.
            rng: Spreads the return of those who are sent away; None for the system's.
        """
        self._cache, self.calls, self._clock = cache, calls, clock
        self._certificates = Certificates(trust_domain, clock)
        self._records: dict[bytes, Record] = {}
        self._known: dict[bytes, bytes] = {}  # digest of what was told
        self._check_ins: dict[bytes, int] = {}
        self._tokens: dict[bytes, str] = {}
        self._showing: set[str] = set()
        self._names: dict[str, bytes] | None = None
        self._keyring: object = object()  # another one, each time that an agent has another key
        self._admitting = Admitting(calls, clock)
        self.meeting = Meeting(calls, clock, rng or random.SystemRandom())
        self._admitting.on_told = self._admitted
        self.groups = ProxyGroups(cache, tuf, tenant=tenant)
        self.groups.on_above = self._show
        self.bearers = Bearers(cache, calls, clock)
        self.on_said: Callable[[Record], None] = lambda _record: None
        self.on_contact: Callable[[Record], None] = lambda _record: None
        self.on_told: Callable[[Record, wire.AgentTold, bool], None] = lambda _record, _told, _new: None
        self.on_gone: Callable[[Record], None] = lambda _record: None
        self.kept: dict[str, dict[str, bytes]] = {}

    async def load(self) -> None:
        """Read what was told before this start. Raises OSError: the files cannot be used."""
        loaded = await self._cache.load()
        self._cache.on_lost = self.groups.lost
        self.groups.load(loaded, known)
        self.bearers.load(loaded)
        for name, data in loaded["agents"].items():
            try:
                told = wire.AgentTold.FromString(data)
                record = record_of(told)
            except (DecodeError, WireError) as error:
                _log.warning("what was kept of agent %s cannot be read: %s", name, error)
                self._cache.remove("agents", name)
                continue
            self._records[record.key] = record
            self._known[record.key] = known(record.key, data).digest
            self._note_check_ins(record.key, told)
            self.on_told(record, told, True)  # noqa: FBT003  # the callable's form
        with suppress(ValueError, AttributeError):
            said = json.loads(loaded["notes"].get(_TOKENS, b"{}"))
            self._tokens = {bytes.fromhex(key): str(token) for key, token in said.items()}
        self.kept = {kind: loaded[kind] for kind in ("places", "notes")}

    # What the hub asks, answered from memory.

    def identify(self, peer: Peer) -> Identity:
        """Return who the peer is."""
        shown: Identity | None = peer.identity
        if shown is not None and self._clock.now() < shown.until:
            if shown.caller in _OWN and shown.edition is self._keyring:
                return shown
            if shown.caller is IdentityKind.STOCK and shown.edition is self.bearers.edition:
                return shown
        if peer.certificate is not None:
            return self._identify_certificate(peer.certificate)
        if peer.uid:
            return self._identify_dialled(peer)
        if peer.bearer:
            return self.bearers.identify(peer.bearer, peer.address)
        return Identity(caller=IdentityKind.NONE)

    def _identify_certificate(self, der: bytes) -> Identity:
        shown = self._certificates.read(der)
        record = self.record(shown.uid)
        if record is None or not record.public_key or record.public_key == shown.public_key:
            return replace(shown, edition=self._keyring)
        if record.former_key and shown.public_key == record.former_key:
            return Identity(caller=IdentityKind.NONE)
        # It may have another key since this was told: above they know.
        return replace(shown, caller=IdentityKind.NONE)

    def _identify_dialled(self, peer: Peer) -> Identity:
        """Return who answers where this proxy dialled; it may only ask for a certificate if its key is not current."""
        record = self.record(peer.uid)
        if record is None or not record.public_key:
            raise Refused(_TAKEN)
        if record.admission in {Admission.REFUSED, Admission.REVOKED}:
            raise Refused(Refusal(status=403, body=f"this agent was {record.admission} by an administrator"))
        if peer.key not in {record.public_key, record.former_key}:
            raise Refused(_TAKEN)
        until = record.certificate_until or math.inf
        if peer.key != record.public_key or until <= self._clock.now():
            return Identity(caller=IdentityKind.NONE)
        return Identity(
            caller=IdentityKind.AGENT,
            uid=record.uid,
            public_key=record.public_key,
            until=until,
            edition=self._keyring,
        )

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
        if self._names is None:
            self._names = {
                digest(one.public_key): one.key for one in self._records.values() if one.public_key
            }
        record = self._records.get(self._names.get(keyid, b""))
        return record.name if record else ""

    def wanted(self, group: str) -> Wanted | None:
        """Return what a group's agents are to have."""
        return self.groups.wanted(group)

    def content(self, sha256: str, group: str) -> bytes | Reading | None:
        """Return a body that the group's bundle names, or the bundle itself (SEC-12); or what reads it."""
        if self.groups.comes(sha256, group):
            return self._cache.at_hand(sha256) or partial(self._cache.read_body, sha256)
        wanted = self.groups.wanted(group)
        return wanted.envelope if wanted is not None and sha256 == digest(wanted.envelope) else None

    async def fetch(self, sha256: str) -> int:
        """Have a body in memory, since it is about to be asked for; return its bytes, 0 if it is not here."""
        return len(await self._cache.read_body(sha256) or b"")

    def note_token(self, key: bytes, token: str) -> None:
        """Take note of the id of the token that let a stock agent in, here or below."""
        if self._tokens.get(key) != token:
            self._tokens[key] = token
            tokens = {one.hex(): token for one, token in self._tokens.items()}
            self.keep_note(_TOKENS, json.dumps(tokens).encode())

    def token_of(self, key: bytes) -> str:
        """Return the id of the token that let a stock agent in; empty if that is not known."""
        return self._tokens.get(key, "")

    # What only those above can say.

    async def meet(self, identity: Identity, key: bytes, peer: Peer) -> Record:
        """Return the record of an agent seen for the first time here, or with another key, once it was told.

        Raises:
            Refused: It may not be at this proxy, its key is not believed, or nothing above answers.
        """
        told = await self.meeting.ask(key, peer.certificate or b"", peer.bearer, peer.address)
        if told.gone or told.key != key:
            raise Refused(_TAKEN)
        record = self._accept(told)
        if identity.caller is IdentityKind.STOCK:
            self.note_token(key, identity.token)
        elif record.public_key != identity.public_key:
            raise Refused(_TAKEN)
        elif record.uid == identity.uid:
            # Both stay, so each of these texts need be there once only.
            record.uid, record.public_key = identity.uid, identity.public_key
        self.on_said(record)
        return record

    @property
    def forgets(self) -> bool:
        """Whether agents may have other keys than are known here: those above may have renewed one."""
        return True

    async def rejoin(self, certificate: bytes, address: str) -> bool:
        """Believe an agent's other key by its certificate (PEM), if those above do."""
        try:
            found = load_certificate(certificate)
            identity = read_identity(found)
            key = bytes.fromhex(identity.uid.replace("-", ""))
            told = await self.meeting.ask(key, certificate, "", address)
            return not told.gone and self._accept(told).public_key == identity.public_der
        except (PophamError, Refused) as error:
            _log.info("the key of an agent at %s is not believed: %s", address, error)
            return False

    def keep(self, record: Record, done: Callable[[BaseException | None], None]) -> None:
        """Have what an agent said go up; it need not be durable here, as the agent says it again."""
        self.on_said(record)
        done(None)

    async def contacts(self, records: list[Record]) -> None:
        """Keep nothing: when agents were heard of goes up as presence, of all that were said once."""
        for record in records:
            self.on_contact(record)

    async def enroll(self, peer: Peer, key: bytes, csr: bytes, request: wire.Enroll) -> Admitted:
        """Have those above admit an agent, or not yet, or never."""
        body, walled = request.SerializeToString(), bool(peer.key)
        return await self._admitting.admit("enroll", key, csr, body, address=peer.address, walled=walled)

    async def renew(self, peer: Peer, key: bytes, csr: bytes, request: wire.Renew) -> Admitted:
        """Have those above give a new certificate for an old one."""
        body, walled = request.SerializeToString(), bool(peer.key)
        return await self._admitting.admit("renew", key, csr, body, address=peer.address, walled=walled)

    async def claim(self, record: Record, bundle: bytes) -> None:
        """Show those above a bundle that is above ours, once; what comes of it is told."""

        def done(said: bytes | Exception) -> None:
            if isinstance(said, LinkError):
                record.claimed = 0  # nobody looked at it
            _unheard(said)

        # Until that is answered, perhaps at the next visit, its agent need not show it again.
        record.claimed = record.state.version if record.state is not None else 0
        self.calls.post("claim", record.key, bundle, done, address=record.address, seconds=_CLAIM)

    # What is told.

    def view(self) -> CacheView:
        """Return how the files are."""
        return self._cache.view()

    def keep_note(self, name: str, data: bytes) -> None:
        """Keep something that was told of this proxy itself."""
        self._cache.put("notes", name, data)

    def tell(self, told: wire.AgentTold) -> bool:
        """Take what was told of an agent; return whether it asks for a check-in.

        Raises:
            WireError: ``wire.relay``: it is malformed.
        """
        check_told(told)
        if told.gone:
            self.forget(told.key)
            return False
        was_known, before = told.key in self._records, self._check_ins.get(told.key, 0)
        self._accept(told)
        return was_known and told.check_ins > before

    def forget(self, key: bytes) -> None:
        """Forget an agent, which is not at this proxy any more."""
        record = self._records.pop(key, None)
        for kept in (self._known, self._check_ins, self._tokens):
            kept.pop(key, None)
        self._cache.remove("agents", key.hex())
        if record is not None:
            self._names = None
            self.on_gone(record)

    def known(self) -> Iterator[wire.Known]:
        """Yield the agents that are known, as they are named after a boot; of very many some are told again."""
        for key, found in islice(self._known.items(), KNOWN_MAX):
            yield wire.Known(key=key, digest=found)

    def _admitted(self, told: wire.AgentTold) -> None:
        if not told.gone:
            self._accept(told)

    def _accept(self, told: wire.AgentTold) -> Record:
        """Write what was told of an agent, and keep it; return its record."""
        check_told(told)
        record = self._records.get(told.key)
        new = record is None
        if record is None:
            record = record_of(told)
            self._records[record.key] = record
            self._names = None
        elif write(record, told):
            self._keyring, self._names = object(), None
        key, data = record.key, told.SerializeToString()
        fresh = known(key, data).digest
        if new or self._known[key] != fresh:
            self._cache.put("agents", key.hex(), data)
            self._known[key] = fresh
        self._note_check_ins(key, told)
        self.on_told(record, told, new)
        return record

    def _note_check_ins(self, key: bytes, told: wire.AgentTold) -> None:
        """Keep how often an agent was asked for a round; of most that is never."""
        if told.check_ins:
            self._check_ins[key] = told.check_ins
        else:
            self._check_ins.pop(key, None)

    def _show(self, group: str, envelope: bytes) -> None:
        """Show those above a bundle that was believed here and is newer than theirs: they were restored."""
        record = next((one for one in self._records.values() if one.group == group), None)
        if record is None or group in self._showing:
            return
        self._showing.add(group)

        def done(said: bytes | Exception) -> None:
            self._showing.discard(group)
            _unheard(said)

        self.calls.post("claim", record.key, envelope, done, seconds=_CLAIM)

    def show(self, record: Record) -> None:
        """Show those above the bundle of an agent's group, as they want it, if it is not the agent's that is newer."""
        wanted, state = self.groups.wanted(record.group), record.state
        if wanted is not None and (state is None or state.version <= wanted.version):
            self._show(record.group, wanted.envelope)


def _unheard(said: bytes | Exception) -> None:
    if isinstance(said, Exception):
        _log.info("a bundle that was shown to the Manager was not taken: %s", said)
