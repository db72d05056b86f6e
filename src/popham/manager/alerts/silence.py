"""Silences: alerts that nobody is told of for a while."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from popham.model.criteria import is_like
from popham.model.selector import parse_selector
from popham.store.data_rows import SilenceRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The agent that an alert is about.

    Attributes:
        name: Its name; its uid if it is gone.
        groups: Its group and those above, its own first.
        labels: The operators' over its own.
    """

    name: str
    groups: tuple[str, ...] = ()
    labels: Mapping[str, str]


def is_meant(who: Who, group: str, selector: str) -> bool:
    """Return whether an agent is in a group or below it, and has such labels; empty for all."""
    if group and group not in who.groups:
        return False
    wanted = parse_selector(selector)
    return not wanted.parts or wanted.matches(who.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """One silence.

    Attributes:
        begins, ends: Unix seconds.
        group: Only agents of this group and below; empty for all.
        selector: Only agents with such labels; empty for all.
        item, resource: Only such alerts, with ``*`` and ``?``; empty for all.
        author: Who wants it.
        message: Why.
    """

    name: str
    begins: float
    ends: float
    group: str = ""
    selector: str = ""
    item: str = ""
    resource: str = ""
    author: str = ""
    message: str = ""

    @classmethod
    def of(cls, row: SilenceRow) -> Silence:
        """Return the silence of a row."""
        return cls(name=row.name, begins=row.begins, ends=row.ends, **json.loads(row.body))

    def row(self) -> SilenceRow:
        """Return the silence as the database keeps it."""
        keys = ("group", "selector", "item", "resource", "author", "message")
        body = json.dumps({key: getattr(self, key) for key in keys}, separators=(",", ":"), sort_keys=True)
        return SilenceRow(name=self.name, begins=self.begins, ends=self.ends, body=body)

    def holds(self, now: float) -> bool:
        """Return whether it is on."""
        return self.begins <= now < self.ends

    def covers(self, who: Who, item: str, resource: str) -> bool:
        """Return whether it is about such an alert."""
        return (
            (not self.item or is_like(item, self.item))
            and (not self.resource or is_like(resource, self.resource))
            and is_meant(who, self.group, self.selector)
        )
