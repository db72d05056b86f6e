"""What a Manager needs of a database.

Rules:

1. ``write`` is all or nothing, and durable when it returns; writes of many
   callers share one commit.
2. A ``work`` function is synchronous, may be run more than once, and touches
   nothing but its transaction.
3. Reads see only what is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from popham.store.data_seam import DataReading, DataWriting
from popham.store.proxy_seam import ProxyReading, ProxyWriting
from popham.store.rows import (
    AdminRow,
    AgentDefinitionRow,
    AgentRow,
    AuditRow,
    BundleRow,
    Contact,
    DraftRow,
    GroupRow,
    Kept,
    OperationRow,
    OutputRow,
    PlacementRow,
    PolicyRow,
    RevisionRow,
    RolloutRow,
    Said,
    TargetRow,
    TokenRow,
)

T = TypeVar("T")


class Reading(DataReading, ProxyReading, Protocol):
    """Questions inside one transaction; None or an empty list where nothing is found."""

    def meta(self, key: str) -> str | None:
        """Return a value of the Manager's own."""
        ...

    def groups(self) -> list[GroupRow]:
        """Return all groups by name."""
        ...

    def group_bodies(self) -> dict[str, str]:
        """Return group → its body, of all groups."""
        ...

    def group(self, name: str) -> GroupRow | None:
        """Return one group."""
        ...

    def placements(self) -> list[PlacementRow]:
        """Return the rules of placement by name."""
        ...

    def placement(self, name: str) -> PlacementRow | None:
        """Return one rule of placement."""
        ...

    def agent_definitions(self, *, after: str = "", limit: int | None = None) -> list[AgentDefinitionRow]:
        """Return where agents are visited, by name, those above ``after`` only."""
        ...

    def agent_definition(self, name: str) -> AgentDefinitionRow | None:
        """Return the definition of this name."""
        ...

    def agent_definition_at(self, place: str) -> AgentDefinitionRow | None:
        """Return the definition that names this place."""
        ...

    def agent_definition_of(self, uid: str) -> AgentDefinitionRow | None:
        """Return the definition that is bound to this agent, the first by name."""
        ...

    def agent_definitions_from(self, source: str) -> list[AgentDefinitionRow]:
        """Return the definitions that are kept there, by name; none for an empty ``source``."""
        ...

    def agent_definition_count(self) -> int:
        """Return how many definitions of agents there are."""
        ...

    def rollouts(self, *, open_only: bool = False, limit: int | None = None) -> list[RolloutRow]:
        """Return rollouts, the newest first: ``limit`` of them, or all; or those that are not over."""
        ...

    def rollout(self, number: int) -> RolloutRow | None:
        """Return one rollout."""
        ...

    def draft_names(self) -> list[str]:
        """Return the names of all drafts, sorted; their bodies are large."""
        ...

    def draft(self, name: str) -> DraftRow | None:
        """Return one draft."""
        ...

    def policies(self) -> list[PolicyRow]:
        """Return the heads of all policies by name."""
        ...

    def policy(self, name: str) -> PolicyRow | None:
        """Return the head of one policy."""
        ...

    def revision(self, name: str, revision: int) -> RevisionRow | None:
        """Return one revision of a policy."""
        ...

    def revisions(self, name: str) -> list[RevisionRow]:
        """Return all revisions of a policy, the newest first."""
        ...

    def revision_numbers(self, name: str) -> list[int]:
        """Return the numbers of all revisions of a policy, the newest first, without reading any body."""
        ...

    def encoded(self, sha256: str) -> bytes | None:
        """Return a policy body by its digest, whichever policy has it."""
        ...

    def policy_lengths(self) -> dict[str, int]:
        """Return policy → bytes of its newest body, without reading any."""
        ...

    def agents(
        self, *, group: str | None = None, after: str = "", limit: int | None = None
    ) -> list[AgentRow]:
        """Return agents by uid, those above ``after`` only."""
        ...

    def agents_kept(self, *, after: str = "", limit: int | None = None) -> list[Kept]:
        """Return what a Manager keeps of its agents, by uid, those above ``after`` only."""
        ...

    def agent(self, uid: str) -> AgentRow | None:
        """Return one agent."""
        ...

    def agents_of(self, uids: Sequence[str]) -> dict[str, AgentRow]:
        """Return uid → agent, of those among ``uids`` that are there."""
        ...

    def agents_named(self, name: str) -> list[AgentRow]:
        """Return the agents of this name."""
        ...

    def agent_counts(self, groups: Sequence[str] | None = None) -> dict[str, int]:
        """Return group → how many agents it has, of ``groups`` at least; groups without agents are left out."""
        ...

    def agent_by_spki(self, spki: str) -> AgentRow | None:
        """Return the agent that enrolled with this key."""
        ...

    def operations(
        self,
        *,
        before: int | None = None,
        limit: int | None = None,
        kind: str = "",
        author: str = "",
        uid: str = "",
        open_only: bool = False,
    ) -> list[OperationRow]:
        """Return operations, the newest first: those below ``before``, of this kind and author, with this target."""
        ...

    def operation(self, number: int) -> OperationRow | None:
        """Return one operation."""
        ...

    def target_counts(self, numbers: Sequence[int]) -> dict[int, dict[str, int]]:
        """Return operation → state → how many of its targets are in it, of each of ``numbers``."""
        ...

    def targets(
        self, number: int, *, states: Sequence[str] = (), after: str = "", limit: int | None = None
    ) -> list[TargetRow]:
        """Return targets of an operation by uid, those above ``after`` and in one of these states only."""
        ...

    def target(self, number: int, uid: str) -> TargetRow | None:
        """Return one target of an operation."""
        ...

    def targets_of(self, uid: str, *, open_only: bool = False, limit: int | None = None) -> list[TargetRow]:
        """Return what was ordered of one agent, the newest first."""
        ...

    def open_targets(self, *, after: tuple[int, str] = (0, ""), limit: int | None = None) -> list[TargetRow]:
        """Return targets whose state is not an end, by operation and uid, those above ``after`` only."""
        ...

    def output(self, number: int, uid: str) -> OutputRow | None:
        """Return the output of one target."""
        ...

    def outputs(self) -> list[tuple[int, str, float, int]]:
        """Return (operation, uid, at, length) of every output, the oldest first, without reading any."""
        ...

    def tokens(self) -> list[TokenRow]:
        """Return all tokens, the newest first."""
        ...

    def token(self, token: str) -> TokenRow | None:
        """Return one token by id."""
        ...

    def bundle(self, group: str) -> BundleRow | None:
        """Return the bundle of the highest version of a group."""
        ...

    def bundles(self) -> list[BundleRow]:
        """Return the newest bundle of every group."""
        ...

    def admins(self) -> list[AdminRow]:
        """Return all API tokens."""
        ...

    def admin(self, admin: str) -> AdminRow | None:
        """Return one API token by id."""
        ...

    def audit(self, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """Return changes with ``seq`` above ``after``, oldest first."""
        ...


class Writing(Reading, DataWriting, ProxyWriting, Protocol):
    """Changes inside one transaction."""

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the Manager's own."""
        ...

    def put_group(self, row: GroupRow) -> None:
        """Insert or replace a group."""
        ...

    def delete_group(self, name: str) -> None:
        """Delete a group, if it is there."""
        ...

    def put_placement(self, row: PlacementRow) -> None:
        """Insert or replace a rule of placement."""
        ...

    def delete_placement(self, name: str) -> None:
        """Delete a rule of placement, if it is there."""
        ...

    def put_agent_definition(self, row: AgentDefinitionRow) -> None:
        """Insert or replace where an agent is visited."""
        ...

    def delete_agent_definition(self, name: str) -> None:
        """Delete where an agent is visited, if it is there."""
        ...

    def put_rollout(self, row: RolloutRow) -> None:
        """Insert or replace a rollout."""
        ...

    def put_draft(self, row: DraftRow) -> None:
        """Insert or replace a draft."""
        ...

    def delete_draft(self, name: str) -> None:
        """Delete a draft, if it is there."""
        ...

    def put_policy(self, row: PolicyRow) -> None:
        """Insert or replace the head of a policy."""
        ...

    def delete_policy(self, name: str) -> None:
        """Delete the head of a policy; its revisions stay."""
        ...

    def add_revision(self, row: RevisionRow) -> None:
        """Insert a revision. Raises ConflictError if it is there already."""
        ...

    def put_agent(self, row: AgentRow) -> None:
        """Insert or replace an agent."""
        ...

    def put_agents(self, rows: Iterable[AgentRow]) -> None:
        """Insert or replace agents, many at once."""
        ...

    def delete_agent(self, uid: str) -> None:
        """Delete an agent, if it is there."""
        ...

    def put_operation(self, row: OperationRow) -> None:
        """Insert or replace an operation."""
        ...

    def put_targets(self, rows: Iterable[TargetRow]) -> None:
        """Insert or replace targets, many at once."""
        ...

    def put_output(self, row: OutputRow) -> None:
        """Insert or replace the output of a target."""
        ...

    def delete_output(self, number: int, uid: str) -> None:
        """Delete an output, if it is there."""
        ...

    def delete_operation(self, number: int) -> None:
        """Delete an operation with its targets and outputs, if it is there."""
        ...

    def put_token(self, row: TokenRow) -> None:
        """Insert or replace a token."""
        ...

    def add_bundle(self, row: BundleRow) -> None:
        """Insert a bundle. Raises ConflictError if (tenant, group, version) is taken."""
        ...

    def put_admin(self, row: AdminRow) -> None:
        """Insert or replace an API token."""
        ...

    def add_audit(self, row: AuditRow) -> AuditRow:
        """Append to the audit chain; returns the row with seq, prev and hash."""
        ...

    def reports(self, batch: Iterable[Said]) -> None:
        """Note what agents said of themselves; agents that are gone are skipped."""
        ...

    def contacts(self, batch: Iterable[Contact]) -> None:
        """Note last contacts; agents that are gone are skipped."""
        ...


class Store(Protocol):
    """A database of one Manager."""

    @property
    def waiting(self) -> int:
        """Return how many changes wait to be made."""
        ...

    async def write(self, work: Callable[[Writing], T]) -> T:
        """Run ``work`` in a transaction and return its result once that is durable.

        Whatever ``work`` raises is raised here, and nothing is changed.
        """
        ...

    async def read(self, work: Callable[[Reading], T]) -> T:
        """Run ``work`` on a committed snapshot and return its result."""
        ...

    async def watch(self) -> None:
        """Return when the store is closed. Raises StateError ``state.broken`` if the process must end."""
        ...

    async def aclose(self) -> None:
        """Finish what was begun, then close."""
        ...
