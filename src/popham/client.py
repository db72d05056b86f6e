"""The REST client: what the command line and other programs ask a Manager with.

Answers are plain data, as the API renders them; errors come back as the same
families that the Manager raised, with code, hint and place.

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

from popham.errors import (
    ConfigError,
    ConflictError,
    DefinitionError,
    EnrollmentError,
    GrantError,
    LinkError,
    NotFoundError,
    PolicyError,
    PophamError,
    StateError,
    TrustError,
    WireError,
)
from popham.model.findings import DefinitionSetError

TIMEOUT = 30.0
"""Seconds for one request and its answer."""
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of one answer; a page of 500 agents has well under one MiB."""
PAGE = 500
"""Objects asked for at a time, where a list has pages."""
PROBLEM_TYPE = "application/problem+json"

FAMILIES: Mapping[str, type[PophamError]] = {
    family.area: family
    for family in (
        ConfigError,
        ConflictError,
        DefinitionError,
        EnrollmentError,
        GrantError,
        LinkError,
        NotFoundError,
        PolicyError,
        StateError,
        TrustError,
        WireError,
    )
}
"""Area of a code → the family of errors it belongs to."""


class Client:
    """One Manager's REST API.

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

    def apply(
        self, files: Sequence[tuple[str, str]], *, dry_run: bool = False, force: bool = False, **terms: Any
    ) -> dict[str, Any]:
        """Make definitions hold, all or none; ``files`` are (name, YAML text). ``force`` takes what is unwise.

        ``terms`` are message, as_source, take_over, prune and base; those that say nothing are left out.
        """
        body: dict[str, Any] = {"files": [{"name": name, "text": text} for name, text in files]}
        body |= {key: value for key, value in terms.items() if value or (key == "base" and value is not None)}
        query = {"dry_run": "true" if dry_run else "false"} | ({"force": "true"} if force else {})
        return self._call("POST", "/apply", body=body, query=query)

    def agents(self, *, group: str | None = None, selector: str = "") -> list[dict[str, Any]]:
        """Return all agents, or those of one group, or with such labels."""
        asked = {"group": group or "", "selector": selector}
        return list(self._pages("/agents", {key: value for key, value in asked.items() if value}))

    def agent(self, ref: str) -> dict[str, Any]:
        """Return one agent by name or uid, with detail."""
        return self._call("GET", f"/agents/{_segment(ref)}")

    def explain(self, ref: str, *, setting: str = "", location: str = "") -> dict[str, Any]:
        """Return where an agent's values come from."""
        query = {key: value for key, value in (("setting", setting), ("location", location)) if value}
        return self._call("GET", f"/agents/{_segment(ref)}/explain", query=query)

    def why(self, ref: str) -> dict[str, Any]:
        """Return why an agent is where it is, and the next step."""
        return self._call("GET", f"/agents/{_segment(ref)}/why")

    def admit(self, ref: str, verb: str) -> dict[str, Any]:
        """Change an agent's admission; ``verb`` is accept, refuse or revoke."""
        return self._call("POST", f"/agents/{_segment(ref)}/{_segment(verb)}")

    def move(self, ref: str, group: str) -> dict[str, Any]:
        """Put an agent into another group."""
        return self._call("POST", f"/agents/{_segment(ref)}/move", body={"group": group})

    def label(self, ref: str, labels: Mapping[str, str | None]) -> dict[str, Any]:
        """Set an operator's labels of an agent; None takes one away."""
        return self._call("PATCH", f"/agents/{_segment(ref)}/labels", body={"labels": dict(labels)})

    def groups(self) -> list[dict[str, Any]]:
        """Return all groups."""
        return self._items("/groups")

    def group(self, name: str) -> dict[str, Any]:
        """Return one group, with what it inherits and from where."""
        return self._call("GET", f"/groups/{_segment(name)}")

    def delete_group(self, name: str) -> None:
        """Delete a group that has no children and no agents."""
        self._call("DELETE", f"/groups/{_segment(name)}")

    def policies(self) -> list[dict[str, Any]]:
        """Return the heads of all policies."""
        return self._items("/policies")

    def policy(self, name: str) -> dict[str, Any]:
        """Return one policy, with its spec."""
        return self._call("GET", f"/policies/{_segment(name)}")

    def copy_policy(self, source: str, to: str) -> dict[str, Any]:
        """Make a policy ``to`` with the content of ``source``."""
        return self._call("POST", f"/policies/{_segment(source)}/copy", body={"to": to})

    def history(self, name: str) -> list[dict[str, Any]]:
        """Return all revisions of a policy, the newest first."""
        return self._items(f"/policies/{_segment(name)}/revisions")

    def difference(self, name: str, first: int | None = None, second: int | None = None) -> dict[str, Any]:
        """Compare two revisions of a policy: by default the newest with the one before."""
        asked = {"first": first, "second": second}
        query = {key: str(value) for key, value in asked.items() if value is not None}
        return self._call("GET", f"/policies/{_segment(name)}/difference", query=query)

    def roll_back(
        self, name: str, revision: int, *, message: str = "", take_over: bool = False
    ) -> dict[str, Any]:
        """Make a new revision with the content of an old one."""
        body = {"to_revision": revision, "message": message, "take_over": take_over}
        return self._call("POST", f"/policies/{_segment(name)}/rollback", body=body)

    def export(self) -> dict[str, Any]:
        """Return the definitions of all objects under ``items``, and ``warnings``."""
        return self._call("GET", "/export")

    def delete_policy(self, name: str) -> None:
        """Delete a policy that no group assigns."""
        self._call("DELETE", f"/policies/{_segment(name)}")

    def placements(self) -> list[dict[str, Any]]:
        """Return the rules that say where agents begin, in their order."""
        return self._items("/placements")

    def delete_placement(self, name: str) -> None:
        """Delete a rule of placement; agents stay where they are."""
        self._call("DELETE", f"/placements/{_segment(name)}")

    def tokens(self) -> list[dict[str, Any]]:
        """Return the tokens by which agents join; never their secrets."""
        return self._items("/tokens")

    def create_token(self, **fields: Any) -> dict[str, Any]:
        """Make a token; ``fields`` are kind, group, uses, lifetime (seconds), accepts, cidr."""
        return self._call("POST", "/tokens", body=fields)

    def revoke_token(self, token: str) -> None:
        """Make a token useless; agents that joined by it stay."""
        self._call("DELETE", f"/tokens/{_segment(token)}")

    def check_in(
        self,
        refs: Sequence[str] = (),
        *,
        group: str | None = None,
        selector: str = "",
        everyone: bool = False,
    ) -> list[dict[str, Any]]:
        """Ask agents for a round now; returns who was asked and who waits until when."""
        body: dict[str, Any] = {"agents": list(refs), "group": group, "all": everyone}
        if selector:
            body["selector"] = selector
        found: list[dict[str, Any]] = self._call("POST", "/check-ins", body=body)["items"]
        return found

    def audit(self) -> Iterator[dict[str, Any]]:
        """Yield every change, oldest first."""
        return self._pages("/audit", {})

    def _items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", path)["items"]
        return found

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            page = self._call("GET", path, query={**query, "cursor": cursor, "limit": str(PAGE)})
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
        return _object(data, self.url) if data else {}


def error_from(status: int, data: bytes, url: str) -> PophamError:
    """Return the error that an answer with ``status`` and body ``data`` stands for."""
    try:
        problem = json.loads(data)
        area, _, reason = str(problem["code"]).partition(".")
        family = FAMILIES[area]
        detail, hint = str(problem["detail"]), str(problem.get("hint", ""))
        if family is DefinitionError:
            found = [_definition_error(entry) for entry in problem.get("errors") or [problem]]
            return DefinitionSetError(found) if len(found) > 1 else found[0]
        return family(reason, detail, hint)
    except (ValueError, KeyError, TypeError):
        problem = f"{url} answered {status}, and not as a Manager does"
        hint = "Check the URL of the context: it must lead to the Manager's listener for people"
        return LinkError("answer", problem, hint, status=status)


def _definition_error(entry: Mapping[str, Any]) -> DefinitionError:
    reason = str(entry["code"]).partition(".")[2]
    source, line = str(entry.get("source") or ""), int(entry.get("line") or 0)
    return DefinitionError(reason, str(entry["detail"]), str(entry.get("hint", "")), source=source, line=line)


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


def _segment(name: str) -> str:
    """Return ``name`` as one segment of a path; never empty, so that it cannot name the list."""
    if name in {"", ".", ".."}:
        raise NotFoundError("object", f"nothing has the name {name!r}", "Give a name or an id")
    return quote(name, safe="")


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
