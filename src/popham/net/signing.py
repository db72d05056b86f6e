"""Signatures of requests and answers where the Manager dials: RFC 9421, one profile of it.

A web server may stand between, end TLS and rewrite authority and path; so neither is signed, and nothing
is believed that is not.  A request is signed over its method, query, body, audience and operation, and over a
nonce that the agent gave; an answer over its status, body and next nonce, and over the signature of the request
that it answers, so that no answer serves for another request.

Rules:

1. The algorithm follows from the key that is expected, never from the message (SEC-50).
2. A time in a signature is for people who read it; a clock that is wrong by a year blocks nothing.  What makes
   a request fresh is the nonce.
3. A frame on a held link is signed over the link's own nonce, its direction and its number there, so none is
   moved, repeated, left out or played to another link.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)

from popham.errors import VisitError

AUDIENCE = "Popham-Audience"
"""Header: instance_uid of the agent that is meant, or :data:`ANYBODY`."""
OPERATION = "Popham-Operation"
"""Header: what the request is for."""
VISITOR = "Popham-Visitor"
"""Header of a request of a Proxy Manager: base64 of the statement that its key may visit. It is signed by itself."""
NEXT = "Popham-Nonce"
"""Header of an answer: the nonce of the next request."""
ANYBODY = "anybody"
"""Audience of what an agent is asked before its instance_uid is known."""
STALE = 428
"""Status of an answer that only brings a nonce, since the request's was missing or old. Source: RFC 6585."""
NONCE_MAX = 64
"""Characters of a nonce."""
FRAME_SIGNATURE = 64
"""Bytes of a signature before a frame, by either kind of key."""

_ASKED = ("@method", "@query", "content-digest", AUDIENCE.lower(), OPERATION.lower())
_ANSWERED = ("@status", "content-digest", NEXT.lower(), '"signature";req', '"signature-input";req')
_IN_ASKED, _IN_ANSWERED = (
    frozenset(name if name.startswith('"') else f'"{name}"' for name in names)
    for names in (_ASKED, _ANSWERED)
)
"""The same as they stand in what is signed."""
_ASK_TAG, _ANSWER_TAG, _LABEL = "popham-visit/1", "popham-answer/1", "popham"
_SIGNED = frozenset({"signature", "signature-input", "content-digest", AUDIENCE.lower(), OPERATION.lower()})
_CONTEXT = b"popham frame 1\0"
_NONCE = re.compile(rf"[\x21\x23-\x5b\x5d-\x7e]{{1,{NONCE_MAX}}}")

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey
Find = Callable[[str], PublicKey | None]
"""keyid → the key that is believed under it; None for nobody's."""


class Operation(StrEnum):
    """What a request to an agent's service is for."""

    VISIT = "visit"
    """An exchange of a visit: body ServerToAgent or nothing, answered by AgentToServer."""
    BIRTH = "birth"
    """The trust documents of a fleet, for an agent that waits for them."""
    CONTENT = "content"
    """A body that a bundle names; its digest is in the query."""
    OUTPUT = "output"
    """Asks for the output of an operation; its digest is in the query."""
    STREAM = "stream"
    """Asks for frames of a stream, which is in the query: body Standing, how far the visitor is with it."""
    RELAY = "relay"
    """A message of a relay to a Proxy Manager: body RelayDown, answered by RelayUp."""
    HOLD = "hold"
    """The upgrade to a held link."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of a request that signatures know.

    Attributes:
        method: In upper case.
        query: As it stands in the URL, without ``?``.
        headers: Those that are signed, and the signature.
        body: Content, not compressed.
    """

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def url(self) -> str:
        """An URL with this query, in the form that the library reads; authority and path are nobody's."""
        # Percent-encoded as it was; what no URL may hold is encoded, and fails the signature.
        return "http://agent/?" + quote(self.query, safe="%:/?#[]@!$&'()*+,;=-._~")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a signed request says.

    Attributes:
        keyid: Of the key that signed.
        audience: Whom it is for.
        operation: What it is for.
        nonce: Of the agent's; empty if the sender has none.
        created: Unix seconds by the sender's clock; for people.
    """

    keyid: str
    audience: str
    operation: Operation
    nonce: str
    created: int


@dataclass(frozen=True, slots=True)
class Answered:
    """What a signed answer says: by which key, the next nonce, and the agent's clock (unix seconds, whole)."""

    keyid: str
    nonce: str
    created: int = 0


@dataclass(slots=True)
class _Answer:
    status_code: int
    headers: dict[str, str]
    request: Asked


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, find: Find) -> None:
        self._find = find

    def resolve_public_key(self, key_id: str) -> Any:
        return self._find(key_id)


class _Timeless(HTTPMessageVerifier):
    """Does not look at the clock."""

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Accept any time."""


def sign_request(
    key: PrivateKey,
    keyid: str,
    *,
    method: str,
    query: str = "",
    body: bytes = b"",
    audience: str,
    operation: Operation,
    nonce: str,
    now: float,
) -> Asked:
    """Return the request with the headers to send.

    Args:
        key: Who asks.
        keyid: Its id.
        method: ``POST``, or ``GET`` for an upgrade.
        query: As it will stand in the URL.
        body: Content.
        audience: instance_uid, or :data:`ANYBODY`.
        operation: What it is for.
        nonce: Of the agent's last answer; empty if there is none.
        now: Unix seconds.
    """
    headers = {AUDIENCE: audience, OPERATION: str(operation)}
    asked = Asked(method, query, headers, body)
    headers |= _sign(key, keyid, asked, nonce=nonce, now=now, tag=_ASK_TAG, components=_ASKED, body=body)
    return asked


def show_visitor(asked: Asked, statement: bytes) -> Asked:
    """Return a signed request with a visitor ``statement`` beside it; as it is, if there is none."""
    if not statement:
        return asked
    return replace(asked, headers={**asked.headers, VISITOR: base64.b64encode(statement).decode()})


def read_asked(method: str, query: str, headers: Mapping[str, str], body: bytes) -> Asked:
    """Return a request as it came; of its headers those that signatures know."""
    held = {name: value for name, value in headers.items() if name.lower() in _SIGNED}
    return Asked(method, query, held, body)


def open_request(asked: Asked, find: Find) -> Claim:
    """Return what a request says, once its signature is verified.

    Raises:
        VisitError: ``visit.signature``: it has none, or not one of somebody who is believed.
    """
    found = _verify(asked, find, Ed25519PublicKey, tag=_ASK_TAG, components=_IN_ASKED, body=asked.body)
    values = {name.lower(): value for name, value in asked.headers.items()}
    try:
        operation = Operation(values[OPERATION.lower()])
    except ValueError:
        problem = "the request is for an operation that is not known here"
        raise VisitError("signature", problem, "Upgrade this agent") from None
    return Claim(
        keyid=str(found["keyid"]),
        audience=values[AUDIENCE.lower()],
        operation=operation,
        nonce=str(found.get("nonce", "")),
        created=int(found.get("created", 0)),
    )


def sign_answer(
    key: PrivateKey, keyid: str, asked: Asked, *, status: int, body: bytes, nonce: str, now: float
) -> dict[str, str]:
    """Return the headers that make ``body`` the answer to ``asked`` and to nothing else.

    A request without a signature is answered without one: nobody could say what it answers.
    """
    answer = _Answer(status, {NEXT: nonce}, asked)
    if not {"signature", "signature-input"} <= {name.lower() for name in asked.headers}:
        return answer.headers
    signed = _sign(key, keyid, answer, nonce="", now=now, tag=_ANSWER_TAG, components=_ANSWERED, body=body)
    return answer.headers | signed


def open_answer(
    asked: Asked, *, status: int, headers: Mapping[str, str], body: bytes, find: Find
) -> Answered:
    """Return who answered, and the next nonce, once the signature is verified.

    Raises:
        VisitError: ``visit.signature``: it is not signed by the key that is expected, or answers another request.
    """
    kept = {name: value for name, value in headers.items() if name.lower() in _SIGNED | {NEXT.lower()}}
    answer = _Answer(status, kept, asked)
    found = _verify(answer, find, EllipticCurvePublicKey, tag=_ANSWER_TAG, components=_IN_ANSWERED, body=body)
    values = {name.lower(): value for name, value in kept.items()}
    return Answered(str(found["keyid"]), usable_nonce(values[NEXT.lower()]), int(found.get("created", 0)))


def usable_nonce(text: str) -> str:
    """Return a nonce that came; empty where it is none that could be sent again, so that the next request has none."""
    return text if _NONCE.fullmatch(text) else ""


class Frames:
    """Signs what goes one way over a held link, and checks what comes the other way."""

    def __init__(self, key: PrivateKey, theirs: PublicKey, *, nonce: str, up: bool) -> None:
        """Begin with the first frame of each direction.

        Args:
            key: This end's.
            theirs: The other end's.
            nonce: Of the request that opened the link.
            up: Whether this end is the agent, and speaks upwards.
        """
        self._sign = _algorithm(key)(private_key=key)
        self._check = _algorithm(theirs)(public_key=theirs)
        self._link = nonce.encode()
        self._up = up
        self._sent = self._taken = 0

    def seal(self, message: bytes) -> bytes:
        """Return ``message`` as the next frame."""
        signed = self._sign.sign(self._signed(message, self._sent, up=self._up))
        self._sent += 1
        return bytes(signed) + message

    def open(self, data: bytes) -> bytes:
        """Return the message in the next frame.

        Raises:
            VisitError: ``visit.signature``: it is not the other end's next one; the link is of no use any more.
        """
        signature, message = data[:FRAME_SIGNATURE], data[FRAME_SIGNATURE:]
        try:
            self._check.verify(signature, self._signed(message, self._taken, up=not self._up))
        except Exception as error:  # the library has several, and lets those of the keys through
            problem = "a frame of the held link is not signed by the other end"
            hint = "Something between the two changes what they say"
            raise VisitError("signature", problem, hint) from error
        self._taken += 1
        return message

    def _signed(self, message: bytes, number: int, *, up: bool) -> bytes:
        way = b"u" if up else b"d"
        return (
            _CONTEXT
            + way
            + number.to_bytes(8, "big")
            + len(self._link).to_bytes(2, "big")
            + self._link
            + message
        )


def _sign(
    key: PrivateKey,
    keyid: str,
    message: Asked | _Answer,
    *,
    nonce: str,
    now: float,
    tag: str,
    components: tuple[str, ...],
    body: bytes,
) -> dict[str, str]:
    """Return the headers that sign ``message``, which gets its digest.

    The library says what is signed; to write two headers it would read all of that once more, for those who let
    others sign meanwhile.  Source: measured; that takes as long again.
    """
    algorithm = _algorithm(key)
    prepared = HTTPMessageSigner(signature_algorithm=algorithm).prepare(
        message,
        key_id=keyid,
        created=dt.datetime.fromtimestamp(now, dt.UTC),
        nonce=nonce or None,
        label=_LABEL,
        tag=tag,
        covered_component_ids=components,
        body=body,
    )
    signature = base64.b64encode(algorithm(private_key=key).sign(prepared.signature_base)).decode()
    return {
        "Signature-Input": f"{_LABEL}={prepared.signature_params}",
        "Signature": f"{_LABEL}=:{signature}:",
    }


def _verify(
    message: Asked | _Answer,
    find: Find,
    kind: type[Any],
    *,
    tag: str,
    components: frozenset[str],
    body: bytes,
) -> dict[str, Any]:
    """Return the parameters of the one signature that ``message`` has to have."""
    algorithm = algorithms.ED25519 if kind is Ed25519PublicKey else algorithms.ECDSA_P256_SHA256
    verifier = _Timeless(signature_algorithm=algorithm, key_resolver=_Keys(find))
    try:
        (found,) = verifier.verify(message, max_age=None, expect_tag=tag, body=body)
    except (HTTPMessageSignaturesException, ValueError, TypeError, KeyError) as error:
        raise _broken(str(error)[:200] or type(error).__name__) from error
    if not components <= found.covered_components.keys():
        raise _broken("it leaves out what has to be signed")
    return dict(found.parameters)


def _broken(reason: str) -> VisitError:
    hint = "Something between the two changes what they say, or this is another fleet's"
    return VisitError("signature", f"the signature does not hold: {reason}", hint)


def _algorithm(key: PrivateKey | PublicKey) -> type[Any]:
    if isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        return algorithms.ED25519
    return algorithms.ECDSA_P256_SHA256
