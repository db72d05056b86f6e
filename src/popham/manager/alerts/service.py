"""What people ask about alerts and silences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Final

from popham.errors import ConflictError, DefinitionError, NotFoundError
from popham.manager.agent_service import PAGE_MAX, AgentService
from popham.manager.agents import find_agent
from popham.manager.alerts.alert import Alert
from popham.manager.alerts.silence import Silence, Who, is_meant
from popham.manager.alerts.taking import People
from popham.manager.alerts.views import AlertView, SilenceView
from popham.manager.audit import note
from popham.manager.grant import Grant, Permission, require, require_operation
from popham.manager.objects import find_group, lineage_of, read_tree
from popham.manager.views import Page
from popham.model.duration import show_duration
from popham.model.names import ROOT_GROUP, check_name, nearest, show
from popham.model.selector import parse_selector
from popham.store.data_rows import AlertRow
from popham.store.seam import Reading, Writing

SILENCES_MAX: Final = 500
SILENCE: Final = "silence"
"""What an operator's scope may name, beside kinds of operations."""
SHORTEST, LONGEST = 1.0, 366 * 86_400.0
"""Seconds of one silence."""


class AlertService(AgentService):
    """The part of the service that is about alerts.

    Attributes:
        on_silences_changed: Told that a silence began or ended, once that is durable. Must not wait.
    """

    on_silences_changed: Callable[[], None] | None = None

    async def alerts(
        self,
        grant: Grant,
        *,
        ref: str = "",
        group: str | None = None,
        selector: str = "",
        everything: bool = False,
        after: str = "",
        limit: int = 500,
    ) -> Page:
        """Return a page of alerts by agent, item and resource.

        Args:
            grant: Of those who may read.
            ref: Name or uid of the one agent; empty for all.
            group: Only agents of this group and below.
            selector: Only agents with such labels.
            everything: Those that have recovered lately too.
            after: The id after which to begin.
            limit: How many at most.

        Raises:
            NotFoundError: The agent or the group does not exist.
            ConflictError: ``conflict.ambiguous``.
            DefinitionError: ``definition.selector``.
        """
        require(grant, Permission.READ)
        parse_selector(selector)
        limit = max(1, min(limit, PAGE_MAX))
        now = self._clock.now()

        def work(tx: Reading) -> Page:
            if group is not None:
                find_group(tx, group)
            uid = find_agent(tx, ref).uid if ref else ""
            rows = [row for row in tx.alerts(uid=uid, open_only=not everything) if _id(row) > after]
            people = People(tx)
            silences = [one for one in map(Silence.of, tx.silences()) if one.holds(now)]
            found: list[AlertView] = []
            for first in range(0, len(rows), PAGE_MAX):
                part = rows[first : first + PAGE_MAX]
                people.load({row.uid for row in part})
                found += [
                    _view(row, people[row.uid], silences)
                    for row in part
                    if is_meant(people[row.uid], group or "", selector)
                ]
                if len(found) > limit:
                    break
            return Page(items=tuple(found[:limit]), cursor=found[limit - 1].id if len(found) > limit else "")

        return await self._store.read(work)

    async def silences(self, grant: Grant) -> tuple[SilenceView, ...]:
        """Return all silences by name, those that ended lately too."""
        require(grant, Permission.READ)
        now = self._clock.now()
        return await self._store.read(
            lambda tx: tuple(_view_silence(Silence.of(row), now) for row in tx.silences())
        )

    async def create_silence(
        self,
        grant: Grant,
        *,
        name: str,
        lifetime: float,
        message: str,
        group: str = "",
        selector: str = "",
        item: str = "",
        resource: str = "",
    ) -> SilenceView:
        """Have nobody told of some alerts for ``lifetime`` seconds; other arguments as of :class:`Silence`.

        Raises:
            GrantError: ``grant.not_permitted``.
            NotFoundError: ``not_found.group``.
            ConflictError: ``conflict.silence``: one of that name is on, or there are too many.
            DefinitionError: ``definition.name``, ``definition.selector`` or ``definition.silence``.
        """
        require(grant, Permission.OPERATE)
        check_name(name, "silence")
        parse_selector(selector)
        if not SHORTEST <= lifetime <= LONGEST or not message.strip():
            problem = (
                f"a silence has a message, and lasts {show_duration(SHORTEST)} to {show_duration(LONGEST)}"
            )
            raise DefinitionError("silence", problem, "Write --for 2h -m 'why'")
        now = self._clock.now()
        made = Silence(
            name=name,
            begins=now,
            ends=now + lifetime,
            group=group,
            selector=selector,
            item=item,
            resource=resource,
            author=grant.actor,
            message=message,
        )

        def work(tx: Writing) -> None:
            if group:
                find_group(tx, group)
            _permit(tx, grant, group)
            held = {row.name: row for row in tx.silences()}
            if name in held and held[name].ends > now:
                raise ConflictError(
                    "silence", f"the silence {name} is on already", f"popham silence end {name}"
                )
            if len(held) >= SILENCES_MAX and name not in held:
                raise ConflictError(
                    "silence", f"there are {len(held)} silences", "End some: popham silence list"
                )
            tx.put_silence(made.row())
            note(tx, grant, "silence.create", f"silence/{name}", now=now, after=asdict(made))

        await self._store.write(work)
        self._tell_silences()
        return _view_silence(made, now)

    async def end_silence(self, grant: Grant, name: str) -> SilenceView:
        """End a silence; alerts that are open are told then.

        Raises:
            GrantError: ``grant.not_permitted``.
            NotFoundError: ``not_found.silence``: none of that name is on.
        """
        require(grant, Permission.OPERATE)
        now = self._clock.now()

        def work(tx: Writing) -> Silence:
            held = {row.name: Silence.of(row) for row in tx.silences() if row.ends > now}
            found = held.get(name)
            if found is None:
                raise NotFoundError("silence", f"no silence {show(name)} is on", nearest(name, list(held)))
            _permit(tx, grant, found.group)
            ended = replace(found, ends=now)
            tx.put_silence(ended.row())
            note(
                tx,
                grant,
                "silence.end",
                f"silence/{name}",
                now=now,
                before=asdict(found),
                after=asdict(ended),
            )
            return ended

        ended = await self._store.write(work)
        self._tell_silences()
        return _view_silence(ended, now)

    def _tell_silences(self) -> None:
        if self.on_silences_changed is not None:
            self.on_silences_changed()


def _permit(tx: Reading, grant: Grant, group: str) -> None:
    tree = read_tree(tx)
    require_operation(grant, SILENCE, [lineage_of(tree, group or ROOT_GROUP)])


def _id(row: AlertRow) -> str:
    return " ".join(filter(None, (row.uid, row.item, row.resource)))


def _view(row: AlertRow, who: Who, silences: Sequence[Silence]) -> AlertView:
    alert = Alert.of(row)
    on = next((one.name for one in silences if one.covers(who, alert.item, alert.resource)), "")
    return AlertView(
        id=_id(row),
        uid=alert.uid,
        agent=who.name,
        group=who.groups[0] if who.groups else "",
        item=alert.item,
        resource=alert.resource,
        state=alert.state,
        since=alert.since,
        text=alert.text,
        note=alert.note,
        value=alert.value,
        bound=alert.bound,
        thresholds=dict(alert.by),
        told=dict(alert.told),
        silence=on,
    )


def _view_silence(silence: Silence, now: float) -> SilenceView:
    return SilenceView(state="on" if silence.holds(now) else "over", **asdict(silence))
