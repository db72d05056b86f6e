"""How a route tells: the log, a signed POST, a mail.  What could not be told is a LinkError, and is tried again."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import smtplib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

from popham import __version__
from popham.errors import ConfigError, LinkError
from popham.manager.alerts.settings import LogRoute, MailRoute, RouteSettings, WebhookRoute
from popham.net.post import make_context, post
from popham.store.data_rows import RECOVERED, DeliveryRow

_log = logging.getLogger(__name__)
SECRET_MIN: Final = 16
SECRET_MAX: Final = 4096
MAIL_APART: Final = 60.0
"""Seconds between two mails of a route."""
MAIL_LINES: Final = 100
"""Alerts that one mail names."""
MAIL_TIME: Final = 20.0
"""Seconds that the server may take for one step."""
_LEVELS: Final = {RECOVERED: logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Channel(Protocol):
    """How a route tells.

    Attributes:
        together: How many deliveries it tells at once.
        apart: Seconds between two tellings, at least.
    """

    together: int
    apart: float

    async def tell(self, rows: Sequence[DeliveryRow]) -> None:
        """Tell deliveries, in order; raises LinkError or ConfigError if they must be told again."""
        ...


def make_channel(settings: RouteSettings, now: Callable[[], float]) -> Channel:
    """Return how a route tells.

    Args:
        settings: The route.
        now: Wall time, in unix seconds.

    Raises:
        ConfigError: A secret or a certificate cannot be read.
    """
    if isinstance(settings, LogRoute):
        return LogChannel()
    return WebhookChannel(settings, now) if isinstance(settings, WebhookRoute) else MailChannel(settings, now)


class LogChannel:
    """Into the Manager's own log, a line per alert."""

    together = 1
    apart = 0.0

    async def tell(self, rows: Sequence[DeliveryRow]) -> None:
        """Write lines."""
        for alert in alerts_of(rows):
            _log.log(_LEVELS[alert["state"]], "alert: %s", say(alert))


class WebhookChannel:
    """Signed POSTs of JSON.

    ``Popham-Signature: t=<unix seconds>,v1=<hex>`` is HMAC-SHA-256 over ``<unix seconds>.`` and the body;
    ``Popham-Delivery`` is the same however often something is posted.
    """

    together = 1
    apart = 0.0

    def __init__(self, settings: WebhookRoute, now: Callable[[], float]) -> None:
        """Post as ``settings`` say. Raises ConfigError."""
        self._settings = settings
        self._now = now
        self._secret = _read_secret(settings.secret_file, SECRET_MIN)
        self._context = make_context(settings.ca_file) if settings.url.startswith("https:") else None

    async def tell(self, rows: Sequence[DeliveryRow]) -> None:
        """Post one delivery."""
        for row in rows:
            delivery = f"{row.route}-{row.number}"
            content = {"delivery": delivery, "route": row.route, **json.loads(row.body)}
            body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
            at = int(self._now())
            headers = {
                "Content-Type": "application/json",
                "User-Agent": f"popham/{__version__}",
                "Popham-Delivery": delivery,
                "Popham-Signature": f"t={at},v1={sign(self._secret, at, body)}",
            }
            await post(self._settings.url, body, headers, self._context)


class MailChannel:
    """Mails by SMTP, at most one a minute."""

    together = 1000
    apart = MAIL_APART

    def __init__(self, settings: MailRoute, now: Callable[[], float]) -> None:
        """Mail as ``settings`` say. Raises ConfigError."""
        self._settings = settings
        self._now = now
        self._password = _read_secret(settings.password_file, 1).decode() if settings.user else ""
        self._context = make_context(settings.ca_file) if settings.tls != "off" else None

    async def tell(self, rows: Sequence[DeliveryRow]) -> None:
        """Send one mail of all."""
        mail = make_mail(self._settings, rows, self._now())
        try:
            await asyncio.to_thread(self._send, mail)
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            raise LinkError("mail", str(error)[:256], "Look at the mail server; it is tried again") from None

    def _send(self, mail: EmailMessage) -> None:
        settings, context = self._settings, self._context
        if settings.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host, settings.port, timeout=MAIL_TIME, context=context
            )
        else:
            server = smtplib.SMTP(settings.host, settings.port, timeout=MAIL_TIME)
        with server:
            if settings.tls == "starttls":
                server.starttls(context=context)
            if settings.user:
                server.login(settings.user, self._password)
            server.send_message(mail)


def sign(secret: bytes, at: int, body: bytes) -> str:
    """Return the signature of a body that is posted at ``at`` (unix seconds), as hex."""
    return hmac.new(secret, b"%d." % at + body, sha256).hexdigest()


def make_mail(settings: MailRoute, rows: Sequence[DeliveryRow], now: float) -> EmailMessage:
    """Return one mail about all alerts of some deliveries, the newest state of each."""
    newest = {(one["uid"], one["item"], one.get("resource", "")): one for one in alerts_of(rows)}
    alerts = sorted(newest.values(), key=lambda one: -_LEVELS[one["state"]])
    counts = {
        state: sum(one["state"] == state for one in alerts) for state in ("error", "warning", RECOVERED)
    }
    mail = EmailMessage()
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    mail["Subject"] = f"Popham: {said}"
    mail["From"], mail["To"] = settings.sender, ", ".join(settings.to)
    mail["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    domain = settings.sender.rpartition("@")[2]
    mail["Message-ID"] = f"<popham-{settings.name}-{rows[0].number}-{rows[-1].number}@{domain}>"
    lines = [say(alert) for alert in alerts[:MAIL_LINES]]
    if len(alerts) > MAIL_LINES:
        lines.append(f"and {len(alerts) - MAIL_LINES} more: popham get alerts")
    mail.set_content("\n".join(lines) + "\n")
    return mail


def alerts_of(rows: Sequence[DeliveryRow]) -> list[dict[str, Any]]:
    """Return the alerts of some deliveries, in order."""
    return [alert for row in rows for alert in json.loads(row.body)["alerts"]]


def say(alert: Mapping[str, Any]) -> str:
    """Return one line about an alert, without characters that would make it two."""
    line = f"{alert['state']}: {alert['agent']}: {alert['text']}"
    line += f" ({alert['note']})" if alert.get("note") else ""
    return "".join(char if char.isprintable() else " " for char in line)


def _read_secret(path: str, least: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            found = file.read(SECRET_MAX + 1).strip()
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(
            "unreadable", problem, "Write the secret there, readable by the Manager alone"
        ) from None
    if not least <= len(found) <= SECRET_MAX:
        problem = f"{path} has not between {least} and {SECRET_MAX} bytes"
        raise ConfigError("secret", problem, "Make one: openssl rand -hex 32")
    return found
