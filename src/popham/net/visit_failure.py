"""Why an agent could not be visited: one code, one sentence and one next step each.

A person who reads it can tell a dead host from a service that is off, an alias that is wrong, a web proxy that
wants a password, and something that is no agent at all.
"""

from __future__ import annotations

import errno
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from popham.errors import VisitError
from popham.net.failure import (
    EXPIRED,
    NO_CHAIN,
    NO_ISSUER,
    NOT_YET,
    SELF_SIGNED,
    SELF_SIGNED_CHAIN,
    WRONG_ADDRESS,
    WRONG_NAME,
    retry_after,
)

START = "popham agent service start"
"""The command that starts the service of an agent."""

_PLAIN_TO_TLS = "plain http"
"""What nginx and Apache say, in whatever case, to a request without TLS on a port with it."""

_NO_ROUTE = {
    errno.ENETUNREACH: ("there is no route to it", "Check this machine's network"),
    errno.EHOSTUNREACH: ("there is no route to it", "Check that the machine runs, and the network to it"),
    errno.ETIMEDOUT: ("the connection timed out", "Check that a firewall lets this port through"),
    errno.ECONNRESET: ("the connection was reset", "Try again; see the agent's log, and the web server's"),
    errno.EACCES: ("this machine forbids the connection", "Check the firewall of this machine"),
    errno.EPERM: ("this machine forbids the connection", "Check the firewall of this machine"),
}

_CERTIFICATE = {
    EXPIRED: ("its certificate has expired", "Renew the web server's certificate, or correct a clock"),
    NOT_YET: ("its certificate is not valid yet", "Correct the clock of this machine or of that one"),
    WRONG_NAME: (
        "its certificate is for another name",
        "Use a name that its certificate carries, or tls: agent",
    ),
    WRONG_ADDRESS: (
        "its certificate is for another name",
        "Use a name that its certificate carries, or tls: agent",
    ),
}
_WRONG_CA = (
    "its certificate comes from an authority that is not trusted for it",
    "For a web server with its own certificate set tls: web and its ca; otherwise this is another fleet's agent",
)


@dataclass(frozen=True, slots=True)
class Spot:
    """Who is dialled, for sentences.

    Attributes:
        where: Host and port.
        path: ``{prefix}/v1/visit``.
        secure: Whether TLS is spoken.
        http_proxy: Host and port of the web proxy; empty for none.
        port: Of the agent.
    """

    where: str
    path: str
    secure: bool
    http_proxy: str
    port: int

    @property
    def through(self) -> str:
        """The web proxy as part of a sentence; empty for none."""
        return f" through the web proxy {self.http_proxy}" if self.http_proxy else ""


def explain(error: Exception, spot: Spot, *, seconds: float, connected: bool, size: int = 0) -> VisitError:
    """Return what went wrong, from what aiohttp or the system raised.

    Args:
        error: What was raised.
        spot: Who was dialled.
        seconds: How long was waited, for the sentence about time.
        connected: Whether there was a connection already.
        size: Bytes of the answer's body that had come.
    """
    if isinstance(error, VisitError):
        return error
    found = _on_the_way(error, spot) or _tls(error, spot) or _no_http(error, spot)
    if found is not None:
        return found
    if isinstance(error, TimeoutError) and error.errno is None:
        return slow(spot, seconds, size) if connected else _late(spot, seconds)
    return _lost(error, spot, connected=connected)


def refusal(  # noqa: PLR0911 - one return per kind of answer
    spot: Spot, status: int, headers: Mapping[str, str], text: str
) -> VisitError:
    """Return what an answer means that no agent has signed.

    Args:
        spot: Who was dialled.
        status: HTTP status.
        headers: By name in lower case.
        text: The beginning of its body.
    """
    code, said = _said(headers, text)
    wait = retry_after(headers.get("retry-after", ""), date=headers.get("date", ""))
    if 300 <= status < 400:
        return _redirect(spot, status, headers.get("location", ""))
    if code in _CODES:
        return _CODES[code](spot, status, said)
    if status == 407 or (not code and status in _PROXY_STATUS and spot.http_proxy and not spot.secure):
        return _proxy_refused(spot, status, wait)
    if status in _STATUS:
        return _STATUS[status](spot, status, said)
    if status == 400 and not spot.secure and _PLAIN_TO_TLS in text.lower():
        problem = f"{spot.where} speaks TLS, and was dialled without"
        return VisitError("tls", problem, "Set tls: agent, or tls: web for a web server", status=status)
    if status in {502, 503, 504}:
        problem = (
            f"The web server at {spot.where} answers, the agent's service behind it does not (HTTP {status})"
        )
        hint = f"Start it there with '{START}', or correct where the web server passes {spot.path} on to"
        return VisitError("off", problem, hint, retry_after=wait, status=status)
    if 200 <= status < 300:
        return not_agent(spot, status, _shape(headers))
    problem = f"{spot.where} answered with HTTP {status}" + (f": {said}" if said else "")
    if status == 429:
        return VisitError("busy", problem, "It is visited again later", retry_after=wait, status=status)
    return VisitError("failed", problem, "See the log of what answers there", retry_after=wait, status=status)


def is_of_agent(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether an answer may be an agent's, so that its signature decides; a redirect never is.

    Args:
        status: HTTP status.
        headers: By name in lower case.
    """
    if 300 <= status < 400:
        return False
    if "signature" in headers or "popham-nonce" in headers:
        return True
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    return status == 200 and media == "application/x-protobuf"


def too_large(spot: Spot, problem: str, status: int = 0) -> VisitError:
    """Return the error for a message over a limit, at either end."""
    hint = "Raise the limit of what answers or asks there, or give the policy less content"
    return VisitError("too_large", f"{problem} ({spot.path})", hint, status=status)


def slow(spot: Spot, seconds: float, size: int = 0) -> VisitError:
    """Return the error for an answer that does not come, or comes too slowly."""
    much = f"only {size} bytes of its answer" if size else "no whole answer"
    problem = f"{spot.where} has a connection, but gave {much} in {seconds:.3g} s"
    return VisitError("slow", problem, "See whether that machine is overloaded, and the network to it")


def not_agent(spot: Spot, status: int, shape: str) -> VisitError:
    """Return the error for an answer that no agent gives."""
    problem = f"{spot.where} answered, but not as an agent does: {shape}"
    hint = "A login page of the network, or another program, answers there; check address, port and prefix"
    return VisitError("not_agent", problem, hint, status=status)


def _on_the_way(error: Exception, spot: Spot) -> VisitError | None:
    """Return what a web proxy or a name is to blame for."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        wait = error.headers.get("Retry-After", "") if error.headers else ""
        return _proxy_refused(spot, error.status, retry_after(wait))
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return _proxy_lost(spot, _reason(error))
    if isinstance(error, aiohttp.ClientConnectorDNSError | aiohttp.InvalidURL):
        if spot.http_proxy:
            return _proxy_lost(spot, "its name was not found")
        problem = f"{spot.where} cannot be visited: its name was not found"
        return VisitError("name", problem, "Check the address of the agent, and this machine's DNS")
    return None


def _no_http(error: Exception, spot: Spot) -> VisitError | None:
    """Return the error for what is no HTTP, or no upgrade."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return not_agent(spot, error.status, "its upgrade to a held link is none")
    if isinstance(error, aiohttp.ClientResponseError):
        if "Got more than" in error.message or "Too many" in error.message:
            return too_large(spot, f"The head of the answer of {spot.where} is larger than it may be")
        return not_agent(spot, 0, "what it sends is no HTTP")
    if isinstance(error, aiohttp.ClientPayloadError) and "content-encoding" in str(error):
        return not_agent(spot, 0, "its answer is not packed as it says")
    return None


def _stranger(spot: Spot, status: int, said: str) -> VisitError:
    problem = f"The agent at {spot.where} does not know this Manager" + (f": {said}" if said else "")
    hint = "It belongs to another fleet; remove its definition here, or enroll it here"
    return VisitError("stranger", problem, hint, status=status)


def _cgi(spot: Spot, status: int, _said: str) -> VisitError:
    problem = f"{spot.where} holds no links: a web server runs the agent's service by CGI, which pulls only"
    hint = "Use 'Pull by visit' for this group, or a reverse proxy instead of CGI"
    return VisitError("cgi", problem, hint, status=status)


def _password(spot: Spot, status: int, _said: str) -> VisitError:
    problem = f"The web server at {spot.where} wants another user or password"
    hint = "Set the user and password of its realm in the agent's definition"
    return VisitError("password", problem, hint, status=status)


def _no_upgrade(spot: Spot, status: int, _said: str) -> VisitError:
    problem = f"{spot.where} answered, but does not pass on the upgrade to a held link"
    hint = "Let the web server there pass on the headers Upgrade and Connection, or use 'Pull by visit'"
    return VisitError("no_upgrade", problem, hint, status=status)


def _portal(spot: Spot, status: int, _said: str) -> VisitError:
    return not_agent(spot, status, "the network wants a login first")


def _takes_less(spot: Spot, status: int, said: str) -> VisitError:
    return too_large(
        spot, f"{spot.where} takes no message of this size" + (f": {said}" if said else ""), status
    )


def _redirect(spot: Spot, status: int, location: str) -> VisitError:
    to = "".join(c for c in location if c.isprintable())[:200] or "nowhere"
    problem = f"{spot.where} redirects to {to} (HTTP {status}), which is not followed"
    hint = "Write that address into the agent's definition if it is meant; a login page redirects as well"
    return VisitError("redirect", problem, hint, status=status)


def _not_found(spot: Spot, status: int, _said: str) -> VisitError:
    problem = f"{spot.where} answers, but has no {spot.path} (HTTP {status})"
    hint = "Correct the prefix in the agent's definition, or the alias in the web server there"
    return VisitError("not_found", problem, hint, status=status)


def _proxy_refused(spot: Spot, status: int, wait: float | None) -> VisitError:
    if status == 407:
        problem = (
            f"The web proxy {spot.http_proxy or spot.where} wants another user or password for {spot.where}"
        )
        hint = "Set http_proxy in the agent's definition with user and password"
        return VisitError("proxy_password", problem, hint, status=status)
    problem = f"The web proxy {spot.http_proxy} does not lead to {spot.where} (HTTP {status})"
    hint = "Let it reach this host and port; if it does, see whether the agent's service runs"
    return VisitError("http_proxy", problem, hint, retry_after=wait, status=status)


def _proxy_lost(spot: Spot, reason: str) -> VisitError:
    problem = f"The web proxy {spot.http_proxy} on the way to {spot.where} cannot be reached: {reason}"
    return VisitError("http_proxy", problem, "Check http_proxy in the agent's definition, and the proxy")


def _late(spot: Spot, seconds: float) -> VisitError:
    problem = f"{spot.where} cannot be reached{spot.through}: no connection within {seconds:g} s"
    return VisitError(
        "unreachable", problem, "Check that the machine runs, and that a firewall lets the port through"
    )


def _lost(error: Exception, spot: Spot, *, connected: bool) -> VisitError:
    """Return the error for a connection that could not be made, or that broke."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ECONNREFUSED:
        problem = f"{spot.where} refuses the connection: nothing listens on port {spot.port}"
        hint = f"Start the agent's service there with '{START}', or correct the port in its definition"
        return VisitError("refused", problem, hint)
    if number in _NO_ROUTE:
        reason, hint = _NO_ROUTE[number]
    elif connected:
        reason, hint = "the connection ended before the answer did", "Try again; see the agent's log"
    else:
        reason, hint = f"the connection failed ({type(error).__name__})", "Check the network to it"
    return VisitError("unreachable", f"{spot.where} cannot be reached{spot.through}: {reason}", hint)


def _tls(error: BaseException, spot: Spot) -> VisitError | None:
    """Return the TLS failure behind an error, or None if there is none."""
    found: BaseException | None = error
    for _ in range(5):
        # aiohttp's own errors are SSLErrors too, and hold the one that says something.
        inner = getattr(found, "certificate_error", None) or getattr(found, "os_error", None)
        if isinstance(found, ssl.SSLError) and not isinstance(inner, ssl.SSLError):
            return _handshake(found, spot)
        found = (
            inner if isinstance(inner, BaseException) else found and (found.__cause__ or found.__context__)
        )
    return None


def _handshake(error: ssl.SSLError, spot: Spot) -> VisitError:
    text = str(error)
    number = getattr(error, "verify_code", 0)
    if isinstance(error, ssl.SSLCertVerificationError):
        if number in {SELF_SIGNED, SELF_SIGNED_CHAIN, NO_ISSUER, NO_CHAIN}:
            reason, hint = _WRONG_CA
        else:
            said = f"its certificate was not accepted ({getattr(error, 'verify_message', '') or text})"
            reason, hint = _CERTIFICATE.get(number, (said, "See the certificate of what answers there"))
        return VisitError("tls", f"{spot.where} cannot be trusted: {reason}", hint)
    if any(sign in text for sign in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")):
        hint = "Check the port, or set tls: off if a web server there has none"
        return VisitError("tls", f"{spot.where} does not speak TLS", hint)
    if "PROTOCOL_VERSION" in text or "UNSUPPORTED_PROTOCOL" in text:
        return VisitError(
            "tls", f"{spot.where} speaks no TLS that is new enough", "Update what answers there"
        )
    return VisitError("tls", f"The TLS handshake with {spot.where} failed ({text[:200]})", "See its log")


def _said(headers: Mapping[str, str], text: str) -> tuple[str, str]:
    """Return code and sentence of a problem+json, or no code and the first line of a text."""
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    code, line = "", text.strip().partition("\n")[0]
    if media == "application/problem+json":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            code, line = str(found.get("code", "")), str(found.get("detail", ""))
    elif media == "text/html":
        line = ""
    return code[:100], "".join(c for c in line if c.isprintable())[:300]


def _shape(headers: Mapping[str, str]) -> str:
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    return "with a page of HTML" if media in {"text/html", "application/xhtml+xml"} else "without a signature"


def _reason(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "it refuses the connection"
    return _NO_ROUTE.get(error.errno or 0, ("the connection failed", ""))[0]


_PROXY_STATUS = frozenset({403, 502, 503, 504})
"""What a web proxy answers by itself, where it does not lead on."""
_CODES = {"visit.stranger": _stranger, "visit.cgi": _cgi, "visit.too_large": _takes_less}
_STATUS = {401: _password, 404: _not_found, 410: _not_found, 413: _takes_less, 426: _no_upgrade, 511: _portal}
