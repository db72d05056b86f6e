"""Posts to a server that somebody else runs, such as a receiver of alerts: everything it answers is mistrusted.

Rules:

1. The place comes from the configuration alone: redirects are not followed, and no proxy, cookie or password is taken
   from the environment or from an answer.
2. Time, connections and bytes have bounds; of an answer nothing counts but its status.
3. Without TLS only this machine is asked.

Source: guarantees SEC-44.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from popham.errors import ConfigError, LinkError

TIME: Final = 15.0
"""Seconds for name, TCP, TLS, request and the head of the answer."""
HEAD_MAX: Final = 8 * 1024
"""Bytes of one line or header of an answer; its body is not read."""


def check_target(url: str) -> None:
    """Return if ``url`` is a place that may be posted to.

    Raises:
        ConfigError: ``config.url``.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        parts, port, host = urlsplit(""), None, ""
    hint = "Write 'https://alerts.example/hook', without user and password; 'http' is for this machine alone"
    if parts.scheme not in {"https", "http"} or not host or parts.username is not None or port == 0:
        raise ConfigError("url", "it is no URL that may be posted to", hint)
    if parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("url", "it has characters that no URL has here", hint)
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ConfigError("url", f"{host} is not this machine, and 'http' hides nothing", hint)


def make_context(ca_file: str = "") -> ssl.SSLContext:
    """Return the TLS of a place; certificates come from those in ``ca_file``, or from the machine's list if it is empty.

    Raises:
        ConfigError: ``config.unreadable``: the file cannot be read, or has no certificates.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        problem = f"{ca_file} has no certificates that can be read: {error}"
        raise ConfigError("unreadable", problem, "Write the path of a PEM file with certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def post(url: str, body: bytes, headers: Mapping[str, str], context: ssl.SSLContext | None) -> None:
    """Post ``body``; returns once the server said that it has it.

    Args:
        url: That :func:`check_target` took.
        body: All of it.
        headers: Of the request.
        context: TLS; None exactly for ``http``.

    Raises:
        LinkError: ``link.post``: it did not arrive, or the server did not say 200 to 299.
    """
    connector = aiohttp.TCPConnector(ssl=context if context is not None else False, limit=1, force_close=True)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=TIME),
        max_line_size=HEAD_MAX,
        max_field_size=HEAD_MAX,
    )
    try:
        async with session, session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
        raise _failed(str(error) or type(error).__name__) from None
    if not 200 <= status < 300:
        raise _failed(f"the server answered {status}" + (", a redirect" if 300 <= status < 400 else ""))


def _failed(why: str) -> LinkError:
    return LinkError("post", why[:256], "Look at the server; it is tried again")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
