"""An operation before it is ordered: what is asked is checked, and a row made for each target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from popham.errors import DefinitionError, OperationError, PophamError, WireError
from popham.manager.operations.choosing import Choice, Chosen, refuse
from popham.manager.operations.following import JOINED
from popham.manager.operations.register import Register
from popham.manager.operations.stored import Asked, StoredOperation
from popham.model.fleet import AgentKind
from popham.model.names import nearest, show
from popham.model.operation import Kind, OperationState, check_args, lifetime_for
from popham.store.rows import TargetRow

Within = Mapping[str, Mapping[str, Any]]
"""Group → what stands in the documents of its agents; see :class:`StoredOperation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An operation as it would be ordered.

    Attributes:
        kind, args, asked, within, retry_of: As of :class:`StoredOperation`.
        choice: Whom it is for.
        rows: Its targets, of an operation without a number.
    """

    kind: Kind
    args: Mapping[str, Any]
    asked: Asked
    within: Within
    choice: Choice
    rows: Sequence[TargetRow]
    retry_of: str = ""

    def pairs(self) -> Iterator[tuple[Chosen, TargetRow]]:
        """Yield each target with why it is one."""
        for row in self.rows:
            yield self.choice.targets[row.uid], row

    def finish(
        self, number: int, author: str, now: float, message: str
    ) -> tuple[StoredOperation, list[TargetRow]]:
        """Return the operation with its number, and its targets."""
        rows = [replace(row, operation=number) for row in self.rows]
        stored = StoredOperation(
            number=number,
            kind=self.kind,
            author=author,
            at=now,
            args=self.args,
            within=self.within,
            asked=self.asked,
            groups=tuple(sorted(self.choice.lineages)),
            unknown=self.choice.unknown,
            ambiguous=self.choice.ambiguous,
            targets=len(rows),
            expires=max(row.expires for row in rows),
            message=message,
            retry_of=self.retry_of,
            over=not any(row.open for row in rows),
        )
        return stored, rows


def check_order(kind: str, args: Mapping[str, Any]) -> tuple[Kind, Mapping[str, Any]]:
    """Return what is ordered, with the arguments that it needs and no others.

    Raises:
        DefinitionError: ``definition.operation``: there is no such operation, or it cannot be ordered like this.
    """
    kinds = [one for one in Kind if one is not Kind.CANCEL]
    if kind not in kinds:
        raise DefinitionError("operation", f"there is no operation {show(kind)}", nearest(kind, kinds))
    what = Kind(kind)
    allowed = {Kind.SEND: ("no_apply", "rollout"), Kind.APPLY: ("rollout",), Kind.RUN: ("name",)}.get(
        what, ()
    )
    for key in args:
        if key not in allowed:
            problem = f"an operation {kind} takes no argument {show(key)}"
            raise DefinitionError("operation", problem, nearest(key, allowed))
    if what is Kind.RUN:
        try:
            return what, check_args(what, args)
        except WireError as error:
            hint = "Name a command of the agents' own configuration"
            raise DefinitionError("operation", error.problem, hint) from error
    rollout, no_apply = args.get("rollout", ""), args.get("no_apply", False)
    if not isinstance(rollout, str) or not isinstance(no_apply, bool):
        problem = "rollout is the name of a rollout, and no_apply true or false"
        raise DefinitionError("operation", problem)
    if what is Kind.SEND:
        return what, {"no_apply": no_apply, "rollout": rollout}
    return what, {"rollout": rollout} if what is Kind.APPLY else {}


def draft_targets(
    kind: Kind,
    args: Mapping[str, Any],
    asked: Asked,
    choice: Choice,
    within: Within | None,
    register: Register,
    *,
    now: float,
    draw: Callable[[int], bytes],
    retry_of: str = "",
) -> Draft:
    """Return an operation with a row for each target, by uid; those that cannot be served have failed.

    Args:
        kind: What is ordered.
        args: What the kind needs.
        asked: Whom it was asked for.
        choice: Whom it is for.
        within: Where it is about a candidate: what that is in each group that has one; else None.
        register: Knows what is open.
        now: Unix seconds.
        draw: Returns so many random bytes.
        retry_of: Name of the operation that it repeats; empty for none.
    """
    rows = []
    for uid in sorted(choice.targets):
        agent = choice.targets[uid]
        error = refuse(kind, agent, register)
        if error is None and within is not None and agent.group not in within:
            error = _lacks(agent)
        rows.append(_row(kind, agent, error, register, asked, now, draw))
    return Draft(
        kind=kind, args=args, asked=asked, within=within or {}, choice=choice, rows=rows, retry_of=retry_of
    )


def _lacks(agent: Chosen) -> OperationError:
    problem = f"group {agent.group} has no candidate that agents may have by name"
    return OperationError("no_candidate", problem, "Publish one: popham send --no-apply")


def _row(
    kind: Kind,
    agent: Chosen,
    error: PophamError | None,
    register: Register,
    asked: Asked,
    now: float,
    draw: Callable[[int], bytes],
) -> TargetRow:
    record = register.record(agent.uid)
    promise = record.promise if record is not None else agent.promise
    # What is followed from here has no document; of a stock agent only its restart is told by name.
    unnamed = kind is Kind.SEND or (agent.kind == AgentKind.STOCK and kind is not Kind.RESTART)
    earlier = register.send_of(agent.uid) if kind is Kind.SEND else ""
    text = f"{JOINED}{earlier}" if earlier else ""
    return TargetRow(
        operation=0,
        uid=agent.uid,
        name=agent.name,
        group=agent.group,
        open=error is None,
        state=str(OperationState.QUEUED if error is None else OperationState.FAILED),
        since=now,
        expires=now + lifetime_for(promise, asked.expires),
        nonce="" if unnamed or error is not None else draw(16).hex(),
        code=error.code if error is not None else "",
        text=error.problem if error is not None else text,
    )
