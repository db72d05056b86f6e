"""What an evil proxy does to what it delivers: drawn by hypothesis, rendered for the real wire."""

import base64
import json
from dataclasses import dataclass

from hypothesis import strategies as st

from popham.model.names import canonical, digest
from popham.opamp.codec import custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1.popham_pb2 import Admission, Directive
from popham.opamp.wire import BLOB_KEY, BUNDLE_KEY, DSSE_TYPE, REFERENCE_TYPE
from popham.trust.dsse import Envelope, encode_pae

from .history import EVIL, GROUPS, VICTIM

ALTERED = (
    *("flipped", "cut", "longer", "spliced", "spaced"),
    *("signed by another", "of another type", "of another payload", "edited"),
    *("forged", "forged as the director", "signed beside"),
)
"""Ways in which a document is not the one that was signed."""
PLACES = ("offer", "named", "assignment", "admission", "operation", "visitor")
KINDS = {
    "offer": ("bundle",),
    "named": ("bundle",),
    "assignment": ("assignment",),
    "admission": ("assignment",),
    "operation": ("operation",),
    "visitor": ("visitor",),
    "content": ("bundle",),
}
"""Place → kinds of documents that belong there."""
BODIES = ("whole", "of another", "altered", "none")
EDITS = {
    "version": 2**50,
    "seq": 2**50,
    "serial": 10**6,
    "group": GROUPS[0],
    "uid": VICTIM,
    "tenant": "default",
    "issued": 2**50,
    "expires": 2**50,
    "nonce": "f" * 32,
    "groups": list(GROUPS),
    "dialer": "manager",
    "keyid": EVIL.keyid,
}


@dataclass(frozen=True)
class Attack:
    """One thing that it does.

    Attributes:
        place: Where the document is put; ``wire`` for a message of a Manager to another agent, ``content`` for a body
            that was not asked for, or is another one.
        one, two: Which documents, of all; or of those that belong where they are put, if it ``fits``.
        altered: How it is changed; empty for not at all.
        at: Where; ``much``: what is put there.
        bodies: Bodies that stand beside a bundle, or are fetched.
        edit: Field of a payload that is changed.
    """

    place: str
    one: int
    two: int = 0
    altered: str = ""
    at: int = 0
    much: bytes = b"\0"
    bodies: str = "whole"
    edit: str = "version"
    fits: bool = False

    def choose(self, documents):
        """Return the two documents that it is about."""
        kinds = KINDS.get(self.place, ()) if self.fits else ()
        found = [one for one in documents if one.kind in kinds] or documents
        return found[self.one % len(found)], found[self.two % len(found)]


def attacks(places=PLACES, altered=("", *ALTERED), bodies=("whole",)):
    """Return a strategy of attacks of some kinds."""
    return st.builds(
        Attack,
        place=st.sampled_from(places),
        one=st.integers(0, 4095),
        two=st.integers(0, 4095),
        altered=st.sampled_from(altered),
        at=st.integers(0, 65535),
        much=st.binary(min_size=1, max_size=8),
        bodies=st.sampled_from(bodies),
        edit=st.sampled_from(sorted(EDITS)),
        fits=st.sampled_from((True, True, True, False)),
    )


def alter(attack, document, other):
    """Return a document's envelope as the attack leaves it."""
    data, at = document.envelope, attack.at
    if attack.altered == "flipped":
        at %= len(data)
        return data[:at] + bytes([data[at] ^ (1 + attack.much[0] % 255)]) + data[at + 1 :]
    if attack.altered == "cut":
        return data[: at % len(data)]
    if attack.altered == "longer":
        at %= len(data) + 1
        return data[:at] + attack.much + data[at:]
    if attack.altered == "spliced":
        return data[: at % len(data)] + other.envelope[at % len(other.envelope) :]
    return _resign(attack, data, other.envelope) if attack.altered else data


def _resign(attack, data, other):
    """Return an envelope whose parts do not belong together; junk stays as it is."""
    try:
        mine, theirs = json.loads(data), json.loads(other)
        payload = base64.b64decode(mine["payload"])
        fields = json.loads(payload)
        assert {"payload", "payloadType", "signatures"} <= theirs.keys()
    except (ValueError, KeyError, TypeError, AssertionError):
        return data + attack.much
    swapped = {
        "signed by another": "signatures",
        "of another type": "payloadType",
        "of another payload": "payload",
    }.get(attack.altered)
    if attack.altered == "spaced" or swapped:
        return canonical(mine | {swapped: theirs[swapped]}) if swapped else json.dumps(mine).encode()
    if attack.altered != "signed beside":
        fields[attack.edit] = EDITS[attack.edit]
        payload = canonical(fields)
    if attack.altered == "edited":
        return canonical(mine | {"payload": base64.b64encode(payload).decode()})
    kind, signature = mine["payloadType"], EVIL.sign(encode_pae(mine["payloadType"], payload))
    genuine = {one["keyid"]: base64.b64decode(one["sig"]) for one in mine["signatures"]}
    signed = {
        "forged": {EVIL.keyid: signature},
        "forged as the director": dict.fromkeys(genuine, signature),
        "signed beside": {EVIL.keyid: signature} | genuine,
    }[attack.altered]
    return Envelope(kind, payload, signed).encode()


def bodies_of(attack, document, other):
    """Return the bodies that are delivered for a bundle: digest → whatever."""
    mine = dict(document.blobs)
    if attack.bodies == "none":
        return {}
    if attack.bodies == "of another":
        return {sha: body for sha in mine for body in other.blobs.values()} or dict(other.blobs)
    if attack.bodies == "altered":
        return {sha: body.replace(b"of", attack.much, 1) for sha, body in mine.items()}
    return mine


def render(attack, uid, document, other):
    """Return the ServerToAgent that carries the attack, and what its requests are answered with."""
    data, bodies = alter(attack, document, other), bodies_of(attack, document, other)
    said = ServerToAgent(instance_uid=uid)
    if attack.place in {"offer", "named"}:
        held = said.remote_config.config.config_map
        said.remote_config.config_hash = b"h" * 32
        held[BUNDLE_KEY].body, held[BUNDLE_KEY].content_type = data, DSSE_TYPE
        if attack.place == "named":
            # What it names, and what it then delivers, need not be the same.
            named = document.envelope if attack.at % 2 else data
            held[BUNDLE_KEY].body = canonical({"sha256": digest(named), "length": len(data)})
            held[BUNDLE_KEY].content_type = REFERENCE_TYPE
            bodies = bodies | {digest(named): data}
        else:
            for sha, body in bodies.items():
                held[BLOB_KEY + sha].body = body
    elif attack.place == "assignment":
        said.custom_message.CopyFrom(custom(Directive(generation=5, assignment=data, nonce=attack.much)))
    elif attack.place == "operation":
        said.custom_message.CopyFrom(custom(Directive(generation=5, operations=[data])))
    elif attack.place == "admission":
        said.custom_message.CopyFrom(custom(Admission(state=2, assignment=data)))
        certificate = said.connection_settings.opamp.certificate
        certificate.cert, certificate.ca_cert = data, data
        certificate.private_key = attack.much if attack.at % 2 else b""
    return said, bodies


def distort(attack, message):
    """Return a message of a Manager to another agent as it comes to the victim."""
    data, to = message, bytes.fromhex(VICTIM.replace("-", ""))
    if attack.at % 2:
        parsed = ServerToAgent.FromString(message)
        parsed.instance_uid = to
        data = parsed.SerializeToString()
    if attack.altered:
        at = (attack.at // 2) % (len(data) + 1)
        data = data[:at] + attack.much + data[at + (attack.one % 3) :]
    return data
