"""What an answer to a visit says: who signed it, and what its refusal means."""

from __future__ import annotations

import json
import re
from typing import Any

from popham.errors import VisitError
from popham.net.signing import Answered, Asked, PublicKey, open_answer
from popham.net.visiting import Reply
from popham.trust.keys import PublicKey as TrustedKey

_SENTENCE = 500
_CODE = re.compile(r"[a-z_]{1,40}\.[a-z_0-9]{1,40}")


def open_reply(asked: Asked, reply: Reply, key: bytes) -> Answered:
    """Return what a signed answer says, if ``key`` signed it."""
    expected = TrustedKey.from_der(key)

    def find(keyid: str) -> PublicKey | None:
        return expected.crypto if keyid == expected.keyid else None

    return open_answer(asked, status=reply.status, headers=reply.headers, body=reply.body, find=find)


def refusal_of(reply: Reply) -> VisitError:
    """Return the agent's own refusal, as far as it has the form of one."""
    try:
        said: dict[str, Any] = json.loads(reply.body)
        code, problem, hint = (_plain(said.get(name, "")) for name in ("code", "detail", "hint"))
    except (ValueError, AttributeError, RecursionError):
        code, problem, hint = "", "", ""
    code = code if _CODE.fullmatch(code) else ""
    reason = code.removeprefix("visit.") if code.startswith("visit.") else "failed"
    told = problem or f"the agent's service answers with status {reply.status}"
    if not code.startswith("visit.") and code:
        told = f"{told} ({code})"
    return VisitError(reason, told, hint or "See the log of the agent", status=reply.status)


def _plain(text: object) -> str:
    """Return what an agent said as one line of bounded length, without what could command a terminal."""
    return "".join(c for c in str(text) if c.isprintable())[:_SENTENCE]


def claimed_key(reply: Reply) -> str:
    """Return the keyid that an answer names, which nobody has proven."""
    _, _, rest = header_of(reply, "signature-input").partition('keyid="')
    return rest.partition('"')[0][:128]


def header_of(reply: Reply, name: str) -> str:
    """Return a header of an answer by its name in lower case; empty if it is missing."""
    return next((value for key, value in reply.headers.items() if key.lower() == name), "")


def restless() -> VisitError:
    """Return the error for an agent whose nonces are always old."""
    problem = "the agent takes none of the nonces it gives"
    return VisitError("nonce", problem, "Look whether several agents answer at one address")
