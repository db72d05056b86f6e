"""Who this machine is, and whom it believes: what is kept of that, and whether it fits together and this clock."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from popham.agent.doctor.finding import Finding, fail, failed, ok, skip, warn
from popham.agent.records import Join
from popham.agent.state import AgentState
from popham.agent.stopped import Orders, read_orders
from popham.errors import EnrollmentError, TrustError
from popham.trust.identity import Identity, load_certificate, read_identity
from popham.trust.issuer import check_issued, load_issuers, pin_of
from popham.trust.join import EnrollmentKey
from popham.trust.renewal import renewal_time
from popham.trust.tuf import TrustedTuf

SKEW: Final = 300.0
"""Seconds that two clocks may differ."""
_LATEST: Final = math.nextafter(1.0, 0.0)
_ENROLL: Final = "popham agent enroll JOIN, with what 'popham token create' printed at the Manager"
ANEW: Final = "Restore the state directory from a backup, or empty it and enroll again"
"""Step where what is kept of identity and trust does not fit together."""


def check_enrollment(state: AgentState) -> list[Finding]:
    """Return how far this machine has come into a fleet. Raises StateError."""
    join = state.join()
    if join is None:
        return [fail("enrollment", "this machine has not joined a fleet", _ENROLL)]
    if state.certificate() is not None:
        return [ok("enrollment", f"this machine is agent {state.uid}")]
    if join.walled:
        step = "popham agent service status, and give its address to the Manager in an Agent definition"
        return [warn("enrollment", "this machine waits to be born by a visit", step), *_check_token(join)]
    step = f"At the Manager: popham accept agent {state.uid}"
    return [
        warn("enrollment", "this machine has no certificate yet, and waits for one", step),
        *_check_token(join),
    ]


def _check_token(join: Join) -> list[Finding]:
    if join.seed is None:
        return [fail("token", "the token of the join string is gone", _ENROLL)]
    try:
        EnrollmentKey.from_seed(join.seed)
    except EnrollmentError as error:
        return [failed("token", error, _ENROLL)]
    return [
        ok("token", "its form is right; whether it still serves only the Manager can tell, when it is asked")
    ]


def check_certificate(state: AgentState, now: float) -> list[Finding]:
    """Return whether key, certificate and CA fit together and this clock. Raises StateError."""
    join, pem = state.join(), state.certificate()
    if join is None or pem is None:
        return [skip("certificate", "this machine has none yet")]
    try:
        certificate = load_certificate(pem)
        identity = read_identity(certificate)
        fits = identity.spki == state.identity_key().keyid and identity.uid == state.uid
        check_issued(certificate, join.ca)
        pinned = pin_of(load_issuers(join.ca)[0]) == join.ca_sha256
    except TrustError as error:
        return [failed("certificate", error, ANEW)]
    if not fits or not pinned:
        what = (
            "the CA kept here is not the one of the join string"
            if fits
            else "it is not for this machine's key"
        )
        return [fail("certificate", what, ANEW)]
    return [_judge_dates(identity, now)]


def _judge_dates(identity: Identity, now: float) -> Finding:
    until = show_moment(identity.not_after)
    if now < identity.not_before:
        text = f"it begins at {show_moment(identity.not_before)}, which is still to come by this clock"
        return fail("certificate", text, "Set this machine's clock: timedatectl")
    if now >= identity.not_after:
        step = "Set this machine's clock if it is wrong; else it is renewed once the Manager is reached"
        return warn("certificate", f"it has ended at {until}", step)
    due = renewal_time(identity.not_before, identity.not_after, _LATEST)
    if now > due:
        text = f"it ends at {until}, and was to be renewed by {show_moment(due)}"
        step = "It is renewed once the Manager is reached; see what is said of the way there"
        return warn("certificate", text, step)
    text = f"it fits key and CA, and ends at {until}; whether it is revoked, only the Manager knows"
    return ok("certificate", text)


def check_trust(state: AgentState, now: float) -> tuple[list[Finding], Orders | None]:
    """Return whether what is kept of trust and orders can be believed, and the orders. Raises StateError."""
    documents = state.documents()
    if documents is None:
        return [skip("trust", "this machine has no trust documents yet")], read_orders(state)
    try:
        tuf = TrustedTuf.from_bytes(documents.root, documents.targets)
        tuf.check_current(now)
        orders = read_orders(state)
    except TrustError as error:
        return [failed("trust", error, ANEW)], None
    if orders.kept.error is not None:
        return [failed("trust", orders.kept.error, ANEW)], orders
    what = "assignment and bundles" if orders.kept.newest else "no bundle came yet"
    text = f"root {tuf.root_version} and targets {tuf.targets_version} name a director; {what}"
    return [ok("trust", f"{text}{' verify' if orders.kept.newest else ''}")], orders


def check_clock(orders: Orders | None, now: float) -> list[Finding]:
    """Return whether this clock is behind what was signed."""
    kept = orders.kept if orders is not None else None
    signed = [one.bundle.issued for one in (kept.newest, kept.in_force) if one] if kept else []
    if kept is not None and kept.assignment is not None:
        signed.append(kept.assignment.issued)
    if not signed:
        return [skip("clock", "nothing is kept here that was signed, to compare it with")]
    behind = max(signed) - now
    if behind > SKEW:
        text = f"it is {behind:.0f} s or more behind the Manager's, by what that has signed"
        return [warn("clock", text, "Set this machine's clock: timedatectl")]
    return [ok("clock", f"it shows {show_moment(now)}, and is not behind what the Manager has signed")]


def show_moment(at: float) -> str:
    """Return a time in UTC, to the second."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"
