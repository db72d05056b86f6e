"""How a request travels to a Manager, and what of its answer is read.

Rules:

1. It speaks ``/api/v1`` only and knows no table, no file and no terminal.
2. A token travels over TLS only, except to this machine itself.
3. It follows no redirect and reads no more than :data:`MAX_ANSWER`.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx2

from popham.client.problems import error_from
from popham.errors import ConfigError, LinkError, NotFoundError, PophamError, TrustError, WireError

TIMEOUT = 30.0
"""Seconds for one request and its answer."""
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of one answer; a page of 500 agents has well under one MiB."""
PAGE = 500
"""Objects asked for at a time, where a list has pages."""
PROBLEM_TYPE = "application/problem+json"


class Transport:
    """What every part of :class:`popham.client.Client` asks a Manager through.

    Use it as a context manager, or call :meth:`close`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca: str = "",
        timeout: float = TIMEOUT,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: ``https://HOST:PORT`` of the Manager's listener for people.
            token: API token, ``pop_…``.
            ca: PEM of the CA that the Manager's certificate must chain to;
                empty for the machine's own list.
            timeout: Seconds for one request and its answer.
            transport: For tests: what carries requests instead of a network.

        Raises:
            ConfigError: The URL or the CA cannot be used.
        """
        host = _check_url(url)
        self.url = url.rstrip("/")
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}", "Accept": f"application/json, {PROBLEM_TYPE}"},
            verify=_tls(ca) if url.startswith("https://") else True,
            timeout=timeout,
            trust_env=not _is_loopback(host),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._http.close()

    def _items(
        self, path: str, *, method: str = "GET", query: Mapping[str, str] | None = None, body: Any = None
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call(method, path, query=query, body=body)["items"]
        return found

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            page = self._call(
                "GET", path, query={**query, "cursor": cursor, "limit": query.get("limit", str(PAGE))}
            )
            yield from page["items"]
            if not page["cursor"] or page["cursor"] == cursor:
                return
            cursor = page["cursor"]

    def _call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> dict[str, Any]:
        """Send one request and return its JSON object; empty where there is none.

        Raises:
            PophamError: As the Manager raised it; LinkError if there was no answer.
        """
        data = self._fetch(path, method=method, query=query, body=body)
        return _object(data, self.url) if data else {}

    def _fetch(
        self, path: str, *, method: str = "GET", query: Mapping[str, str] | None = None, body: Any = None
    ) -> bytes:
        """Send one request and return the bytes of its answer; errors as :meth:`_call`."""
        arguments: dict[str, Any] = {"params": dict(query or {})}
        if body is not None:
            arguments["json"] = body
        try:
            with self._http.stream(method, f"/api/v1{path}", **arguments) as response:
                data = _read(response)
        except httpx2.TimeoutException as error:
            problem = f"the Manager at {self.url} did not answer in time"
            raise LinkError(
                "timeout", problem, "Try again; 'popham get agents' shows what was done"
            ) from error
        except httpx2.HTTPError as error:
            raise _unreachable(self.url, error) from error
        if not response.is_success:
            raise error_from(response.status_code, data, self.url)
        return data


def segment(name: str) -> str:
    """Return ``name`` as one segment of a path; never empty, so that it cannot name the list."""
    if name in {"", ".", ".."}:
        raise NotFoundError("object", f"nothing has the name {name!r}", "Give a name or an id")
    return quote(name, safe="")


def said(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms of a change that say something; an edition and a base do, whatever they are."""
    return {
        key: value for key, value in terms.items() if value or (key in {"seen", "base"} and value is not None)
    }


def as_files(files: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Return definitions, (name, YAML text), as a request carries them."""
    return [{"name": name, "text": text} for name, text in files]


def _read(response: httpx2.Response) -> bytes:
    found = bytearray()
    for part in response.iter_bytes():
        found += part
        if len(found) > MAX_ANSWER:
            raise WireError("too_large", f"the answer is larger than {MAX_ANSWER} bytes")
    return bytes(found)


def _object(data: bytes, url: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise error_from(200, b"", url) from error
    if not isinstance(found, dict):
        raise error_from(200, b"", url)
    return found


def _unreachable(url: str, error: httpx2.HTTPError) -> PophamError:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        problem = f"the certificate of {url} is not one that this context trusts"
        hint = "Check the context's CA and that the host name stands in the certificate"
        return TrustError("manager_certificate", problem, hint)
    problem = f"the Manager at {url} cannot be reached: {text or type(error).__name__}"
    return LinkError("unreachable", problem, "Check that it runs, and 'popham context show' for its address")


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        usable = parts.scheme in {"https", "http"} and bool(host) and parts.port != 0
    except ValueError:
        host, usable = "", False
    if not usable or parts.username or parts.query or parts.fragment:
        problem = f"{url!r} is not the URL of a Manager"
        raise ConfigError("url", problem, "Write it as https://HOST:8443")
    if parts.scheme == "http" and not _is_loopback(host):
        problem = f"{url} would carry the token in the clear"
        raise ConfigError("url", problem, "Use https://; http:// is for this machine only")
    return host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(ca: str) -> ssl.SSLContext:
    """Return a context for TLS 1.3 that trusts ``ca``, or the machine's list.

    Source: guarantees, SEC-1.
    """
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        problem = f"the CA of the context is no PEM certificate: {error}"
        raise ConfigError("ca", problem, "Copy it again from the Manager's 'popham init'") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
