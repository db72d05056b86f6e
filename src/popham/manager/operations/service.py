"""What people can do with operations: order, look, cancel, retry, and have what they printed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from popham.errors import ConflictError, DefinitionError, GrantError, NotFoundError, OperationError
from popham.manager.agent_service import PAGE_MAX, AgentService
from popham.manager.agents import find_agent
from popham.manager.audit import note
from popham.manager.grant import Grant, Permission, require, require_operation
from popham.manager.objects import lineage_of, read_tree
from popham.manager.operations.candidacy import find_within, name_candidates, withdraw_candidates
from popham.manager.operations.choosing import Choice, choose, choose_again
from popham.manager.operations.drafting import Draft, check_order, draft_targets
from popham.manager.operations.stored import (
    Asked,
    StoredOperation,
    find_operation,
    number_of,
    open_operation,
    take_number,
)
from popham.manager.operations.views import (
    OperationPlan,
    OperationView,
    hide_printed,
    plan_target,
    view_operation,
    view_target,
)
from popham.manager.views import Page
from popham.model.names import nearest, show
from popham.model.operation import Kind, OperationState
from popham.store.rows import TargetRow
from popham.store.seam import Reading, Writing

OPEN_MAX = 1000
"""Operations that go on at once."""
AGAIN = (OperationState.FAILED, OperationState.EXPIRED, OperationState.UNKNOWN)
"""States whose targets a retry is for, unless somebody says otherwise."""
WIDE = frozenset({Kind.APPLY, Kind.RESTART, Kind.ROTATE_KEY, Kind.RUN})
"""Kinds by which a mistake could harm a whole fleet at once: of many agents they need a yes."""
_NAMED = 20
"""Targets and groups that an entry of the audit names."""


class OperationService(AgentService):
    """The part of the service that is about operations."""

    async def order(
        self,
        grant: Grant,
        kind: str,
        asked: Asked,
        *,
        args: Mapping[str, Any] | None = None,
        message: str = "",
        yes: bool = False,
    ) -> OperationView:
        """Order something of agents; those that cannot be served fail at once, the others are served.

        Args:
            grant: Who orders it.
            kind: A :class:`popham.model.operation.Kind`.
            asked: Of whom.
            args: What the kind needs.
            message: Why, in a line.
            yes: Whether it is meant also where it reaches more agents at once than ``publish.ask_above``.

        Raises:
            DefinitionError: ``definition.operation``, ``definition.selector``.
            NotFoundError: ``not_found.group``, ``not_found.rollout``.
            GrantError: ``grant.not_permitted``: not of this kind, or not in one of these groups.
            ConflictError: ``conflict.no_candidate``; ``conflict.reach``: it needs a yes.
            OperationError: ``operation.nobody``, ``operation.targets``, ``operation.full``.
        """
        require(grant, Permission.OPERATE)
        what, known = check_order(kind, args or {})

        def work(tx: Reading) -> Draft:
            draft = self._draft_operation(tx, grant, what, known, choose(tx, asked), asked)
            wide = None if yes else self._tell_reach(draft)
            if wide is not None:
                raise wide
            return draft

        return await self._operations.turns.take(self._place(grant, work, message=message))

    async def plan_order(
        self, grant: Grant, kind: str, asked: Asked, *, args: Mapping[str, Any] | None = None
    ) -> OperationPlan:
        """Return whom an operation would be for, and why; errors as :meth:`order`, but for ``operation.nobody``."""
        require(grant, Permission.OPERATE)
        what, known = check_order(kind, args or {})

        def work(tx: Reading) -> OperationPlan:
            draft = self._draft_operation(tx, grant, what, known, choose(tx, asked), asked)
            register, links, now = self._operations, self._links, self._clock.now()
            planned = tuple(plan_target(one, row, register, links, now) for one, row in draft.pairs())
            wide = self._tell_reach(draft)
            return OperationPlan(
                targets=planned,
                unknown=draft.choice.unknown,
                ambiguous=draft.choice.ambiguous,
                warnings=(str(wide),) if wide is not None else (),
            )

        return await self._store.read(work)

    async def retry(
        self, grant: Grant, name: str, states: Collection[str] = (), *, message: str = ""
    ) -> OperationView:
        """Order the same again of the targets that are in these states; none named: :data:`AGAIN`.

        Raises:
            NotFoundError: ``not_found.operation``.
            PophamError: As :meth:`order`.
        """
        require(grant, Permission.OPERATE)
        wanted = check_states(states) or tuple(map(str, AGAIN))

        def work(tx: Reading) -> Draft:
            stored = find_operation(tx, name)
            uids = [row.uid for row in tx.targets(stored.number, states=wanted)]
            choice = choose_again(tx, uids)
            return self._draft_operation(
                tx, grant, stored.kind, stored.args, choice, stored.asked, retry_of=stored.name
            )

        return await self._operations.turns.take(self._place(grant, work, message=message))

    async def operations(
        self,
        grant: Grant,
        *,
        kind: str = "",
        author: str = "",
        agent: str = "",
        open_only: bool = False,
        after: str = "",
        limit: int = 500,
    ) -> Page:
        """Return a page of operations, the newest first.

        Raises:
            NotFoundError: ``not_found.agent``.
            ConflictError: ``conflict.ambiguous``.
        """
        require(grant, Permission.READ)
        limit = max(1, min(limit, PAGE_MAX))

        def work(tx: Reading) -> Page:
            rows = tx.operations(
                before=number_of(after) or None,
                limit=limit + 1,
                kind=kind,
                author=author,
                uid=find_agent(tx, agent).uid if agent else "",
                open_only=open_only,
            )
            counts = tx.target_counts([row.number for row in rows[:limit]])
            views = tuple(view_operation(open_operation(row), counts[row.number]) for row in rows[:limit])
            return Page(items=views, cursor=views[-1].name if len(rows) > limit else "")

        return await self._store.read(work)

    async def operation(self, grant: Grant, name: str) -> OperationView:
        """Return one operation; raises NotFoundError ``not_found.operation``."""
        require(grant, Permission.READ)
        return await self._show_operation(name)

    async def operation_targets(
        self, grant: Grant, name: str, *, states: Collection[str] = (), after: str = "", limit: int = 500
    ) -> Page:
        """Return a page of the targets of an operation by uid, in these states only.

        What a command printed is shown to those who may order it of that agent, and to nobody else.

        Raises:
            NotFoundError: ``not_found.operation``.
            DefinitionError: ``definition.operation``: there is no such state.
        """
        require(grant, Permission.READ)
        limit, wanted = max(1, min(limit, PAGE_MAX)), check_states(states)

        def work(tx: Reading) -> Page:
            stored, now = find_operation(tx, name), self._clock.now()
            rows = tx.targets(stored.number, states=wanted, after=after, limit=limit + 1)
            kind, seen = str(stored.kind), _groups_within(tx, grant, stored)
            shown = [row if row.group in seen else hide_printed(kind, row) for row in rows[:limit]]
            views = tuple(view_target(tx, row, self._operations, self._links, now) for row in shown)
            return Page(items=views, cursor=views[-1].uid if len(rows) > limit else "")

        return await self._store.read(work)

    async def operation_output(self, grant: Grant, name: str, ref: str) -> bytes:
        """Return what an operation printed or made at one target.

        Raises:
            NotFoundError: ``not_found.operation``, ``not_found.agent``, or ``not_found.output``.
            GrantError: ``grant.not_permitted``.
        """
        require(grant, Permission.OPERATE)

        def work(tx: Reading) -> bytes:
            stored = find_operation(tx, name)
            row = _target(tx, stored, ref)
            self._require_operation(tx, grant, stored.kind, [row.group])
            output = tx.output(stored.number, row.uid)
            if output is None or not output.length:
                problem = f"there is no output of {stored.name} at {show(ref)}"
                hint = (
                    "It has not come yet, or is not kept any more"
                    if row.output
                    else "It printed nothing more"
                )
                raise NotFoundError("output", problem, hint)
            return output.data

        return await self._store.read(work)

    async def cancel_operation(self, grant: Grant, name: str) -> OperationView:
        """Cancel what is open of an operation: who was told says what came of it.

        Who has not yet applied a candidate is not to have it any more.

        Raises:
            NotFoundError: ``not_found.operation``.
            GrantError: ``grant.not_permitted``.
        """
        require(grant, Permission.OPERATE)
        now, register = self._clock.now(), self._operations

        def work(tx: Writing) -> tuple[StoredOperation, Sequence[str]]:
            stored = find_operation(tx, name)
            self._require_operation(tx, grant, stored.kind, stored.groups)
            if stored.over:
                return stored, ()
            note(tx, grant, "operation.cancel", f"operation/{stored.name}", now=now)
            return stored, withdraw_candidates(tx, self._keys.director, grant, stored, now=now)

        async def cancel() -> StoredOperation:
            stored, changed = await self._write(work)
            for uid in changed:
                self._links.agent_changed(uid)
            if not stored.over:
                await register.cancel(stored.number, grant.actor)
            return stored

        return await self._show_operation((await register.turns.take(cancel())).name)

    def _tell_reach(self, draft: Draft) -> ConflictError | None:
        """Return why an operation needs a yes; None if it does not."""
        most, reached = self._bundles.publishing.ask_above, sum(row.open for row in draft.rows)
        if draft.kind not in WIDE or not 0 < most < reached:
            return None
        problem = (
            f"{draft.kind} would be ordered of {reached} agents at once, and more than {most} need a yes"
        )
        return ConflictError("reach", problem, "Look at them with --dry-run, then add --yes")

    def _draft_operation(
        self,
        tx: Reading,
        grant: Grant,
        kind: Kind,
        args: Mapping[str, Any],
        choice: Choice,
        asked: Asked,
        *,
        retry_of: str = "",
    ) -> Draft:
        """Return an operation as it would be, with its targets; refuse what the grant does not allow."""
        self._require_operation(tx, grant, kind, choice.lineages)
        within = find_within(tx, kind, args, choice.lineages)
        return draft_targets(
            kind,
            args,
            asked,
            choice,
            within,
            self._operations,
            now=self._clock.now(),
            draw=self._rng.randbytes,
            retry_of=retry_of,
        )

    async def _place(
        self, grant: Grant, draw_up: Callable[[Reading], Draft], *, message: str
    ) -> OperationView:
        """Store what ``draw_up`` returns, and have it told."""
        draft = await self._store.read(draw_up)
        register, now = self._operations, self._clock.now()
        if not draft.rows:
            named = ", ".join(map(show, (*draft.choice.unknown, *draft.choice.ambiguous)[:_NAMED]))
            problem = (
                f"no agent is meant: {named} is the name of none, or of several"
                if named
                else "no agent is meant"
            )
            raise OperationError("nobody", problem, "See 'popham get agents'")
        if register.operations >= OPEN_MAX:
            problem = f"{OPEN_MAX} operations go on"
            raise OperationError("full", problem, "Wait for them, or cancel some: popham op list --open")
        if draft.kind is Kind.SEND:
            await register.catch_up(sorted(draft.choice.lineages))

        def work(tx: Writing) -> tuple[StoredOperation, Sequence[TargetRow], Sequence[str]]:
            number = take_number(tx)
            stored, rows = draft.finish(number, grant.actor, now, message)
            tx.put_operation(stored.row())
            tx.put_targets(rows)
            said = {
                "kind": str(stored.kind),
                "args": dict(stored.args),
                "targets": len(rows),
                "groups": list(stored.groups[:_NAMED]),
                "first": [row.name for row in rows[:_NAMED]],
                "retry_of": stored.retry_of,
                "message": message,
            }
            note(tx, grant, "operation.order", f"operation/{stored.name}", now=now, after=said)
            changed = name_candidates(tx, self._keys.director, grant, stored, rows, now=now)
            return stored, rows, changed

        stored, rows, changed = await self._write(work)
        for uid in changed:
            self._links.agent_changed(uid)
        await register.add(stored, rows)
        return await self._show_operation(stored.name)

    async def _show_operation(self, name: str) -> OperationView:
        def work(tx: Reading) -> OperationView:
            stored = find_operation(tx, name)
            return view_operation(stored, tx.target_counts([stored.number])[stored.number])

        return await self._store.read(work)


def _groups_within(tx: Reading, grant: Grant, stored: StoredOperation) -> set[str]:
    """Return those groups of an operation in which ``grant`` may order the same."""
    tree, found = read_tree(tx), set()
    for group in stored.groups:
        with suppress(GrantError):
            require_operation(grant, stored.kind, [lineage_of(tree, group)])
            found.add(group)
    return found


def check_states(states: Collection[str]) -> tuple[str, ...]:
    """Return states of targets; raises DefinitionError ``definition.operation`` for what is none."""
    for state in states:
        if state not in set(OperationState):
            problem = f"there is no state {show(state)} of an operation"
            raise DefinitionError("operation", problem, nearest(state, OperationState))
    return tuple(dict.fromkeys(states))


def _target(tx: Reading, stored: StoredOperation, ref: str) -> TargetRow:
    """Return the target of this name or uid; raises NotFoundError ``not_found.agent``, or ConflictError."""
    row = tx.target(stored.number, ref) or tx.target(stored.number, find_agent(tx, ref).uid)
    if row is None:
        raise NotFoundError("agent", f"{stored.name} was not ordered of {show(ref)}", "")
    return row
