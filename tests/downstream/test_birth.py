"""What a machine that may not dial out believes of those who show it a fleet's trust documents."""

import json
import time

import pytest
from tests.births import documents_of, join_of, make_fleet

from popham.downstream.birth import open_documents, reopen_documents
from popham.downstream.enroll import Anchor
from popham.errors import TrustError
from popham.model.names import digest
from popham.testing.virtual import EPOCH, VirtualClock
from popham.trust.birth import DOCUMENTS_LIMIT, FoundingDocuments, read_refusal
from popham.trust.keys import SigningKey
from popham.trust.tuf import TrustedTuf, create_root, create_targets


@pytest.fixture(scope="module")
def fleet():
    return make_fleet(VirtualClock())


@pytest.fixture(scope="module")
def other():
    return make_fleet(VirtualClock())


@pytest.fixture(scope="module")
def pins(fleet):
    join = join_of(fleet)
    return {"ca": join.ca, "root": join.root}


def changed(keys, **texts):
    """Return a fleet's documents with some of them replaced."""
    return json.dumps(json.loads(documents_of(keys)) | texts).encode()


def test_f_l12_documents_that_the_join_string_pins_are_believed_and_name_the_director(fleet, pins):
    anchor, tuf = open_documents(documents_of(fleet), **pins)
    assert anchor == Anchor(ca=fleet.ca.pem, root=fleet.root, targets=fleet.targets)
    assert tuf.find_director(fleet.director.keyid) == fleet.director.public.crypto


def test_documents_travel_byte_for_byte(fleet):
    sent = FoundingDocuments(ca=fleet.ca.pem, root=fleet.root, targets=fleet.targets)
    assert FoundingDocuments.parse(sent.encode()) == sent


def test_a_later_version_may_add_documents(fleet, pins):
    assert open_documents(changed(fleet, timestamp="{}"), **pins)[0].root == fleet.root


@pytest.mark.parametrize("part", ["ca", "root", "targets"])
def test_f_l12_documents_of_another_fleet_are_refused_even_where_only_one_of_them_is(
    fleet, other, pins, part
):
    texts = json.loads(documents_of(other))
    with pytest.raises(TrustError) as error:
        open_documents(changed(fleet, **{part: texts[part]}), **pins)
    assert error.value.code == ("trust.signature" if part == "targets" else "trust.pin")


def test_f_l12_a_whole_set_of_another_fleet_is_refused(other, pins):
    with pytest.raises(TrustError, match="does not have the CA") as error:
        open_documents(documents_of(other), **pins)
    assert error.value.code == "trust.pin"


def test_f_l12_of_several_certificates_the_pinned_one_counts(fleet, other, pins):
    both = (other.ca.pem + fleet.ca.pem).decode()
    assert open_documents(changed(fleet, ca=both), **pins)[0].ca == fleet.ca.pem


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"ca":1,"root":"","targets":""}',
        b'{"ca":"","ca":"","root":"","targets":""}',
    ],
    ids=["nothing", "no keys", "a list", "no text", "a number", "a key twice"],
)
def test_f_l12_what_are_no_documents_is_refused_by_a_name(pins, data):
    with pytest.raises(TrustError) as error:
        open_documents(data, **pins)
    assert error.value.code == "trust.document"


def test_f_l12_documents_without_a_certificate_are_refused(fleet, pins):
    with pytest.raises(TrustError) as error:
        open_documents(changed(fleet, ca="nothing"), **pins)
    assert error.value.code == "trust.certificate"


def test_f_l12_documents_have_a_bound(pins):
    with pytest.raises(TrustError) as error:
        open_documents(b" " * (DOCUMENTS_LIMIT + 1), **pins)
    assert error.value.code == "trust.size"


@pytest.mark.parametrize(
    "beside", [b"[" + b"{}," * 600_000 + b"{}]", b"[" * 1_000_000, b'"' + b"a" * 70_000 + b'"']
)
def test_sec_what_a_stranger_adds_to_documents_costs_next_to_nothing(pins, beside):
    begun = time.process_time()
    with pytest.raises(TrustError) as error:
        open_documents(b'{"ca":"c","root":"r","targets":"t","more":' + beside + b"}", **pins)
    assert error.value.code == "trust.document"
    assert time.process_time() - begun < 0.05


def test_f_l12_garbage_of_any_kind_ends_in_an_error_of_ours(fleet, pins):
    whole = documents_of(fleet)
    for cut in range(0, len(whole), 97):
        with pytest.raises(TrustError):
            open_documents(whole[:cut], **pins)


class Roots:
    """A root, and targets of several versions."""

    def __init__(self):
        self.root, self.targets = SigningKey.create(), SigningKey.create()
        self.now = EPOCH
        self.data = create_root(self.root, self.targets.public, now=self.now)

    def at(self, version, director):
        return create_targets(self.targets, director.public, now=self.now, version=version)


def test_f_l12_nothing_older_than_what_is_held_is_taken(fleet, pins):
    roots, directors = Roots(), [SigningKey.create(), SigningKey.create()]
    one, two = roots.at(1, directors[0]), roots.at(2, directors[1])
    held = TrustedTuf.from_bytes(roots.data, two)
    texts = {"root": roots.data.decode(), "targets": one.decode()}
    own = pins | {"root": digest(roots.data)}
    assert open_documents(changed(fleet, **texts), **own)[1].targets_version == 1
    with pytest.raises(TrustError) as error:
        open_documents(changed(fleet, **texts), **own, held=held)
    assert error.value.code == "trust.rollback"


def test_f_l12_newer_targets_of_the_same_root_are_taken(fleet, pins):
    roots, directors = Roots(), [SigningKey.create(), SigningKey.create()]
    held = TrustedTuf.from_bytes(roots.data, roots.at(1, directors[0]))
    texts = {"root": roots.data.decode(), "targets": roots.at(2, directors[1]).decode()}
    _, tuf = open_documents(changed(fleet, **texts), **pins | {"root": digest(roots.data)}, held=held)
    assert tuf.find_director(directors[1].keyid) is not None
    assert tuf.find_director(directors[0].keyid) is None


def test_what_is_kept_is_compared_with_the_pins_that_hold_now(fleet, other, pins):
    anchor, _ = open_documents(documents_of(fleet), **pins)
    assert reopen_documents(anchor, **pins) is not None
    theirs = join_of(other)
    assert reopen_documents(anchor, ca=theirs.ca, root=theirs.root) is None


@pytest.mark.parametrize(
    ("text", "code", "problem"),
    [
        (
            "the token is used up (enrollment.used_up_token). Make a new one",
            "enrollment.used_up_token",
            "the token is used up",
        ),
        (
            "something else went wrong (trust.csr)",
            "enrollment.refused",
            "something else went wrong (trust.csr)",
        ),
        ("", "enrollment.refused", "upstream refuses this machine"),
    ],
)
def test_a_refusal_keeps_its_own_words(text, code, problem):
    found = read_refusal(text)
    assert (found.code, found.problem) == (code, problem)
