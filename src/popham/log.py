"""Logging of every process: lines for people and the journal, or JSON lines.

Standard library only; it goes to standard error and nowhere else, because
systemd and containers keep what is written there.

1. Secrets never reach a line: values under keys such as ``token`` or
   ``password``, and texts that look like our tokens, are replaced.
2. Text of others is data: control and direction characters are shown as
   escapes, so nobody forges a line or steers a terminal.  Source: SEC-13.
3. A line is bounded.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, TextIO

from popham.errors import ConfigError, PophamError

LEVELS = ("debug", "info", "warning", "error")
MAX_TEXT = 8192
"""Characters of one message or value; the rest is cut off."""
HIDDEN = "[hidden]"

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_WORDS = "pass(?:word|wd|phrase)?|token|secret|seed|key|authorization|cookie|credentials?|bearer"
_SECRET_KEY = re.compile(
    rf"(?:.*[_.\- ])?(?:api|auth)?(?:{_WORDS})s?(?:_?(?:pem|value|seed|hex))?", re.IGNORECASE
)
_SECRET_TEXTS = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        HIDDEN,
    ),
    (re.compile(r"\bpop1\.[A-Za-z0-9_-]+"), f"pop1.{HIDDEN}"),
    (re.compile(r"\b(pops?_[A-Za-z0-9]+_)[A-Za-z0-9_-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"://[^\s/@:]{0,256}:[^\s/@]{1,256}@"), f"://{HIDDEN}@"),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"(?P<name>pass(?:word|wd|phrase)|token|secret|seed|private_key|api_key)"
            r"(?P<mark>['\"]?\s*[:=]\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;&'\"]+)",
            re.IGNORECASE,
        ),
        rf"\g<name>\g<mark>{HIDDEN}",
    ),
)
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
}
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def escape(text: str) -> str:
    r"""Return ``text`` with control, direction and lone surrogate characters as ``\x1b``, ``\u202e``."""
    return _CONTROL.sub(_escaped, text)


def is_secret(key: str) -> bool:
    """Return whether what stands under this name is a secret."""
    return _SECRET_KEY.fullmatch(key) is not None


def redact(value: Any, key: str = "") -> Any:
    """Return ``value`` as it may be logged under ``key``: secrets replaced, to any depth that JSON has."""
    if key and is_secret(key) and value is not None and not isinstance(value, bool):
        return HIDDEN if value or value == 0 else value
    if isinstance(value, Mapping):
        return {str(name): redact(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner) for inner in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """Return ``text`` without what looks like a secret: tokens, join strings, private keys, ``password=…``.

    No pattern goes over the same text twice, so that a long text costs no more than its length.
    """
    for pattern, instead in _SECRET_TEXTS:
        text = pattern.sub(instead, text)
    return text


def set_up_logging(
    *,
    level: str = "info",
    as_json: bool = False,
    stream: TextIO | None = None,
    env: Mapping[str, str] | None = None,
) -> logging.Handler:
    """Send all logging of this process to ``stream`` and return the handler that does it.

    Args:
        level: One of :data:`LEVELS`.
        as_json: One JSON object per line, in place of lines for people.
        stream: Standard error if None.
        env: The environment; tells whether the stream goes to systemd's journal.

    Raises:
        ConfigError: There is no such level.
    """
    if level not in LEVELS:
        raise ConfigError("level", f"{level!r} is no log level", f"Use one of {', '.join(LEVELS)}")
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    journal = writes_to_journal(target, env or {})
    handler.setFormatter(JsonLines() if as_json else HumanLines(journal=journal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    return handler


class RecentLines(logging.Handler):
    """Keeps the newest lines of the log in memory, as they are for people: for a bundle that support asks for."""

    def __init__(self, lines: int = 2000, size: int = 256 * 1024) -> None:
        """Keep at most so many lines, and so many characters."""
        super().__init__()
        self.setFormatter(HumanLines())
        self._lines: deque[str] = deque()
        self._most, self._room = lines, size

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record; the oldest ones make room."""
        line = self.format(record)
        self._lines.append(line)
        self._room -= len(line)
        while len(self._lines) > self._most or self._room < 0:
            self._room += len(self._lines.popleft())

    def lines(self) -> list[str]:
        """Return the lines, the newest last."""
        self.acquire()
        try:
            return list(self._lines)
        finally:
            self.release()


def keep_recent_lines() -> RecentLines:
    """Keep the newest lines of this process from now on, and return what has them."""
    recent = RecentLines()
    logging.getLogger().addHandler(recent)
    return recent


def writes_to_journal(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Return whether ``stream`` is the one that systemd connected to its journal.

    Source: systemd.exec(5), JOURNAL_STREAM: device and inode of the stream. A
    child whose standard error was redirected inherits the variable only.
    """
    if "JOURNAL_STREAM" not in env:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return env["JOURNAL_STREAM"] == f"{status.st_dev}:{status.st_ino}"


class HumanLines(logging.Formatter):
    """One line for people: time, level, part, message, fields; ``<N>`` instead of time in the journal."""

    def __init__(self, *, journal: bool = False) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; a traceback adds lines, which are prefixed alike."""
        fields = "".join(f" {escape(name)}={_shown(value)}" for name, value in _fields(record).items())
        head = "" if self._journal else f"{_moment(record.created)} {record.levelname.lower():<7} "
        first = f"{head}{record.name}: {_message(record)}{fields}"
        lines = [first, *(f"  {escape(line)}" for line in _traceback(record))]
        mark = f"<{_PRIORITY.get(record.levelno, 6)}>" if self._journal else ""
        return "\n".join(mark + line for line in lines)


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, part, message, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": _moment(record.created),
            "level": record.levelname.lower(),
            "part": record.name,
            "message": _message(record),
        }
        for name, value in _fields(record).items():
            line.setdefault(name, _escaped_values(value))
        trace = _traceback(record)
        if trace:
            line["traceback"] = [escape(part) for part in trace]
        return json.dumps(line, ensure_ascii=True)


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    if match[0] in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[match[0]]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _message(record: logging.LogRecord) -> str:
    if isinstance(record.args, Mapping):
        safe = logging.makeLogRecord(vars(record) | {"args": redact(record.args)})
        return _bounded(escape(redact_text(safe.getMessage())))
    return _bounded(escape(redact_text(record.getMessage())))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found = {name: redact(value, name) for name, value in vars(record).items() if name not in _STANDARD}
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, PophamError):
        found |= {"code": error.code, "problem": redact_text(error.problem), "hint": redact_text(error.hint)}
    return found


def _traceback(record: logging.LogRecord) -> list[str]:
    """Return the lines of an unexpected error; one raised on purpose is told by its fields."""
    if not record.exc_info or isinstance(record.exc_info[1], PophamError):
        return []
    text = redact_text(logging.Formatter().formatException(record.exc_info))
    return [_bounded(line) for line in text.splitlines()]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = _bounded(escape(text))
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text


def _escaped_values(value: Any) -> Any:
    if isinstance(value, str):
        return _bounded(escape(value))
    if isinstance(value, dict):
        return {escape(name): _escaped_values(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_escaped_values(inner) for inner in value]
    return value


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more)"


def _moment(created: float) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{seconds}.{int(created % 1 * 1000):03d}Z"
