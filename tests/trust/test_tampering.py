"""SEC-21: whoever delivers documents can withhold them, and change nothing in them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.errors import TrustError
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import open_assignment, open_bundle, open_state, seal_state

EXAMPLES = settings(max_examples=300, deadline=None)


@st.composite
def changes(draw):
    """Where in a document to change what: replace, insert, delete, cut or repeat."""
    where = draw(st.floats(0, 1, exclude_max=True))
    kind = draw(st.sampled_from(["replace", "replace", "replace", "insert", "delete", "cut", "repeat"]))
    return where, kind, draw(st.integers(0, 255))


def change(data, how):
    where, kind, byte = how
    at = int(where * len(data))
    match kind:
        case "replace":
            return data[:at] + bytes([byte]) + data[at + 1 :]
        case "insert":
            return data[:at] + bytes([byte]) + data[at:]
        case "delete":
            return data[:at] + data[at + 1 :]
        case "cut":
            return data[:at]
        case _:
            return data[:at] + data[at : at + byte] + data[at:]


@pytest.fixture(scope="module")
def documents(fleet):
    """Each kind of document with the call that opens it."""
    own = {"tuf": fleet.tuf, "tenant": "default", "group": "fleet", "floor": None}
    mine = {"tuf": fleet.tuf, "uid": fleet.uid, "spki_sha256": fleet.identity.keyid, "seq_floor": 0}
    key = {"public_der": fleet.identity.public.der, "uid": fleet.uid}
    return {
        "bundle": (fleet.sealed_bundle(), lambda data: open_bundle(data, **own)),
        "assignment": (fleet.sealed_assignment(), lambda data: open_assignment(data, **mine)),
        "state": (seal_state(fleet.record(), fleet.identity), lambda data: open_state(data, **key)),
    }


@pytest.mark.parametrize("name", ["bundle", "assignment", "state"])
@EXAMPLES
@given(how=changes())
def test_sec_21_a_document_with_any_byte_changed_is_refused(documents, name, how):
    genuine, opener = documents[name]
    changed = change(genuine, how)
    if changed != genuine:
        with pytest.raises(TrustError):
            opener(changed)


@pytest.mark.parametrize("name", ["bundle", "assignment", "state"])
def test_sec_21_every_single_bit_of_a_document_counts(documents, name):
    genuine, opener = documents[name]
    opener(genuine)
    for at in range(len(genuine)):
        changed = bytearray(genuine)
        changed[at] ^= 1 << (at % 8)
        with pytest.raises(TrustError):
            opener(bytes(changed))


@EXAMPLES
@given(data=st.binary(max_size=300))
def test_sec_21_arbitrary_bytes_are_refused_by_a_trust_error(documents, data):
    for _, opener in documents.values():
        with pytest.raises(TrustError):
            opener(data)


@pytest.mark.parametrize("part", [0, 1])
@EXAMPLES
@given(how=changes())
def test_sec_21_changed_metadata_is_refused_or_says_the_same(fleet, part, how):
    both = [fleet.root_bytes, fleet.targets_bytes]
    both[part] = change(both[part], how)
    try:
        tuf = TrustedTuf.from_bytes(*both)
    except TrustError:
        return
    held = [tuf._root.signed_bytes, tuf._targets.signed_bytes]
    assert held == [fleet.tuf._root.signed_bytes, fleet.tuf._targets.signed_bytes]
