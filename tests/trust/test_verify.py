import json
import subprocess
import sys
from dataclasses import replace

import pytest

from popham.errors import TrustError
from popham.model.bundle import BUNDLE_TYPE
from popham.model.names import canonical, digest
from popham.model.status import STATE_TYPE, Outcome
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import ENVELOPE_LIMIT, Envelope, seal
from popham.trust.keys import IdentityKey, SigningKey
from popham.trust.verify import (
    _KINDS,
    Floor,
    check_blob,
    open_assignment,
    open_bundle,
    open_state,
    seal_state,
)


def refusal(call, *args, **kwargs):
    with pytest.raises(TrustError) as refused:
        call(*args, **kwargs)
    return refused.value.code


def opened(fleet, sealed, **changes):
    given = {"tuf": fleet.tuf, "tenant": "default", "group": "fleet", "floor": None} | changes
    return open_bundle(sealed, **given)


def opened_assignment(fleet, sealed, **changes):
    own = {"tuf": fleet.tuf, "uid": fleet.uid, "spki_sha256": fleet.identity.keyid, "seq_floor": 0}
    return open_assignment(sealed, **(own | changes))


def opened_state(fleet, sealed, **changes):
    return open_state(sealed, **({"public_der": fleet.identity.public.der, "uid": fleet.uid} | changes))


def test_a_genuine_bundle_is_opened_and_gives_the_floor(fleet):
    bundle, floor = opened(fleet, fleet.sealed_bundle())
    assert bundle == fleet.bundle()
    assert floor == Floor(1000, digest(fleet.bundle().payload()))


def test_the_same_bundle_may_come_again(fleet):
    _, floor = opened(fleet, fleet.sealed_bundle())
    assert opened(fleet, fleet.sealed_bundle(), floor=floor)[1] == floor


def test_sec_22_an_older_bundle_is_refused(fleet):
    _, floor = opened(fleet, fleet.sealed_bundle(version=1001, serial=2))
    assert refusal(opened, fleet, fleet.sealed_bundle(), floor=floor) == "trust.rollback"


def test_another_bundle_of_the_same_version_is_equivocation(fleet):
    _, floor = opened(fleet, fleet.sealed_bundle())
    assert refusal(opened, fleet, fleet.sealed_bundle(serial=2), floor=floor) == "trust.equivocation"


@pytest.mark.parametrize("change", [{"group": "lab"}, {"tenant": "other"}])
def test_sec_25_a_bundle_for_others_is_refused(fleet, change):
    assert refusal(opened, fleet, fleet.sealed_bundle(**change)) == "trust.audience"


@pytest.mark.parametrize("role", ["root", "targets"])
def test_sec_24_a_bundle_that_goes_with_newer_metadata_waits_for_it(fleet, role):
    needed = {"root": 1, "targets": 1, role: 2}
    assert refusal(opened, fleet, fleet.sealed_bundle(tuf=needed)) == "trust.tuf_behind"
    opened(fleet, fleet.sealed_bundle(tuf={"content-base": 7}))


@pytest.mark.parametrize("signer", [SigningKey.create(), IdentityKey.create()], ids=["ed25519", "p256"])
def test_sec_48_an_unknown_keyid_is_refused(fleet, signer):
    assert refusal(opened, fleet, fleet.sealed_bundle(signer=signer)) == "trust.signature"


def test_sec_48_a_strangers_signature_under_the_directors_keyid_is_refused(fleet):
    class Liar:
        keyid = fleet.director.keyid
        sign = SigningKey.create().sign

    assert refusal(opened, fleet, fleet.sealed_bundle(signer=Liar())) == "trust.signature"


def test_sec_48_a_signature_over_the_bare_payload_is_refused(fleet):
    payload = fleet.bundle().payload()
    bare = Envelope(BUNDLE_TYPE, payload, {fleet.director.keyid: fleet.director.sign(payload)})
    assert refusal(opened, fleet, bare.encode()) == "trust.signature"


def test_sec_25_documents_of_one_kind_do_not_pass_as_another(fleet):
    record = seal_state(fleet.record(), fleet.identity)
    for call, sealed in (
        (opened, fleet.sealed_assignment()),
        (opened, record),
        (opened_assignment, fleet.sealed_bundle()),
        (opened_assignment, record),
        (opened_state, fleet.sealed_bundle()),
        (opened_state, fleet.sealed_assignment()),
    ):
        assert refusal(call, fleet, sealed) == "trust.type"


def test_sec_25_the_type_is_part_of_what_is_signed(fleet):
    genuine = Envelope.parse(fleet.sealed_assignment(), types=(ASSIGNMENT_TYPE,))
    relabelled = Envelope(BUNDLE_TYPE, genuine.payload, genuine.signatures).encode()
    assert refusal(opened, fleet, relabelled) == "trust.signature"


def test_sec_9_an_oversized_document_is_refused_unread(fleet):
    assert refusal(opened, fleet, b" " * (ENVELOPE_LIMIT + 1)) == "trust.size"
    assert refusal(opened_assignment, fleet, b" " * (64 * 1024 + 1)) == "trust.size"
    assert refusal(opened_state, fleet, b" " * (64 * 1024 + 1)) == "trust.size"


def test_sec_49_a_signed_payload_is_still_read_strictly(fleet):
    payload = fleet.bundle().payload()
    for bad in (
        payload.replace(b'"serial":1', b'"serial":2,"serial":1'),
        payload.replace(b'"issued":1', b'"issued":NaN'),
        payload.replace(b'"version":1000', b'"version":"1000"'),
        payload.replace(b'"version":1000', b'"version":1000.0'),
        payload.replace(b'"version":1000', b'"version":true'),
        payload.replace(b'"version":1000', b'"version":-1'),
        payload.replace(b'"version":1000', b'"version":9223372036854775808'),
        payload.replace(b'"serial":1', b'"serial":2'),
        payload[:-1],
        b"[]",
        b"{}",
    ):
        assert bad != payload
        assert refusal(opened, fleet, seal(BUNDLE_TYPE, bad, fleet.director)) == "trust.document"


def test_a_heartbeat_out_of_range_in_a_signed_bundle_is_refused(fleet):
    body = json.loads(fleet.bundle().payload())
    body["sets"]["stable"]["default"]["communication"]["heartbeat"] = 0.1
    content = {k: v for k, v in body.items() if k not in {"version", "issued", "content_digest"}}
    body["content_digest"] = digest(canonical(content))
    assert refusal(opened, fleet, seal(BUNDLE_TYPE, canonical(body), fleet.director)) == "trust.document"


def test_what_a_bundle_calls_critical_is_understood_or_refused(fleet):
    assert refusal(opened, fleet, fleet.sealed_bundle(crit=("cohorts",))) == "trust.crit"
    crit = fleet.bundle().payload().replace(b'"crit":[]', b'"crit":"cohorts"')
    assert refusal(opened, fleet, seal(BUNDLE_TYPE, crit, fleet.director)) == "trust.crit"


def test_the_checks_run_in_the_documented_order(fleet):
    stranger = SigningKey.create()
    floor = Floor(5000, "0" * 64)
    wrong = {"group": "lab", "tuf": {"root": 9, "targets": 9}, "crit": ("x",)}
    assert refusal(opened, fleet, fleet.sealed_bundle(signer=stranger, **wrong)) == "trust.signature"
    assert refusal(opened, fleet, fleet.sealed_bundle(**wrong), floor=floor) == "trust.crit"
    wrong["crit"] = ()
    assert refusal(opened, fleet, fleet.sealed_bundle(**wrong), floor=floor) == "trust.audience"
    wrong["group"] = "fleet"
    assert refusal(opened, fleet, fleet.sealed_bundle(**wrong), floor=floor) == "trust.rollback"
    assert refusal(opened, fleet, fleet.sealed_bundle(**wrong)) == "trust.tuf_behind"


def test_an_assignment_is_opened_by_the_agent_it_names(fleet):
    assert opened_assignment(fleet, fleet.sealed_assignment(), seq_floor=5) == fleet.assignment()


@pytest.mark.parametrize(
    "change", [{"uid": "0" * 36}, {"spki_sha256": "0" * 64}, {"tenant": "other"}], ids=lambda c: next(iter(c))
)
def test_sec_25_an_assignment_of_another_agent_is_refused(fleet, change):
    assert refusal(opened_assignment, fleet, fleet.sealed_assignment(**change)) == "trust.audience"


def test_sec_22_an_older_assignment_is_refused(fleet):
    assert refusal(opened_assignment, fleet, fleet.sealed_assignment(), seq_floor=6) == "trust.rollback"


def test_sec_21_an_assignment_that_the_director_did_not_sign_is_refused(fleet):
    forged = seal(ASSIGNMENT_TYPE, fleet.assignment(group="lax").payload(), fleet.identity)
    assert refusal(opened_assignment, fleet, forged) == "trust.signature"


def test_unknown_fields_of_an_assignment_are_ignored_unless_critical(fleet):
    body = json.loads(fleet.assignment().payload())
    assert Assignment.from_payload(canonical(body | {"address": "later"})) == fleet.assignment()
    sealed = seal(ASSIGNMENT_TYPE, canonical(body | {"crit": ["address"]}), fleet.director)
    assert refusal(opened_assignment, fleet, sealed) == "trust.crit"


@pytest.mark.parametrize(
    "change",
    [
        {"seq": "5"},
        {"seq": True},
        {"seq": -1},
        {"seq": 2**63},
        {"group": "../etc"},
        {"group": None},
        {"uid": 7},
    ],
)
def test_a_malformed_assignment_is_refused(fleet, change):
    body = json.loads(fleet.assignment().payload()) | change
    sealed = seal(ASSIGNMENT_TYPE, canonical(body), fleet.director)
    assert refusal(opened_assignment, fleet, sealed) == "trust.document"
    missing = {key: value for key, value in body.items() if key not in change}
    sealed = seal(ASSIGNMENT_TYPE, canonical(missing), fleet.director)
    assert refusal(opened_assignment, fleet, sealed) == "trust.document"


def test_a_state_record_goes_up_signed_and_comes_out_equal(fleet):
    record = fleet.record(outcome=Outcome.APPLIED, unsupported=("otelcol",), facts={"os": "linux"})
    assert opened_state(fleet, seal_state(record, fleet.identity)) == record


def test_a_state_record_is_believed_of_its_own_agent_only(fleet):
    sealed = seal_state(fleet.record(), fleet.identity)
    stranger = IdentityKey.create()
    assert refusal(opened_state, fleet, sealed, public_der=stranger.public.der) == "trust.signature"
    assert refusal(opened_state, fleet, sealed, uid="0" * 36) == "trust.audience"
    assert refusal(opened_state, fleet, sealed, tenant="other") == "trust.audience"
    forged = seal_state(fleet.record(), stranger)
    assert refusal(opened_state, fleet, forged) == "trust.signature"
    parsed = Envelope.parse(sealed, types=(STATE_TYPE,))
    extra = replace(parsed, signatures={**parsed.signatures, stranger.keyid: b"x"})
    assert refusal(opened_state, fleet, extra.encode()) == "trust.signature"


def test_of_a_state_record_that_is_vouched_for_only_the_signature_is_left_to_others(fleet):
    record, stranger = fleet.record(), IdentityKey.create()
    parsed = Envelope.parse(seal_state(record, fleet.identity), types=(STATE_TYPE,))
    unsigned = replace(parsed, signatures={fleet.identity.keyid: b"x"}).encode()
    assert refusal(opened_state, fleet, unsigned) == "trust.signature"
    assert opened_state(fleet, unsigned, vouched=True) == record
    assert refusal(opened_state, fleet, unsigned, vouched=True, uid="0" * 36) == "trust.audience"
    assert refusal(opened_state, fleet, unsigned, vouched=True, public_der=b"") == "trust.key"
    assert refusal(opened_state, fleet, seal_state(record, stranger), vouched=True) == "trust.signature"


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "3"},
        {"revision": -1},
        {"revision": True},
        {"revision": 2**63},
        {"promise": "300"},
        {"promise": -1.0},
        {"outcome": "splendid"},
        {"unsupported": "otelcol"},
        {"unsupported": [1]},
        {"unsupported": ["x"] * 65},
        {"facts": []},
        {"facts": {"os": 1}},
        {"facts": {str(n): "" for n in range(65)}},
        {"group": None},
    ],
)
def test_a_state_record_with_fields_of_another_kind_is_refused(fleet, change):
    body = json.loads(fleet.record().payload()) | change
    sealed = seal(STATE_TYPE, canonical(body), fleet.identity)
    assert refusal(opened_state, fleet, sealed) == "trust.document"


def test_a_state_record_without_a_needed_field_is_refused_and_unknown_ones_are_ignored(fleet):
    body = json.loads(fleet.record().payload())
    assert opened_state(fleet, seal(STATE_TYPE, canonical(body | {"new": 1}), fleet.identity))
    del body["revision"]
    assert refusal(opened_state, fleet, seal(STATE_TYPE, canonical(body), fleet.identity)) == "trust.document"


def test_each_field_of_a_state_record_has_a_check(fleet):
    assert {str(known.type) for known in type(fleet.record()).__dataclass_fields__.values()} <= _KINDS.keys()


def test_sec_24_content_is_what_the_bundle_names_by_digest_and_length():
    check_blob(b"abc", digest(b"abc"), 3)
    assert refusal(check_blob, b"abc", digest(b"abc"), 4) == "trust.blob"
    assert refusal(check_blob, b"abd", digest(b"abc"), 3) == "trust.blob"
    assert refusal(check_blob, b"abc", digest(b"abc").upper(), 3) == "trust.blob"


def test_the_agents_checks_load_without_the_managers_libraries():
    heavy = "'sqlalchemy','pydantic','fastapi','alembic','ruamel','uvicorn','aiohttp','tuf.repository','tuf.api.dsse'"
    code = f"import sys, popham.trust.verify; print([m for m in ({heavy}) if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
