"""What a real director signed in two fleets, and what else travels: everything that an evil proxy may have seen."""

import asyncio
import base64
import json
from dataclasses import dataclass, field, replace
from functools import cache

from tests.manager.summary.feeding import make_frame

from popham.model.operation import Kind, Operation
from popham.model.status import StateRecord
from popham.streams.frame import Stream
from popham.testing.direct import DirectManager
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import seal
from popham.trust.identity import make_csr
from popham.trust.keys import IdentityKey, SigningKey
from popham.trust.operation import seal_operation
from popham.trust.verify import seal_state
from popham.trust.visitor import Visitor, seal_visitor

GROUPS = ("red", "blue")
VERSIONS = 6
PROXIES = {"red": SigningKey.create(), "blue": SigningKey.create()}
"""Keys of two Proxy Managers: which groups were given to which.  The evil one has that of ``blue`` alone."""
EVIL = SigningKey.create()
"""A key that nobody trusts."""
VICTIM, OTHER = "0198c2a0-0000-7000-8000-00000000000a", "0198c2a0-0000-7000-8000-00000000000b"
PROXY = "0198c2a0-0000-7000-8000-0000000000aa"
FILES = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: {group}-files}}
spec: {{type: files, files: [{{path: /etc/popham.d/motd, content: "{text}"}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: {group}}}
spec:
  parent: fleet
  inheritance: {{policies: {{files: false}}}}
  policies: {{files: {group}-files}}
"""


@dataclass(frozen=True)
class Document:
    """One document as it travels.

    Attributes:
        ours: Whether the victim's own director signed it, for the victim's tenant.
        number: Version, or sequence number; 0 if it has none.
        blobs: Bodies that a bundle names.
    """

    kind: str
    envelope: bytes
    ours: bool = False
    group: str = ""
    uid: str = ""
    number: int = 0
    nonce: str = ""
    keyid: str = ""
    expires: int = 0
    blobs: dict = field(default_factory=dict, compare=False)

    @property
    def payload(self):
        """What is signed: type and bytes."""
        outer = json.loads(self.envelope)
        return outer["payloadType"], base64.b64decode(outer["payload"])


@dataclass
class History:
    """Two fleets, and all that their Managers said.

    Attributes:
        keys: Of the victim's fleet.
        identity: The victim's key.
        certificate: Its certificate.
        first: The assignment that it was born with; one older was signed before.
        documents: All of them.
        answers: Messages that Managers sent to other agents, as they travelled.
    """

    keys: object
    clock: VirtualClock
    identity: IdentityKey
    certificate: bytes
    documents: list
    answers: list

    def __post_init__(self):
        self.first = self.of("assignment", uid=VICTIM)[1]
        self.blobs = {sha: body for one in self.documents for sha, body in one.blobs.items()}

    def of(self, kind, *, ours=True, **what):
        """Return the documents of a kind, in the order of their numbers."""
        found = [one for one in self.documents if one.kind == kind and one.ours is ours]
        found = [one for one in found if all(getattr(one, name) == value for name, value in what.items())]
        return sorted(found, key=lambda one: one.number)


@cache
def history():
    """Return what was said, made once."""
    return asyncio.run(_make())


async def _make():
    clock = VirtualClock()
    fleets = [make_keys(clock), make_keys(clock)]
    identity, stranger = IdentityKey.create(), IdentityKey.create()
    documents, answers = [], []
    for keys, ours in zip(fleets, (True, False), strict=True):
        manager = DirectManager(keys)
        await manager.start()
        documents += [one async for one in _publish(manager, answers, ours=ours)]
        documents += _sign(keys.director, identity, stranger, int(manager.clock.now()), ours=ours)
    documents += _unsigned(fleets[0], stranger, int(clock.now()))
    pem = fleets[0].ca.issue_agent(make_csr(identity, VICTIM), VICTIM, 30 * 86_400.0)
    return History(fleets[0], manager.clock, identity, pem, documents, answers)


async def _publish(manager, answers, *, ours):
    """Yield bundles of several versions of two groups; other agents hear of each of them."""
    await manager.publish("\n---\n".join(FILES.format(group=group, text="zero") for group in GROUPS))
    others = [await manager.add_agent(f"other-{group}", group) for group in GROUPS]
    for version in range(VERSIONS):
        for group in GROUPS:
            manager.clock.elapsed += 5
            text = f"{group} {version} of {'ours' if ours else 'theirs'}"
            await manager.publish(FILES.format(group=group, text=text))
            wanted = manager.book.wanted(group)
            yield Document(
                "bundle",
                wanted.envelope,
                ours=ours,
                group=group,
                number=wanted.version,
                blobs=dict(wanted.blobs),
            )
        for agent in others:
            answers.append(await manager.round(agent.peer(), agent.end.report(force=True)))
            await agent.end.receive(answers[-1])


def _sign(director, identity, stranger, now, *, ours):
    """Return what a director signs for single agents and proxies; half of it for another tenant."""
    made = []
    for tenant in ("default", "other"):
        mine = ours and tenant == "default"
        for seq in range(1, 9):
            for uid, key in ((VICTIM, identity), (OTHER, stranger)):
                group = GROUPS[seq % 2]
                signed = Assignment(
                    uid=uid, spki_sha256=key.keyid, group=group, seq=seq, issued=now, tenant=tenant
                )
                envelope = seal(ASSIGNMENT_TYPE, signed.payload(), director)
                made.append(Document("assignment", envelope, ours=mine, group=group, uid=uid, number=seq))
        for number, uid in enumerate((VICTIM, OTHER) * 3):
            nonce = f"{number:02}{int(ours)}{len(tenant)}".ljust(32, "0")
            order = Operation(
                uid=uid,
                operation=f"op{number}",
                kind=Kind.COLLECT,
                nonce=nonce,
                issued=now,
                expires=now + 600,
                tenant=tenant,
            )
            made.append(
                Document("operation", seal_operation(order, director), ours=mine, uid=uid, nonce=nonce)
            )
        for group, key in PROXIES.items():
            for lifetime in (10**6, -60):
                statement = Visitor(
                    uid=PROXY,
                    keyid=key.keyid,
                    public_key=key.public.crypto.public_bytes_raw(),
                    groups=(group,),
                    issued=now - 600,
                    expires=now + lifetime,
                    tenant=tenant,
                )
                made.append(
                    Document(
                        "visitor",
                        seal_visitor(statement, director),
                        ours=mine,
                        group=group,
                        keyid=key.keyid,
                        expires=now + lifetime,
                    )
                )
    return made


def _unsigned(keys, stranger, now):
    """Return what is no document of the director's: another agent's state, frames, trust metadata."""
    record = StateRecord(uid=OTHER, revision=now, group="red", promise=300.0, mode="push", dialer="agent")
    return [
        Document("state", seal_state(record, stranger), uid=OTHER),
        Document("state", seal_state(replace(record, uid=VICTIM), stranger), uid=VICTIM),
        Document("frame", make_frame(Stream.EVENTS, b"a line", 1).encode()),
        Document("trust", keys.root),
        Document("trust", keys.targets),
    ]
