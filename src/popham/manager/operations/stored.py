"""Operations as they are stored.

Rules:

1. The name of an operation is used once.
2. An operation is over once none of its targets is open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from popham.errors import NotFoundError
from popham.model.names import canonical, show
from popham.model.operation import Kind
from popham.store.rows import OperationRow, TargetRow
from popham.store.seam import Reading, Writing

_LAST: Final = "operation_last"
"""Number of the newest operation."""
_NAME = re.compile(r"op([1-9][0-9]{0,11})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whom somebody asked for, in one of three ways.

    Attributes:
        agents: Names or uids.
        groups: These, and all below them.
        selector: Only agents with such labels; of these groups, or of all.
        everyone: All agents.
        expires: Seconds that it lives; None for what follows from the promises of agents.
    """

    agents: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    selector: str = ""
    everyone: bool = False
    expires: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is stored, and as people see it."""
        return {
            "agents": list(self.agents),
            "groups": list(self.groups),
            "selector": self.selector,
            "all": self.everyone,
            "expires": self.expires,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Asked:
        """Return what :meth:`as_dict` returned."""
        return cls(
            agents=tuple(data["agents"]),
            groups=tuple(data["groups"]),
            selector=data["selector"],
            everyone=data["all"],
            expires=data["expires"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOperation:
    """An operation, without its targets.

    Attributes:
        number: Of its name.
        kind: What is ordered.
        author, at: Who ordered it, and when.
        args: What the kind needs.
        within: Group → what stands in the documents of its agents in place of ``args``; and for a ``send`` of a
            candidate, location → digest of the resolved policy that is to be held there (an empty location
            stands for the default).
        asked: Whom it was asked for.
        groups: Those of its targets.
        unknown, ambiguous: Names that no agent has, and that several have.
        targets: How many there are.
        expires: Unix seconds after which nobody begins it.
        message: Why, in a line.
        retry_of: Name of the operation that it repeats; empty for none.
        over: Whether no target is open any more.
    """

    number: int
    kind: Kind
    author: str
    at: float
    args: Mapping[str, Any]
    asked: Asked
    groups: tuple[str, ...]
    targets: int
    expires: float
    within: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    message: str = ""
    retry_of: str = ""
    over: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return f"op{self.number}"

    def args_for(self, group: str) -> Mapping[str, Any]:
        """Return what stands in the document of an agent of this group."""
        return self.within.get(group, self.args)

    def row(self) -> OperationRow:
        """Return the row that keeps it."""
        body = {
            "args": dict(self.args),
            "within": {group: dict(held) for group, held in self.within.items()},
            "asked": self.asked.as_dict(),
            "groups": list(self.groups),
            "targets": self.targets,
            "expires": self.expires,
            "unknown": list(self.unknown),
            "ambiguous": list(self.ambiguous),
            "message": self.message,
            "retry_of": self.retry_of,
        }
        return OperationRow(
            number=self.number,
            kind=str(self.kind),
            author=self.author,
            at=self.at,
            over=self.over,
            body=canonical(body).decode(),
        )


def open_operation(row: OperationRow) -> StoredOperation:
    """Return the operation that a row keeps."""
    body = json.loads(row.body)
    return StoredOperation(
        number=row.number,
        kind=Kind(row.kind),
        author=row.author,
        at=row.at,
        over=row.over,
        args=body["args"],
        within=body["within"],
        asked=Asked.from_dict(body["asked"]),
        groups=tuple(body["groups"]),
        targets=body["targets"],
        expires=body["expires"],
        unknown=tuple(body["unknown"]),
        ambiguous=tuple(body["ambiguous"]),
        message=body["message"],
        retry_of=body["retry_of"],
    )


def take_number(tx: Writing) -> int:
    """Return the number of a new operation, which no other one gets."""
    number = int(tx.meta(_LAST) or 0) + 1
    tx.set_meta(_LAST, str(number))
    return number


def number_of(name: str) -> int:
    """Return the number in the name of an operation; 0 if it is no such name."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def find_operation(reading: Reading, name: str) -> StoredOperation:
    """Return an operation by its name; raises NotFoundError ``not_found.operation``."""
    row = reading.operation(number_of(name))
    if row is None:
        problem = f"there is no operation {show(name)}"
        raise NotFoundError("operation", problem, "'popham op list' shows them")
    return open_operation(row)


def read_open(
    tx: Reading, *, after: tuple[int, str], limit: int
) -> tuple[list[TargetRow], Mapping[int, StoredOperation]]:
    """Return a page of open targets by operation and uid, those above ``after``, and their operations by number."""
    rows = tx.open_targets(after=after, limit=limit)
    found = [tx.operation(number) for number in {row.operation for row in rows}]
    return rows, {row.number: open_operation(row) for row in found if row is not None}
