"""From when on something is an alert, and over which routes it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from popham.errors import ConfigError, DefinitionError
from popham.model.names import NAME
from popham.model.selector import parse_selector
from popham.net.post import check_target

ROUTES_MAX = 32
_Name = Annotated[str, msgspec.Meta(pattern=f"^{NAME.pattern}$")]
_Address = Annotated[str, msgspec.Meta(pattern=r"^[^\s<>,;]{1,64}@[^\s<>,;]{1,255}$")]


class _Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all routes have.

    Attributes:
        name: What it is called; each has its own.
        group: Only agents of this group and below; empty for all.
        selector: Only agents with such labels.
        at_least: ``warning``, or ``error`` for errors alone.
    """

    name: _Name
    group: str = ""
    selector: str = ""
    at_least: Literal["warning", "error"] = "warning"

    def __post_init__(self) -> None:
        """Refuse a selector that is none."""
        try:
            parse_selector(self.selector)
        except DefinitionError as error:
            raise ValueError(f"selector: {error.problem}; {error.hint}") from None


class LogRoute(_Route, frozen=True, kw_only=True, tag="log"):
    """Into the Manager's own log."""


class WebhookRoute(_Route, frozen=True, kw_only=True, tag="webhook"):
    """To an HTTP server.

    Attributes:
        url: Where; ``http`` to this machine alone.
        secret_file: Absolute path of the file with the secret that signs; 16 bytes at least.
        ca_file: Absolute path of the certificates that the server's must come from; empty for the machine's list.
    """

    url: str
    secret_file: str
    ca_file: str = ""

    def __post_init__(self) -> None:
        """Refuse a place that is none, and paths that depend on where the process was started."""
        super().__post_init__()
        try:
            check_target(self.url)
        except ConfigError as error:
            raise ValueError(f"url: {error.problem}; {error.hint}") from None
        _check_absolute(secret_file=self.secret_file, ca_file=self.ca_file or "/")


class MailRoute(_Route, frozen=True, kw_only=True, tag="mail"):
    """To people, by SMTP; at most one mail a minute.

    Attributes:
        server: ``HOST:PORT`` of the SMTP server.
        sender: Address that the mail is from.
        to: Addresses that it is for.
        tls: ``starttls``, ``tls`` from the first byte, or ``off``, which is for this machine alone.
        user: Who logs in; empty for nobody.
        password_file: Absolute path of the file with the password.
        ca_file: As of a webhook.
    """

    server: Annotated[str, msgspec.Meta(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$")]
    sender: _Address
    to: Annotated[tuple[_Address, ...], msgspec.Meta(min_length=1, max_length=64)]
    tls: Literal["starttls", "tls", "off"] = "starttls"
    user: str = ""
    password_file: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        """Refuse a password that would be seen on the way, and paths that depend on where the process was started."""
        super().__post_init__()
        if bool(self.user) is not bool(self.password_file):
            raise ValueError("user and password_file: write both, or none")
        if self.tls == "off" and self.host not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("tls: it may be off for a server on this machine alone")
        _check_absolute(password_file=self.password_file or "/", ca_file=self.ca_file or "/")

    @property
    def host(self) -> str:
        """The server's name or address."""
        return urlsplit(f"//{self.server}").hostname or ""

    @property
    def port(self) -> int:
        """The server's port."""
        return urlsplit(f"//{self.server}").port or 25


RouteSettings = LogRoute | WebhookRoute | MailRoute


class AlertsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the Manager itself finds that something is wrong with an agent, and who is told of all alerts.

    Attributes:
        skew: Seconds that an agent's clock may differ from ours.
        waiting: Records that may wait at an agent.
        routes: Whom alerts are told.
    """

    skew: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    waiting: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    routes: Annotated[tuple[RouteSettings, ...], msgspec.Meta(max_length=ROUTES_MAX)] = ()

    def __post_init__(self) -> None:
        """Refuse two routes of one name."""
        names = [route.name for route in self.routes]
        if len(set(names)) < len(names):
            raise ValueError("routes: two have the same name")


def _check_absolute(**paths: str) -> None:
    for key, path in paths.items():
        if not Path(path).is_absolute():
            raise ValueError(f"{key}: write the whole path, from the root")
