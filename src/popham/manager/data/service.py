"""What people ask about logs and metrics.

Whoever may read, may read them; an operator whose grant is limited to groups sees only what agents below these have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from popham.errors import DefinitionError, GrantError, NotFoundError
from popham.manager.agent_service import AgentService
from popham.manager.agents import every_agent, find_agent
from popham.manager.data.asking import PageOf, Rows, Wanted
from popham.manager.data.data import Data
from popham.manager.data.values import LAST, nanoseconds
from popham.manager.data.views import LogPage, LogView, MetricView, RecordPage, SeriesPage, SeriesView
from popham.manager.grant import Grant, Permission, require
from popham.manager.itself import name_of
from popham.manager.moves import labels_of
from popham.manager.objects import find_group, lineage_of, read_tree
from popham.model.names import nearest, show
from popham.model.selector import parse_selector
from popham.store.rows import AgentRow
from popham.store.seam import Reading
from popham.streams.frame import Stream

T = TypeVar("T")
SLOTS: Final = 1000
"""Steps of one series, at most."""
SERIES: Final = 1000
"""Series of one answer, at most."""
_NANO: Final = 1_000_000_000
_JSON: Final = frozenset({"attributes", "resource", "detail"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Of:
    """Whose data, and of when; all agents and all times where nothing is said.

    Attributes:
        agents: Names or uids.
        groups: With all groups below them.
        selector: Labels, of those agents that are left.
        since, until: Unix seconds, by the corrected time; ``until`` is not in it.
    """

    agents: Sequence[str] = ()
    groups: Sequence[str] = ()
    selector: str = ""
    since: float = 0.0
    until: float | None = None


class DataService(AgentService):
    """The part of the service that is about logs and metrics."""

    async def logs(
        self,
        grant: Grant,
        of: Of,
        page: PageOf,
        *,
        grep: str = "",
        severity: int = 0,
        source: str = "",
    ) -> LogPage:
        """Return lines of logs.

        Args:
            grant: Of those who may read.
            of: Whose, and when.
            page: Which part of them.
            grep: Only lines that fit this regular expression of RE2.
            severity: Only lines of this OTLP severity number at least.
            source: Only lines of this source of the policy, or this file.

        Raises:
            NotFoundError: An agent or a group does not exist.
            ConflictError: ``conflict.ambiguous``.
            GrantError: ``grant.not_permitted``: the scope of the grant leaves out one of those that are named.
            DefinitionError: ``definition.selector``, ``definition.query``.
        """
        wanted = await self._wanted(grant, of, grep=grep, severity=severity, source=source)
        found = await self._held().rows(Stream.LOGS, wanted, page)
        rows = [dict(zip(found.names, row, strict=True)) for row in found.rows]
        names = await self._names({row["uid"] for row in rows})
        return LogPage(
            items=tuple(_log_view(row, names) for row in rows), cursor=found.cursor, after=found.after
        )

    async def metrics(self, grant: Grant, of: Of) -> tuple[MetricView, ...]:
        """Return which metrics there are, by name; errors as :meth:`logs`."""
        wanted = await self._wanted(grant, of)
        return tuple(await self._held().names(wanted))

    async def metric(
        self, grant: Grant, of: Of, *, name: str, step: float, limit: int = SERIES
    ) -> SeriesPage:
        """Return one metric in steps of ``step`` seconds; errors as :meth:`logs`, and ``not_found.metric``."""
        wanted = await self._wanted(grant, of, name=name)
        if not 0 < wanted.until - wanted.since <= SLOTS * nanoseconds(step):
            problem = f"so much time in steps of {step:g} s would be more than {SLOTS} steps"
            raise DefinitionError("query", problem, "Ask for longer steps, or for less time")
        found, more = await self._held().series(wanted, step=nanoseconds(step), limit=min(limit, SERIES))
        if not found:
            known = [view.name for view in await self._held().names(await self._wanted(grant, of))]
            if name not in known:
                problem = f"there is no metric {show(name)} of these agents in this time"
                raise NotFoundError("metric", problem, nearest(name, known))
        names = await self._names({one.uid for one in found})
        views = tuple(
            SeriesView(
                uid=one.uid,
                agent=names.get(one.uid, ""),
                kind=one.kind,
                unit=one.unit,
                attributes=msgspec.json.decode(one.attributes),
                values=tuple(one.values),
            )
            for one in found
        )
        return SeriesPage(items=views, since=wanted.since / _NANO, step=step, more=more)

    async def records(self, grant: Grant, stream: str, of: Of, page: PageOf) -> RecordPage:
        """Return records of a stream with all that is kept of them; errors as :meth:`logs`, and ``not_found.stream``."""
        if stream not in set(Stream):
            raise NotFoundError("stream", f"there is no stream {show(stream)}", nearest(stream, Stream))
        found = await self._held().rows(Stream(stream), await self._wanted(grant, of), page)
        return RecordPage(items=tuple(_records(found)), cursor=found.cursor)

    def _held(self) -> Data:
        if self._data is None:
            raise NotFoundError("data", "this Manager serves no agents", "Ask the one that does")
        return self._data

    async def _wanted(self, grant: Grant, of: Of, **more: Any) -> Wanted:
        """Return which rows are meant, as far as ``grant`` may see them."""
        require(grant, Permission.READ)
        uids = await self._store.read(lambda tx: choose(tx, grant, of))
        until = self._clock.now() + 1.0 if of.until is None else of.until
        return Wanted(uids=uids, since=_bounded(of.since), until=_bounded(until), **more)

    async def _names(self, uids: Iterable[str]) -> dict[str, str]:
        def work(tx: Reading) -> dict[str, str]:
            rows = {uid: tx.agent(uid) for uid in sorted(uids)}
            return {uid: row.name if row else name_of(uid) or "" for uid, row in rows.items()}

        return await self._store.read(work)


def choose(tx: Reading, grant: Grant, of: Of) -> list[str] | None:
    """Return the uids of the agents that are meant; None for all that ever were.

    Raises:
        NotFoundError, ConflictError, GrantError, DefinitionError: As :meth:`DataService.logs`.
    """
    wanted = parse_selector(of.selector)
    if not (of.agents or of.groups or wanted.parts or grant.scope.groups):
        return None
    tree = read_tree(tx)
    named = [find_agent(tx, ref) for ref in of.agents]
    for group in of.groups:
        find_group(tx, group)
    for group in {*of.groups, *(row.group for row in named)}:
        if grant.scope.groups and not set(grant.scope.groups) & set(lineage_of(tree, group)):
            problem = f"{grant.actor} may see nothing of the group {group}"
            raise GrantError(
                "not_permitted", problem, "An admin can make a token that may: popham grant create"
            )
    rows: dict[str, AgentRow] = {row.uid: row for row in named}
    above = of.groups or (() if named else grant.scope.groups)
    places = {one.name for group in above if group in tree for one in tree.below(group)}
    for place in places if above or named else (None,):
        rows |= {row.uid: row for row in every_agent(tx, place)}
    return sorted(uid for uid, row in rows.items() if not wanted.parts or wanted.matches(labels_of(row)))


def _bounded(seconds: float) -> int:
    return max(0, min(nanoseconds(seconds), LAST))


def _log_view(row: dict[str, Any], names: dict[str, str]) -> LogView:
    return LogView(
        uid=row["uid"],
        agent=names.get(row["uid"], ""),
        at=row["at"] / _NANO,
        time=row["time"] / _NANO,
        received=row["received"] / _NANO,
        severity=row["severity"],
        level=row["level"],
        source=row["source"],
        text=row["body"],
        attributes=msgspec.json.decode(row["attributes"]),
    )


def _records(found: Rows) -> Iterable[dict[str, Any]]:
    """Yield rows as objects; what is JSON in a column is an object."""
    for values in found.rows:
        row = dict(zip(found.names, values, strict=True))
        del row["place"]
        yield {
            key: msgspec.json.decode(value) if key in _JSON and value else value for key, value in row.items()
        }
