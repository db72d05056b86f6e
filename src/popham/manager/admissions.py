"""Enrollment, renewal and first contacts, each decided in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from popham.clock import Clock
from popham.errors import EnrollmentError, TrustError
from popham.manager.agents import assign, join_agent, unique_name
from popham.manager.audit import note
from popham.manager.bundles import Bundles
from popham.manager.dialing import visit_born
from popham.manager.grant import Grant, Role
from popham.manager.keys import ManagerKeys
from popham.manager.moves import place_agent
from popham.manager.naming import provisional_name
from popham.manager.proxies.binding import join_as_proxy, proxy_it_is
from popham.manager.rejoining import rejoin
from popham.manager.tokens import JOINING, use_stock, use_token
from popham.model.communication import Dialer
from popham.model.fleet import Admission, AgentKind
from popham.model.generation import GENERATION, check_generations
from popham.model.names import DEFAULT_TENANT, ROOT_GROUP
from popham.model.registry import IdentityKind
from popham.net.seam import Peer, Refusal, Refused
from popham.opamp.schema.popham.v1.popham_pb2 import Enroll, Renew
from popham.store.rows import AgentRow
from popham.store.seam import Store, Writing
from popham.trust.ca import AGENT_LIFETIME
from popham.trust.identity import AGENT, PROXY, Csr, check_csr, load_certificate, read_identity
from popham.trust.identity import Identity as Shown
from popham.trust.join import verify_enrollment
from popham.trust.keys import PublicKey
from popham.trust.renewal import verify_issued, verify_renewal
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import open_bundle
from popham.upstream.book import Admitted, Identity

_LABELS, _LABEL = 32, 128
"""Labels of one agent, and characters of each."""
WAIT = 15.0
"""Seconds after which a new agent asks again whether it was accepted."""
HEARTBEATS = 6
"""Heartbeats that a certificate lives at least. Source: design 7."""
_TEXT = {
    Admission.NEW: "waiting to be accepted by an administrator: popham accept agent {name}",
    Admission.REFUSED: "an administrator refused this agent",
    Admission.REVOKED: "an administrator revoked this agent",
}


class Admissions:
    """Decides who joins and gives certificates."""

    def __init__(self, store: Store, keys: ManagerKeys, clock: Clock) -> None:
        """Keep what is needed."""
        self._store = store
        self._keys = keys
        self._clock = clock
        self._bundles = Bundles(keys.director)
        self._tuf = TrustedTuf.from_bytes(keys.root, keys.targets)

    async def enroll(
        self, uid: str, csr: bytes, request: Enroll, address: str, *, walled: bool = False
    ) -> tuple[AgentRow, Admitted]:
        """Let an agent join by a token; asking again with the same key costs nothing.

        One that is ``walled`` was visited to be born, and is visited from then on.

        Raises:
            EnrollmentError: The token does not serve, or the agent may not join.
            TrustError: The CSR, or the token's signature over it, is wrong.
            WireError: Its generation may not talk to this one.
        """
        check_generations(GENERATION, request.generation, Dialer.MANAGER if walled else Dialer.AGENT)
        checked = check_csr(csr, uid)
        now = self._clock.now()
        # Strangers cost a look, never a place in the queue of writes (SEC-8).
        token = await self._store.read(lambda tx: tx.token(request.token_id))
        if token is None or token.kind not in JOINING:
            problem = "this join string's token is not known here"
            raise EnrollmentError("unknown_token", problem, "Make a new one: popham token create")
        verify_enrollment(token.public, csr, request.signature)

        def work(tx: Writing) -> tuple[AgentRow, Admitted]:
            known = tx.agent(uid)
            used = use_token(
                tx,
                request.token_id,
                checked.spki_sha256,
                now=now,
                address=address,
                proxy=request.proxy,
            )
            row = join_agent(
                tx,
                self._keys.director,
                used,
                uid=uid,
                kind=AgentKind.OWN,
                name=used.proxy or request.name,
                now=now,
                address=address,
                spki=checked.spki_sha256,
                public_key=checked.public_key_der,
                labels=read_labels(request.labels),
                placed=place_agent,
            )
            if used.proxy and (known is None or known.token != used.id):
                row = join_as_proxy(tx, row, used, now=now)
            if walled:
                row = visit_born(tx, row, self._keys.director, now=now)
            return self._give(tx, row, csr)

        return await self._store.write(work)

    async def renew(self, uid: str, csr: bytes, request: Renew) -> tuple[AgentRow, Admitted]:
        """Give a new certificate for an old one, of the same key or of a new one; return it with the agent's row.

        A new key is the agent's from then on.  Its former one serves for one thing only: to ask again for the
        certificate of the new one, where the answer was lost.

        Raises:
            EnrollmentError: The agent is not, or no longer, accepted.
            TrustError: The old certificate does not prove who asks.

        Source: guarantees REL-9.
        """
        check_generations(GENERATION, request.generation, Dialer.AGENT)
        now = self._clock.now()
        identity = verify_renewal(self._keys.ca, request.certificate, csr, request.signature, now)
        checked = check_csr(csr, uid)

        def work(tx: Writing) -> tuple[AgentRow, Admitted]:
            row = tx.agent(identity.uid)
            if row is not None and not _may_renew(row, identity.public_der, checked.public_key_der):
                row = self._rejoin(tx, row, identity, now, row.address)
            if row is None or identity.uid != uid:
                problem, hint = "this certificate's agent, or its key, is not known here", "Enroll it again"
                raise EnrollmentError("unknown_agent", problem, hint)
            if row.public_key != checked.public_key_der and row.admission == Admission.ACCEPTED:
                row = self._change_key(tx, row, checked, now)
            return self._give(tx, row, csr)

        return await self._store.write(work)

    def _change_key(self, tx: Writing, row: AgentRow, asked: Csr, now: float) -> AgentRow:
        """Return an agent with a new key, and the assignment that names it; they are stored with its certificate.

        Raises:
            EnrollmentError: ``enrollment.key_taken``.
        """
        if tx.agent_by_spki(asked.spki_sha256) is not None:
            problem = "this key belongs to another agent already"
            raise EnrollmentError("key_taken", problem, "Let the machine make another one")
        fresh = replace(
            row, spki=asked.spki_sha256, public_key=asked.public_key_der, former_key=row.public_key
        )
        fresh = assign(fresh, self._keys.director, now=now)
        actor = Grant(actor=f"agent {row.name}", role=Role.VIEWER, source=row.address)
        before = {"spki": row.spki, "assignment": row.assignment_seq}
        after = {"spki": fresh.spki, "assignment": fresh.assignment_seq}
        note(tx, actor, "agent.rotate", f"agent/{row.uid}", now=now, before=before, after=after)
        return fresh

    async def rejoin(self, certificate: bytes, address: str) -> AgentRow | None:
        """Return an agent with the key of its certificate (PEM), which it has; None if that proves nothing."""
        now = self._clock.now()
        try:
            shown = verify_issued(self._keys.ca, certificate, now)
        except TrustError:
            return None

        def work(tx: Writing) -> AgentRow | None:
            row = tx.agent(shown.uid)
            return None if row is None else self._rejoin(tx, row, shown, now, address)

        return await self._store.write(work)

    def _rejoin(self, tx: Writing, row: AgentRow, shown: Shown, now: float, address: str) -> AgentRow | None:
        issued, until = shown.issued, shown.not_after
        director = self._keys.director
        return rejoin(tx, director, row, shown.public_der, issued, until, now=now, address=address)

    def _give(self, tx: Writing, row: AgentRow, csr: bytes) -> tuple[AgentRow, Admitted]:
        """Return a certificate if the agent is accepted, else what it waits for."""
        admission = Admission(row.admission)
        if admission is not Admission.ACCEPTED:
            wait = WAIT if admission is Admission.NEW else 0.0
            return row, Admitted(
                admission=admission, retry_after=wait, text=_TEXT[admission].format(name=row.name)
            )
        lifetime = max(AGENT_LIFETIME, HEARTBEATS * row.promise)
        proxy = proxy_it_is(tx, row)
        role, names = (PROXY, proxy.names) if proxy is not None else (AGENT, ())
        pem = self._keys.ca.issue_agent(csr, row.uid, lifetime, role=role, names=names)
        identity = read_identity(load_certificate(pem))
        row = replace(row, certificate_serial=identity.serial, certificate_until=identity.not_after)
        tx.put_agent(row)
        given = Admitted(
            admission=admission, certificate=pem, ca=self._keys.ca.pem, assignment=row.assignment
        )
        return row, given

    async def meet(self, identity: Identity, uid: str, peer: Peer) -> AgentRow:
        """Return the row of an agent seen for the first time.

        A stock agent joins by its token.  A certificate of our CA that nobody
        here knows belongs to an agent that enrolled after the backup this Manager
        was restored from: it is a new agent, waiting to be accepted.  One of an agent
        that is known by another key may have changed that since.

        Raises:
            Refused: The token does not serve any more, or the key is not believed.
        """
        now = self._clock.now()

        def work(tx: Writing) -> AgentRow:
            known = tx.agent(uid)
            if known is not None:
                return self._meet_again(tx, known, identity, peer, now)
            if identity.caller is IdentityKind.STOCK:
                return self._meet_stock(tx, identity, uid, peer, now)
            return _meet_unknown(tx, identity, uid, peer, now)

        try:
            return await self._store.write(work)
        except EnrollmentError as error:
            raise Refused(Refusal(status=403, body=str(error))) from error

    def _meet_again(self, tx: Writing, row: AgentRow, identity: Identity, peer: Peer, now: float) -> AgentRow:
        """Return the row of an agent that is known, perhaps by another key."""
        if identity.public_key in {b"", row.public_key}:
            return row
        director, key = self._keys.director, identity.public_key
        found = rejoin(tx, director, row, key, identity.since, identity.until, now=now, address=peer.address)
        if found is None:
            problem = f"the uid {row.uid} belongs to an agent with another key"
            raise EnrollmentError("uid_taken", problem, "Enroll the machine again")
        return found

    def _meet_stock(self, tx: Writing, identity: Identity, uid: str, peer: Peer, now: float) -> AgentRow:
        token = tx.token(identity.token)
        if token is None:
            raise EnrollmentError("unknown_token", "this stock agents' token is gone", "Make a new one")
        return join_agent(
            tx,
            self._keys.director,
            use_stock(tx, token, None, now=now),
            uid=uid,
            kind=AgentKind.STOCK,
            name=provisional_name(uid),
            now=now,
            address=peer.address,
            placed=place_agent,
        )

    async def claim(self, group: str, envelope: bytes) -> bool:
        """Raise a group's bundle above a genuine one that an agent holds; False if it is already.

        Raises:
            TrustError: The bundle is not genuine.
        """
        held, _ = open_bundle(envelope, tuf=self._tuf, tenant=DEFAULT_TENANT, group=group, floor=None)
        now = self._clock.now()
        raised = await self._store.write(lambda tx: self._bundles.raise_above(tx, group, held, now=now))
        return raised is not None


def _may_renew(row: AgentRow, proven: bytes, asked: bytes) -> bool:
    """Return whether an agent that has proven one key may have a certificate of another, or the same; all as DER."""
    return proven == row.public_key or (proven == row.former_key and asked == row.public_key)


def read_labels(said: Mapping[str, str]) -> str:
    """Return an agent's own labels as JSON, bounded in number and length."""
    kept = sorted((key[:_LABEL], value[:_LABEL]) for key, value in said.items())[:_LABELS]
    return json.dumps(dict(kept))


def _meet_unknown(tx: Writing, identity: Identity, uid: str, peer: Peer, now: float) -> AgentRow:
    row = AgentRow(
        uid=uid,
        name=unique_name(tx, f"agent-{uid[-12:]}"),
        group=ROOT_GROUP,
        kind=AgentKind.OWN,
        admission=Admission.NEW,
        first_seen=now,
        last_contact=now,
        spki=PublicKey.from_der(identity.public_key).keyid,
        public_key=identity.public_key,
        address=peer.address,
    )
    tx.put_agent(row)
    actor = Grant(actor=f"certificate of {uid}", role=Role.VIEWER, source=peer.address)
    note(
        tx,
        actor,
        "agent.join",
        f"agent/{uid}",
        now=now,
        after={"name": row.name, "group": row.group, "admission": "new"},
    )
    return row
