"""Enrollment where this end may not dial: what is believed of whoever comes with a fleet's trust documents.

In this order, so that a stranger is told nothing and costs little:

1. The documents are compared with the pins of the join string: the CA's key, the digest of TUF's root.
2. Targets are verified by that root, and name the director.
3. Only then is the director's signature of the request looked at.
4. Who is believed is told what a Manager is told that was dialled: a CSR, and the token's signature over it.
"""

from __future__ import annotations

from popham.downstream.enroll import Anchor
from popham.errors import TrustError
from popham.trust.birth import FoundingDocuments
from popham.trust.issuer import find_anchor
from popham.trust.tuf import TrustedTuf


def open_documents(
    data: bytes, *, ca: str, root: str, held: TrustedTuf | None = None
) -> tuple[Anchor, TrustedTuf]:
    """Return a fleet's trust documents, once they are those that a join string pins.

    Args:
        data: As they came, from whomever.
        ca: SHA-256 of the CA's public key, hexadecimal.
        root: SHA-256 of TUF's first root, hexadecimal.
        held: What is believed already; nothing older is taken. None for nothing.

    Raises:
        TrustError: ``trust.document``, ``trust.size``, ``trust.certificate``: they are none. ``trust.pin``: they
            are another fleet's. ``trust.tuf``, ``trust.signature``: targets are not of that root.
            ``trust.rollback``, ``trust.equivocation``: others are held.
    """
    shown = FoundingDocuments.parse(data)
    anchor = find_anchor(shown.ca, ca)
    tuf = TrustedTuf.from_bytes(shown.root, shown.targets, root_sha256=root)
    if held is not None:
        held.advance(shown.targets)
    return Anchor(ca=anchor, root=shown.root, targets=shown.targets), tuf


def reopen_documents(anchor: Anchor, *, ca: str, root: str) -> TrustedTuf | None:
    """Return what is kept of a fleet's trust documents; None if they are not those that the join string pins now."""
    try:
        find_anchor(anchor.ca, ca)
        return TrustedTuf.from_bytes(anchor.root, anchor.targets, root_sha256=root)
    except TrustError:
        return None
