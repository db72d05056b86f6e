"""Which log files a policy wants, and how their bytes become lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

_DIGITS: Final = 16
"""Hexadecimal digits of :attr:`Source.meaning`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One entry of a policy's ``logs``.

    Attributes:
        name: Its name in the policy.
        paths: Globs of absolute paths; ``**`` stands for any number of directories.
        exclude: Globs of paths that are not meant.
        encoding: How the characters of its files are written.
        start: Regular expression that fits where a record begins; empty if each line is one.
        whole: Whether files are read from their beginning that are there before the source is; later ones always are.
        attributes: Given to each record.
    """

    name: str
    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    encoding: str = "utf-8"
    start: str = ""
    whole: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def meaning(self) -> str:
        """A digest of what it means; while that stays, a file that nobody knows is new."""
        said = "\0".join((*self.paths, "", *self.exclude))
        return sha256(said.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


def sources_of(body: Mapping[str, Any]) -> tuple[Source, ...]:
    """Return the sources of a policy of type ``collect``, in its normal form."""
    return tuple(
        Source(
            name=log["name"],
            paths=tuple(log["paths"]),
            exclude=tuple(log.get("exclude", ())),
            encoding=log.get("encoding", "utf-8"),
            start=log.get("multiline", {}).get("start", ""),
            whole=log.get("from") == "beginning",
            attributes=dict(log.get("attributes", {})),
        )
        for log in body.get("logs", ())
    )
