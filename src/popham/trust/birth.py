"""What a machine is shown that may not dial out, before it belongs to a fleet: the fleet's trust documents, as JSON.

Whoever can reach the machine can show it some; it believes those that its join string pins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from popham.errors import EnrollmentError, TrustError, VisitError
from popham.model.names import canonical
from popham.trust.document import parse_strict

DOCUMENTS_LIMIT = 2 * 1024 * 1024
"""Bytes of all of them: root and targets may have 512 KiB each, written as text within text."""
BESIDE_LIMIT = 64 * 1024
"""Bytes of whatever else stands beside them; what is read strictly costs time, and anybody may send it."""
_KEYS = ("ca", "root", "targets")
_SENTENCE = re.compile(
    r"(?P<problem>.{1,500}) \(enrollment\.(?P<reason>[a-z_]{1,40})\)(?:\. (?P<hint>.{1,500}))?"
)


class _Texts(msgspec.Struct):
    """The documents as they travel."""

    ca: str
    root: str
    targets: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingDocuments:
    """A fleet's trust documents; nothing in them has been verified.

    Attributes:
        ca: Certificates of the CA, PEM, the issuing one first.
        root, targets: TUF metadata, byte for byte: the root's digest is pinned.
    """

    ca: bytes
    root: bytes
    targets: bytes

    def encode(self) -> bytes:
        """Return the documents as they travel."""
        return canonical({key: getattr(self, key).decode() for key in _KEYS})

    @classmethod
    def parse(cls, data: bytes) -> FoundingDocuments:
        """Return what travelled; keys that this program does not know are ignored.

        Raises:
            TrustError: ``trust.size``; ``trust.document``: these are no trust documents.
        """
        if len(data) > DOCUMENTS_LIMIT:
            problem = f"the trust documents have {len(data)} bytes; {DOCUMENTS_LIMIT} are allowed"
            raise TrustError("size", problem)
        try:
            found = msgspec.json.decode(data, type=_Texts)
            beside = len(data) - len(msgspec.json.encode(found))
            if beside <= BESIDE_LIMIT:
                parse_strict(data)
                return cls(**{key: getattr(found, key).encode() for key in _KEYS})
        except (ValueError, RecursionError) as error:
            raise TrustError("document", f"the trust documents are malformed: {error}") from error
        raise TrustError("document", f"{beside} bytes stand beside the trust documents")


class AlreadyBorn(VisitError):  # noqa: N818  # it names a state
    """Whoever was asked to be born belongs to a fleet already.

    Attributes:
        uid: Its instance_uid, by its own words.
        certificate: Its certificate (PEM), for a fleet that knows another key of it; empty if it shows none.
    """

    uid = ""
    certificate = b""

    @classmethod
    def of(cls, uid: str, certificate: bytes = b"") -> AlreadyBorn:
        """Return the error of an agent."""
        problem = "this machine belongs to a fleet already"
        found = AlreadyBorn("born", problem, "Visit it as the agent that it is", status=409)
        found.uid, found.certificate = uid, certificate
        return found


def read_refusal(text: str) -> EnrollmentError:
    """Return an upstream's refusal of an enrollment: its own error, where the sentence has the form of one."""
    found = _SENTENCE.fullmatch(text)
    if found is None:
        return EnrollmentError("refused", text[:1000] or "upstream refuses this machine")
    return EnrollmentError(found["reason"], found["problem"], found["hint"] or "")
