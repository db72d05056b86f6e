"""Why no message went through, as one sentence each.

A person who reads the sentence knows which host and port, what failed, and what to do; a
driver reads ``code``, ``status``, ``retry_after`` and ``retryable``.
"""

from __future__ import annotations

import email.utils
import errno
import re
import ssl
from datetime import UTC

import aiohttp

from popham.errors import LinkError
from popham.net.seam import FULL

LONGEST_WAIT = 86_400.0
"""Seconds of the longest Retry-After that is believed."""

# OpenSSL's X509_V_ERR numbers. Source: openssl x509_vfy.h.
EXPIRED, NOT_YET, SELF_SIGNED, SELF_SIGNED_CHAIN, NO_ISSUER, NO_CHAIN = 10, 9, 18, 19, 20, 21
WRONG_NAME, WRONG_ADDRESS = 62, 64

_RETRY = re.compile(r"retry-after=(\d{1,6}(?:\.\d{1,3})?)")
_ALERT = re.compile(r"ALERT_([A-Z_]+)")

_NAME_STEP = "Use a name that its certificate carries; a Proxy Manager's has the 'names' of its definition"
CERTIFICATE = {
    EXPIRED: (
        "its certificate has expired",
        "Renew the Manager's certificate; if it is valid, correct this machine's clock",
    ),
    NOT_YET: ("its certificate is not valid yet", "Correct the clock of this machine or of the Manager"),
    WRONG_NAME: ("its certificate is for another name", _NAME_STEP),
    WRONG_ADDRESS: ("its certificate is for another name", _NAME_STEP),
}
WRONG_CA = (
    "its certificate comes from another authority than the one this agent trusts",
    "Check that this is the right Manager; if it was set up anew, enroll again",
)

CUT = "Over TLS an agent's certificate that has expired or is of another authority is refused like this"
"""Hint for a connection cut short: asyncio's TLS ends a failed handshake without its alert."""

REFUSED = {
    errno.ECONNREFUSED: (
        "the connection was refused",
        "Check that the Manager runs and listens on this port",
    ),
    errno.ENETUNREACH: ("there is no route to it", "Check this machine's network"),
    errno.EHOSTUNREACH: ("there is no route to it", "Check this machine's network"),
    errno.ECONNRESET: ("the connection was reset", CUT),
    errno.ETIMEDOUT: ("the connection timed out", "Check that a firewall lets this port through"),
}


class TooLargeError(LinkError):
    """What was sent is larger than the other end takes: the same again will fail again."""

    retryable = False


def too_large(where: str, *, status: int) -> TooLargeError:
    """Return the error for a message that the other end refused for its size."""
    return TooLargeError(
        "too_large", f"{where} takes no message of this size", "Raise its limit or send less", status=status
    )


def explain(error: Exception, where: str, *, seconds: float) -> LinkError:  # noqa: PLR0911 - one return per kind of failure
    """Return what went wrong at ``where`` (host:port), from what aiohttp or the system raised.

    Args:
        error: What was raised.
        where: Host and port, as people read them.
        seconds: How long was waited, for the sentence about time.
    """
    if isinstance(error, LinkError):
        return error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate(error.certificate_error, where)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _unreachable(where, "its name was not found", "Check the name and this machine's DNS")
    broken = _tls(error, where)
    if broken is not None:
        return broken
    if isinstance(error, TimeoutError):
        return _unreachable(
            where, f"it did not answer within {seconds:g} s", "Check the network, then the Manager"
        )
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return strange(where, error.status, "it does not upgrade to a WebSocket")
    if isinstance(error, OSError) and error.errno in REFUSED:
        return _unreachable(where, *REFUSED[error.errno])
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | ConnectionError):
        return _unreachable(
            where, "the connection ended before the answer did", "Try again; see the Manager's log"
        )
    return _unreachable(where, f"the connection failed ({type(error).__name__})", "Check the network")


def strange(where: str, status: int, problem: str) -> LinkError:
    """Return the error for an answer that no Manager gives."""
    hint = "Check the address: something else may answer there"
    return LinkError("unexpected", f"{where} answered, but {problem}", hint, status=status)


async def refusal(response: aiohttp.ClientResponse, where: str) -> LinkError:
    """Return the error for an HTTP answer of another status than wanted, with what it says."""
    status = response.status
    wait = retry_after(response.headers.get("Retry-After", ""), date=response.headers.get("Date", ""))
    said = await _text(response)
    if status == 413:
        return too_large(where, status=status)
    if status in {401, 403}:
        problem = f"{where} refused this agent" + (f": {said}" if said else "")
        hint = "See the agent's admission with 'popham get agents', or enroll again"
        return LinkError("denied", problem, hint, retry_after=wait, status=status)
    if status == 503 and FULL in said:
        problem = f"{where} holds no more links"
        return LinkError("full", problem, "It is asked again later", retry_after=wait, status=status)
    if status in {429, 503}:
        problem = f"{where} is busy" + (f": {said}" if said else "")
        return LinkError("busy", problem, "It will be tried again later", retry_after=wait, status=status)
    if 300 <= status < 400:
        return strange(where, status, f"it redirects (HTTP {status}), which is not followed")
    return strange(where, status, f"with HTTP {status}" + (f": {said}" if said else ""))


def closed(where: str, code: int, reason: str) -> LinkError:
    """Return the error for a held link that the other end closed, or that broke."""
    if code == 1009:
        return too_large(where, status=code)
    if code == 1008:
        return LinkError("denied", f"{where} closed the link: {reason or 'refused'}", status=code)
    match = _RETRY.search(reason)
    wait = min(float(match[1]), LONGEST_WAIT) if match else None
    if code in {1012, 1013}:
        why = "restarts" if code == 1012 else "is busy"
        return LinkError("busy", f"{where} {why} and closed the link", retry_after=wait, status=code)
    said = f" ({reason})" if reason else ""
    return LinkError(
        "closed", f"The link to {where} ended with code {code}{said}", retry_after=wait, status=code
    )


def retry_after(text: str, *, date: str = "") -> float | None:
    """Return Retry-After in seconds, from seconds or a date; None if absent or meaningless.

    Args:
        text: The header.
        date: The Date header beside it: what a date is counted from, so that no clock of ours matters.
    """
    value = text.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_WAIT)
    then, now = read_date(value), read_date(date)
    if then is None or now is None:
        return None
    return min(max(0.0, then - now), LONGEST_WAIT)


def read_date(text: str) -> float | None:
    """Return an HTTP date in seconds since the epoch; None if it is none."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _certificate(error: Exception, where: str) -> LinkError:
    """Return which rule the other end's certificate broke."""
    number = getattr(error, "verify_code", 0)
    if number in {SELF_SIGNED, SELF_SIGNED_CHAIN, NO_ISSUER, NO_CHAIN}:
        problem, hint = WRONG_CA
    else:
        problem, hint = CERTIFICATE.get(
            number, (f"its certificate was not accepted ({getattr(error, 'verify_message', error)})", "")
        )
    return LinkError("tls", f"{where} cannot be trusted: {problem}", hint)


def _tls(error: BaseException, where: str) -> LinkError | None:
    """Return the TLS failure behind an error, or None if there is none."""
    found: BaseException | None = error
    for _ in range(5):
        if found is None:
            return None
        if isinstance(found, ssl.SSLCertVerificationError):
            return _certificate(found, where)
        if isinstance(found, ssl.SSLError):
            return _alert(str(found), where)
        inner = getattr(found, "os_error", None)
        found = inner if isinstance(inner, BaseException) else found.__cause__ or found.__context__
    return None


def _alert(text: str, where: str) -> LinkError:
    """Return what a TLS alert or a failed handshake means."""
    alert = _ALERT.search(text)
    said = alert[1].lower().replace("_", " ") if alert else ""
    if "PROTOCOL_VERSION" in text or "UNSUPPORTED_PROTOCOL" in text:
        return LinkError("tls", f"{where} does not speak TLS 1.3", "Update what answers there")
    if "certificate" in said or "unknown ca" in said:
        hint = "The certificate may have expired or been revoked; enroll again"
        return LinkError("tls", f"{where} did not accept this agent's certificate ({said})", hint)
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text or "RECORD_LAYER_FAILURE" in text:
        return LinkError(
            "tls", f"{where} does not speak TLS", "Check the port, or use http:// if that is meant"
        )
    return LinkError(
        "tls", f"The TLS handshake with {where} failed ({said or text})", "See the Manager's log"
    )


def _unreachable(where: str, problem: str, hint: str) -> LinkError:
    return LinkError("unreachable", f"{where} cannot be reached: {problem}", hint)


async def _text(response: aiohttp.ClientResponse) -> str:
    """Return the first line of a refusal's body, at most 500 characters, printable only."""
    data = await response.content.read(2_000)
    lines = data.decode(errors="replace").strip().splitlines()
    return "".join(c for c in lines[0] if c.isprintable())[:500] if lines else ""
