"""Questions inside one transaction, on dictionaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from popham.store.memory_data import MemoryDataReading
from popham.store.memory_proxies import MemoryProxyReading
from popham.store.rows import (
    AdminRow,
    AgentDefinitionRow,
    AgentRow,
    AuditRow,
    BundleRow,
    DraftRow,
    GroupRow,
    Kept,
    OperationRow,
    OutputRow,
    PlacementRow,
    PolicyRow,
    RevisionRow,
    RolloutRow,
    TargetRow,
    TokenRow,
)


class MemoryReading(MemoryDataReading, MemoryProxyReading):
    """``Reading`` on dictionaries."""

    def groups(self) -> list[GroupRow]:
        """Return all groups by name."""
        return self._rows(GroupRow)

    def group_bodies(self) -> dict[str, str]:
        """Return group → its body, of all groups."""
        return {row.name: row.body for row in self._rows(GroupRow)}

    def group(self, name: str) -> GroupRow | None:
        """Return one group."""
        return self._row(GroupRow, name)

    def placements(self) -> list[PlacementRow]:
        """Return the rules of placement by name."""
        return self._rows(PlacementRow)

    def placement(self, name: str) -> PlacementRow | None:
        """Return one rule of placement."""
        return self._row(PlacementRow, name)

    def agent_definitions(self, *, after: str = "", limit: int | None = None) -> list[AgentDefinitionRow]:
        """Return where agents are visited, by name, those above ``after`` only."""
        return [row for row in self._rows(AgentDefinitionRow) if row.name > after][:limit]

    def agent_definition(self, name: str) -> AgentDefinitionRow | None:
        """Return the definition of this name."""
        return self._row(AgentDefinitionRow, name)

    def agent_definition_at(self, place: str) -> AgentDefinitionRow | None:
        """Return the definition that names this place."""
        return next((row for row in self._rows(AgentDefinitionRow) if row.place == place), None)

    def agent_definition_of(self, uid: str) -> AgentDefinitionRow | None:
        """Return the definition that is bound to this agent, the first by name."""
        return next((row for row in self._rows(AgentDefinitionRow) if uid and row.uid == uid), None)

    def agent_definitions_from(self, source: str) -> list[AgentDefinitionRow]:
        """Return the definitions that are kept there, by name; none for an empty ``source``."""
        return [row for row in self._rows(AgentDefinitionRow) if source and row.source == source]

    def agent_definition_count(self) -> int:
        """Return how many definitions of agents there are."""
        return len(self._rows(AgentDefinitionRow))

    def rollouts(self, *, open_only: bool = False, limit: int | None = None) -> list[RolloutRow]:
        """Return rollouts, the newest first: ``limit`` of them, or all; or those that are not over."""
        found = [row for row in reversed(self._rows(RolloutRow)) if not (open_only and row.over)]
        return found[:limit]

    def rollout(self, number: int) -> RolloutRow | None:
        """Return one rollout."""
        return self._row(RolloutRow, number)

    def draft_names(self) -> list[str]:
        """Return the names of all drafts, sorted; their bodies are large."""
        return [row.name for row in self._rows(DraftRow)]

    def draft(self, name: str) -> DraftRow | None:
        """Return one draft."""
        return self._row(DraftRow, name)

    def policies(self) -> list[PolicyRow]:
        """Return the heads of all policies by name."""
        return self._rows(PolicyRow)

    def policy(self, name: str) -> PolicyRow | None:
        """Return the head of one policy."""
        return self._row(PolicyRow, name)

    def revision(self, name: str, revision: int) -> RevisionRow | None:
        """Return one revision of a policy."""
        return self._row(RevisionRow, name, revision)

    def revisions(self, name: str) -> list[RevisionRow]:
        """Return all revisions of a policy, the newest first."""
        return [row for row in reversed(self._rows(RevisionRow)) if row.name == name]

    def revision_numbers(self, name: str) -> list[int]:
        """Return the numbers of all revisions of a policy, the newest first."""
        return [row.revision for row in self.revisions(name)]

    def encoded(self, sha256: str) -> bytes | None:
        """Return a policy body by its digest, whichever policy has it."""
        return next((row.encoded for row in self._rows(RevisionRow) if row.sha256 == sha256), None)

    def policy_lengths(self) -> dict[str, int]:
        """Return policy → bytes of its newest body."""
        held = {(row.name, row.revision): len(row.encoded) for row in self._rows(RevisionRow)}
        rows = self._rows(PolicyRow)
        return {row.name: held[row.name, row.revision] for row in rows if (row.name, row.revision) in held}

    def agents(
        self, *, group: str | None = None, after: str = "", limit: int | None = None
    ) -> list[AgentRow]:
        """Return agents by uid, those above ``after`` only."""
        rows = [row for row in self._rows(AgentRow) if row.uid > after and group in {None, row.group}]
        return rows[:limit]

    def agents_kept(self, *, after: str = "", limit: int | None = None) -> list[Kept]:
        """Return what a Manager keeps of its agents, by uid, those above ``after`` only."""
        rows = self.agents(after=after, limit=limit)
        return [Kept._make(getattr(row, name) for name in Kept._fields) for row in rows]

    def agent(self, uid: str) -> AgentRow | None:
        """Return one agent."""
        return self._row(AgentRow, uid)

    def agents_of(self, uids: Sequence[str]) -> dict[str, AgentRow]:
        """Return uid → agent, of those among ``uids`` that are there."""
        rows = {uid: self.agent(uid) for uid in uids}
        return {uid: row for uid, row in rows.items() if row is not None}

    def agents_named(self, name: str) -> list[AgentRow]:
        """Return the agents of this name, by uid."""
        return [row for row in self._rows(AgentRow) if row.name == name]

    def agent_counts(self, groups: Sequence[str] | None = None) -> dict[str, int]:
        """Return group → how many agents it has, of ``groups`` at least; groups without agents are left out."""
        rows = self._rows(AgentRow)
        return dict(Counter(row.group for row in rows if groups is None or row.group in groups))

    def agent_by_spki(self, spki: str) -> AgentRow | None:
        """Return the agent that enrolled with this key, the newest if there are several."""
        return next((row for row in reversed(self._rows(AgentRow)) if spki and row.spki == spki), None)

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
        found = [
            row
            for row in reversed(self._rows(OperationRow))
            if (before is None or row.number < before)
            and kind in {"", row.kind}
            and author in {"", row.author}
            and (not uid or self.target(row.number, uid) is not None)
            and not (open_only and row.over)
        ]
        return found[:limit]

    def operation(self, number: int) -> OperationRow | None:
        """Return one operation."""
        return self._row(OperationRow, number)

    def target_counts(self, numbers: Sequence[int]) -> dict[int, dict[str, int]]:
        """Return operation → state → how many of its targets are in it, of each of ``numbers``."""
        counted = Counter((row.operation, row.state) for row in self._rows(TargetRow))
        found: dict[int, dict[str, int]] = {number: {} for number in numbers}
        for (number, state), count in counted.items():
            if number in found:
                found[number][state] = count
        return found

    def targets(
        self, number: int, *, states: Sequence[str] = (), after: str = "", limit: int | None = None
    ) -> list[TargetRow]:
        """Return targets of an operation by uid, those above ``after`` and in one of these states only."""
        rows = self._rows(TargetRow)
        found = [row for row in rows if row.operation == number and row.uid > after]
        return [row for row in found if not states or row.state in states][:limit]

    def target(self, number: int, uid: str) -> TargetRow | None:
        """Return one target of an operation."""
        return self._row(TargetRow, number, uid)

    def targets_of(self, uid: str, *, open_only: bool = False, limit: int | None = None) -> list[TargetRow]:
        """Return what was ordered of one agent, the newest first."""
        rows = [row for row in reversed(self._rows(TargetRow)) if row.uid == uid]
        return [row for row in rows if row.open or not open_only][:limit]

    def open_targets(self, *, after: tuple[int, str] = (0, ""), limit: int | None = None) -> list[TargetRow]:
        """Return targets whose state is not an end, by operation and uid, those above ``after`` only."""
        rows = self._rows(TargetRow)
        return [row for row in rows if row.open and (row.operation, row.uid) > after][:limit]

    def output(self, number: int, uid: str) -> OutputRow | None:
        """Return the output of one target."""
        return self._row(OutputRow, number, uid)

    def outputs(self) -> list[tuple[int, str, float, int]]:
        """Return (operation, uid, at, length) of every output, the oldest first."""
        rows = sorted(self._rows(OutputRow), key=lambda row: (row.at, row.operation, row.uid))
        return [(row.operation, row.uid, row.at, row.length) for row in rows]

    def tokens(self) -> list[TokenRow]:
        """Return all tokens, the newest first."""
        return sorted(self._rows(TokenRow), key=lambda row: (-row.created, row.id))

    def token(self, token: str) -> TokenRow | None:
        """Return one token by id."""
        return self._row(TokenRow, token)

    def bundle(self, group: str) -> BundleRow | None:
        """Return the bundle of the highest version of a group."""
        return next((row for row in self.bundles() if row.group == group), None)

    def bundles(self) -> list[BundleRow]:
        """Return the newest bundle of every group, by group."""
        return list({row.group: row for row in self._rows(BundleRow)}.values())

    def admins(self) -> list[AdminRow]:
        """Return all API tokens, by id."""
        return self._rows(AdminRow)

    def admin(self, admin: str) -> AdminRow | None:
        """Return one API token by id."""
        return self._row(AdminRow, admin)

    def audit(self, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """Return changes with ``seq`` above ``after``, oldest first."""
        return [row for row in self._rows(AuditRow) if row.seq > after][:limit]
