"""Where the service of an agent is, and the way to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

from aiohttp import encode_basic_auth
from yarl import URL

from popham.errors import ConfigError
from popham.net.route import VISIT
from popham.net.visit_tls import Tls


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent's service is, and the way to it.

    Attributes:
        url: ``https://host:port/prefix``, without ``/v1/visit``.
        tls: Whose certificate is expected.
        http_proxy: ``http://user:password@host:port`` of a web proxy; empty for none.
        password: ``user:password`` of a web server's realm; empty for none.
        ca: PEM text of the only authority to trust with ``tls: web``; empty for those of this machine.
    """

    url: str
    tls: Tls = "agent"
    http_proxy: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ca: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        """Name or address of the host; empty if the URL is none."""
        try:
            return URL(self.url).host or ""
        except ValueError:
            return ""


def parse_place(place: Place, *, secure: bool) -> URL:
    """Return the URL of visits.

    Args:
        place: Where the service is.
        secure: Whether there is a context for TLS.

    Raises:
        ConfigError: ``config.url``.
    """
    hint = "Write it like https://host.example:23440 or https://host.example/SQC"
    try:
        url = URL(place.url)
        base = URL(f"{url.origin()}{url.raw_path.rstrip('/').removesuffix(VISIT)}{VISIT}", encoded=True)
    except ValueError as error:
        raise ConfigError("url", f"{place.url!r} is no address of an agent", hint) from error
    wanted = "http" if place.tls == "off" else "https"
    if not url.host or url.user or url.query_string or url.fragment or url.scheme not in {"http", "https"}:
        raise ConfigError("url", f"{place.url!r} is no address of an agent", hint)
    if url.scheme != wanted or secure != (wanted == "https"):
        raise ConfigError("url", f"{place.url!r} does not go with tls: {place.tls}", f"Write {wanted}://")
    return base


def parse_proxy(text: str) -> tuple[URL | None, str]:
    """Return a web proxy's URL and ``user:password``; None and nothing for no proxy.

    Raises:
        ConfigError: ``config.url``.
    """
    if not text:
        return None, ""
    hint = "Write it like http://user:password@proxy.example:3128"
    try:
        url = URL(text)
        origin = url.origin()
    except ValueError:
        raise ConfigError("url", "http_proxy is no address of a web proxy", hint) from None
    if url.scheme != "http" or not url.host:
        raise ConfigError("url", f"http_proxy {origin} is no address of a web proxy", hint)
    login = f"{unquote(url.raw_user or '')}:{unquote(url.raw_password or '')}"
    return origin, login if url.raw_user else ""


def authorize(name: str, login: str) -> dict[str, str]:
    """Return the header that says ``user:password``; none if that is empty."""
    user, _, password = login.partition(":")
    return {name: encode_basic_auth(user, password)} if login else {}


def authority(url: URL) -> str:
    """Return host and port."""
    host = url.host or ""
    return f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"
