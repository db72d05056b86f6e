"""How a Proxy Manager says that it stands, as it may be kept and shown to people: nothing of it was looked at by anybody."""

from __future__ import annotations

from typing import Any, Final

_DEEP: Final = 8
_MOST: Final = 2**63


def plain_status(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status in which numbers are some, texts can be written, and nothing is very deep; the rest is None."""
    return {_text(key): _plain(value, _DEEP) for key, value in status.items()}


def _plain(value: object, deep: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict) and deep:
        return {_text(key): _plain(one, deep - 1) for key, one in value.items()}
    if isinstance(value, list) and deep:
        return [_plain(one, deep - 1) for one in value]
    if isinstance(value, int | float):
        return value if -_MOST < value < _MOST else None
    return None


def _text(text: str) -> str:
    """Return a text without the halves of characters that JSON can have, and nothing else."""
    return text if text.isascii() else text.encode(errors="replace").decode()
