"""Operations: one-shot orders, each with an expiry and a result per agent. Pure.

Rules:

1. One signed document per target and operation; an agent obeys its nonce at most once, across restarts.
2. An operation lives for :data:`LIFETIME`, or three promises of its target where that is longer: who comes by
   heartbeat has the chance to hear of it.
3. A state never goes back; the last five are ends.
4. Where nobody can know whether it was done, its state is *unknown*, and nothing repeats it.

Source: guarantees 3.3 (command/1), design 7 (lifetimes follow heartbeats), row F.O4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from popham.errors import PophamError, WireError
from popham.model.names import DEFAULT_TENANT, canonical, check_name, parse_json

OPERATION_TYPE: Final = "application/vnd.popham.operation.v1+json"
RESULT_TYPE: Final = "application/vnd.popham.result.v1+json"
LIFETIME: Final = 600.0
"""Seconds that an operation lives at least. Source: guarantees 3.3."""
PROMISES: Final = 3.0
"""Promises of its target that it lives at least. Source: design 7."""
LIFETIME_MAX: Final = 30 * 86_400.0
"""Seconds that somebody may give it; three of the longest heartbeats are below that."""
SENTENCE: Final = 1000
"""Characters of what a result says, and of the excerpt of its output."""
OUTPUT_LIMIT: Final = 1024 * 1024
"""Bytes of one output."""
DOCUMENTS: Final = 4
"""Documents of operations in one directive, and results in one report, at most."""
_NONCE = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"op[1-9][0-9]{0,11}")
_CODE = re.compile(r"[a-z_]{1,40}\.[a-z_0-9]{1,40}")
_NUMBER_END = 2**53


class Kind(StrEnum):
    """What an operation orders."""

    CHECK_IN = "check-in"
    APPLY = "apply"
    COLLECT = "collect"
    RESTART = "restart"
    DIAGNOSE = "diagnose"
    PAUSE_COLLECTION = "pause-collection"
    RESUME_COLLECTION = "resume-collection"
    ROTATE_KEY = "rotate-key"
    RUN = "run"
    SEND = "send"
    """Follows what targets are to have until they have it. Upstream does that by itself: no document says it."""
    CANCEL = "cancel"
    """Takes back another operation of the same target, by its nonce; never asked for by itself."""


ORDERED: Final = tuple(kind for kind in Kind if kind not in {Kind.SEND, Kind.CANCEL})
"""What people can order of agents."""
_DOCUMENTED: Final = frozenset(kind for kind in Kind if kind is not Kind.SEND)


class OperationState(StrEnum):
    """How far an operation is at one target."""

    QUEUED = "queued"
    """Not told to the agent yet."""
    SENT = "sent"
    """Told to the agent, which has not said that it began."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """Its process ended while it ran, and nobody can know whether it was done."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self not in _OPEN


_OPEN = frozenset({OperationState.QUEUED, OperationState.SENT, OperationState.RUNNING})
SAID: Final = frozenset(OperationState) - {OperationState.QUEUED, OperationState.SENT}
"""States that an agent may say."""


def lifetime_for(promise: float, asked: float | None = None) -> float:
    """Return the seconds that an operation lives at a target with this promise, or what somebody asked for."""
    if asked is not None:
        return min(max(asked, 1.0), LIFETIME_MAX)
    return min(max(LIFETIME, PROMISES * promise), LIFETIME_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An order to one agent, as it is signed.

    Attributes:
        uid: instance_uid of the agent, as a UUID string.
        operation: Its name, such as ``op12``.
        kind: What is ordered; None in a document that was read, for a kind that this program does not know.
        nonce: 32 hexadecimal digits, drawn for this target; obeyed at most once.
        issued: Unix seconds of the signing.
        expires: Unix seconds after which nobody begins it.
        args: What the kind needs: ``apply`` {"group", "serial", "rollout"}; ``run`` {"name"};
            ``cancel`` {"nonce"}; others nothing.
    """

    uid: str
    operation: str
    kind: Kind | None
    nonce: str
    issued: int
    expires: int
    args: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = DEFAULT_TENANT

    def payload(self) -> bytes:
        """Return the bytes to sign."""
        return canonical(
            {
                "tenant": self.tenant,
                "uid": self.uid,
                "operation": self.operation,
                "kind": str(self.kind),
                "nonce": self.nonce,
                "issued": self.issued,
                "expires": self.expires,
                "args": dict(self.args),
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Operation:
        """Return the operation in ``payload``; unknown fields are ignored.

        Raises:
            WireError: ``wire.operation``: it is none.
        """
        try:
            data = parse_json(payload)
            kind = _text(data, "kind", 64)
            args = data["args"]
            if not isinstance(args, dict) or len(args) > 16:
                raise TypeError("args are no map")  # noqa: TRY301  # one sentence for all that is malformed
            return cls(
                uid=_text(data, "uid", 64),
                tenant=_text(data, "tenant", 64),
                operation=_match(data, "operation", _NAME),
                kind=Kind(kind) if kind in _DOCUMENTED else None,
                nonce=_match(data, "nonce", _NONCE),
                issued=_number(data, "issued"),
                expires=_number(data, "expires"),
                args=args,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WireError("operation", f"the operation is malformed: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What an operation printed or made, kept on the machine until upstream has it.

    Attributes:
        sha256: Its digest, hexadecimal.
        length: Bytes, at most :data:`OUTPUT_LIMIT`.
        left_out: Bytes that were not kept.
    """

    sha256: str
    length: int
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an agent says about an operation, as it signs it.

    Attributes:
        uid, operation, nonce: As in the :class:`Operation`.
        state: One of :data:`SAID`.
        revision: Rises with each that is said of this nonce, from 1.
        code: Why it failed, ``area.reason``; empty if it did not.
        text: A sentence for people, or the first of what was printed.
        began, ended: Unix seconds by the machine's clock; 0 for not yet.
        output: What is to be had; None if there is nothing more than ``text``.
    """

    uid: str
    operation: str
    nonce: str
    state: OperationState
    revision: int
    code: str = ""
    text: str = ""
    began: float = 0.0
    ended: float = 0.0
    output: Output | None = None
    tenant: str = DEFAULT_TENANT

    def payload(self) -> bytes:
        """Return the bytes to sign."""
        found: dict[str, Any] = {
            "tenant": self.tenant,
            "uid": self.uid,
            "operation": self.operation,
            "nonce": self.nonce,
            "state": str(self.state),
            "revision": self.revision,
            "code": self.code,
            "text": self.text,
            "began": self.began,
            "ended": self.ended,
        }
        if self.output is not None:
            found["output"] = {
                "sha256": self.output.sha256,
                "length": self.output.length,
                "left_out": self.output.left_out,
            }
        return canonical(found)

    @classmethod
    def from_payload(cls, payload: bytes) -> Result:
        """Return the result in ``payload``; unknown fields are ignored.

        Raises:
            WireError: ``wire.result``: it is none.
        """
        try:
            data = parse_json(payload)
            state = OperationState(_text(data, "state", 32))
            if state not in SAID:
                raise ValueError("an agent cannot say that state")  # noqa: TRY301  # one sentence for all
            code = _text(data, "code", 100)
            if code and not _CODE.fullmatch(code):
                raise ValueError("code is of another form")  # noqa: TRY301  # likewise
            return cls(
                uid=_text(data, "uid", 64),
                tenant=_text(data, "tenant", 64),
                operation=_match(data, "operation", _NAME),
                nonce=_match(data, "nonce", _NONCE),
                state=state,
                revision=_number(data, "revision"),
                code=code,
                text=_text(data, "text", SENTENCE),
                began=_seconds(data, "began"),
                ended=_seconds(data, "ended"),
                output=_output(data.get("output")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WireError("result", f"the result of an operation is malformed: {error}") from error


def check_args(kind: Kind, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that an operation of this kind needs.

    Raises:
        WireError: ``wire.operation``: they are missing, or of another kind.
    """
    try:
        match kind:
            case Kind.APPLY:
                group = check_name(args["group"], "group")
                return {
                    "group": group,
                    "serial": _number(args, "serial"),
                    "rollout": _text(args, "rollout", 64),
                }
            case Kind.RUN:
                return {"name": check_name(args["name"], "command")}
            case Kind.CANCEL:
                return {"nonce": _match(args, "nonce", _NONCE)}
            case _:
                return {}
    except (KeyError, TypeError, ValueError, PophamError) as error:
        why = error.problem if isinstance(error, PophamError) else error
        raise WireError("operation", f"the arguments of {kind} are malformed: {why}") from error


def _output(data: Any) -> Output | None:
    if data is None:
        return None
    length = _number(data, "length")
    if length > OUTPUT_LIMIT:
        raise ValueError("the output is too large")
    return Output(sha256=_match(data, "sha256", _SHA256), length=length, left_out=_number(data, "left_out"))


def _text(data: Mapping[str, Any], name: str, limit: int) -> str:
    value = data[name]
    if not isinstance(value, str) or len(value) > limit:
        raise TypeError(f"{name} is no text, or too long")
    return value


def _match(data: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = _text(data, name, 64)
    if not form.fullmatch(value):
        raise ValueError(f"{name} is of another form")
    return value


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data[name]
    if type(value) is not int or not 0 <= value < _NUMBER_END:
        raise TypeError(f"{name} is no number, or out of range")
    return value


def _seconds(data: Mapping[str, Any], name: str) -> float:
    value = data[name]
    if type(value) not in {int, float} or not 0 <= value < _NUMBER_END:
        raise TypeError(f"{name} is no time")
    return float(value)
