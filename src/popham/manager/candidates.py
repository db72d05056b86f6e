"""Candidates: what agents hold until they are named, or until its rollout begins its waves.

Rules:

1. Who is named stands in the agent's assignment, which is signed in the transaction of the change: it is part of
   what the agent should have, and every later assignment keeps it.
2. A name says nothing any more once the rollout is halted or over; once it is over, or the agent is moved, it is
   taken out.
3. Only agents that know rollouts by name can be named: :data:`popham.model.generation.OPERATIONS`.

Source: row F.Y9.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from popham.errors import ConflictError
from popham.manager.agents import assign
from popham.manager.audit import note
from popham.manager.book import ManagerBook
from popham.manager.bundles import Bundles
from popham.manager.cohort import draw
from popham.manager.grant import Grant
from popham.manager.overrides import Overrides
from popham.manager.rollouts import StoredRollout, open_rollout, step
from popham.manager.roster import read_record
from popham.model.fleet import Admission, AgentKind
from popham.model.generation import OPERATIONS
from popham.model.rollout import RolloutTerms
from popham.store.rows import AgentRow, BundleRow
from popham.store.seam import Reading, Store, Writing
from popham.trust.dsse import Signer

BATCH = 256
"""Assignments signed in one transaction where nobody waits for them: some 50 ms."""
_NAMED = 20
"""Agents that an entry of the audit names."""


def find_candidate(reading: Reading, group: str) -> StoredRollout | None:
    """Return the rollout whose candidate the agents of a group may have by name now; None if there is none."""
    for row in reading.rollouts(open_only=True):
        stored = open_rollout(row)
        if stored.rollout.named and group in stored.groups:
            return stored
    return None


def assign_candidate(
    tx: Writing,
    director: Signer,
    grant: Grant,
    stored: StoredRollout,
    uids: Iterable[str],
    *,
    now: float,
) -> list[str]:
    """Have agents use a candidate; return those whose assignment is another by it.

    Left out are agents that it is not for: of another group, not accepted, too old, or none of ours.

    Args:
        tx: The transaction.
        director: Signs the assignments.
        grant: Who says so.
        stored: The rollout, as :func:`find_candidate` returned it in this transaction.
        uids: Of the agents.
        now: Unix seconds.

    Raises:
        ConflictError: ``conflict.candidate``: nobody may have it by name, or not any more.
    """
    name = stored.rollout.id
    if not stored.rollout.named:
        problem = f"rollout {name} is {stored.rollout.state}, and no agent can have its candidate by name"
        raise ConflictError("candidate", problem, f"Look at it: popham rollout status {name}")
    return _name(tx, director, grant, name, uids, now=now, within=stored.groups, named=True)


def withdraw_candidate(
    tx: Writing, director: Signer, grant: Grant, rollout: str, uids: Iterable[str], *, now: float
) -> list[str]:
    """Have agents go back from a candidate that they were to use by name; return those that had it named.

    Args:
        tx: The transaction.
        director: Signs the assignments.
        grant: Who says so.
        rollout: Its name.
        uids: Of the agents; one that has another candidate meanwhile keeps that.
        now: Unix seconds.
    """
    return _name(tx, director, grant, rollout, uids, now=now, within=(), named=False)


def _name(
    tx: Writing,
    director: Signer,
    grant: Grant,
    rollout: str,
    uids: Iterable[str],
    *,
    now: float,
    within: Collection[str],
    named: bool,
) -> list[str]:
    """Name a candidate in the assignments of agents, or take it out; return the uids of those that change."""
    changed = []
    for row in tx.agents_of(list(uids)).values():
        if row.kind != AgentKind.OWN or row.admission != Admission.ACCEPTED:
            continue
        before = Overrides.of(row)
        if (before.candidate == rollout) is named or (named and not _takes(row, within)):
            continue
        after = replace(before, candidate=rollout if named else "")
        changed.append(assign(replace(row, overrides=after.encoded()), director, now=now))
    tx.put_agents(changed)
    if changed:
        said = {"agents": len(changed), "first": sorted(row.name for row in changed)[:_NAMED]}
        method = "rollout.name" if named else "rollout.withdraw"
        note(tx, grant, method, f"rollout/{rollout}", now=now, after=said)
    return [row.uid for row in changed]


def _takes(row: AgentRow, groups: Collection[str]) -> bool:
    """Return whether an agent is of one of these groups, and of a program that knows rollouts by name."""
    record = read_record(row) if row.group in groups else None
    return record is not None and record.generation >= OPERATIONS


def begin_waves(
    tx: Writing,
    bundles: Bundles,
    grant: Grant,
    was: StoredRollout,
    terms: RolloutTerms,
    *,
    now: float,
) -> tuple[StoredRollout, list[BundleRow]]:
    """Begin the first wave of a held rollout: who is in it is drawn now.

    Raises:
        ConflictError: ``conflict.contact``: nobody could have it first; ``conflict.bundle``.
    """
    publishing = bundles.publishing
    try:
        drawn = draw(publishing.members(tx, list(was.groups)), terms.waves[0], publishing.rng)
    except ConflictError as error:
        error.hint = f"Wait for one, or give it to all at once: popham rollout promote {was.rollout.id}"
        raise
    begun = replace(was.rollout.with_terms(terms, now=now), since=now, by=grant.actor)
    return step(tx, bundles, grant, "rollout.resume", was, begun, now=now, drawn=drawn)


async def forget_names(
    store: Store, book: ManagerBook, director: Signer, opened: Collection[str], *, now: float
) -> Sequence[str]:
    """Take the names of rollouts that are over out of assignments, batch by batch; return whose changed.

    Args:
        store: Where agents are kept.
        book: The same in memory.
        director: Signs the assignments.
        opened: Names of the rollouts that are not over.
        now: Unix seconds.
    """
    stale = [record.uid for record in list(book.records()) if record.candidate not in {"", *opened}]

    def work(tx: Writing, uids: Sequence[str]) -> list[str]:
        changed = []
        kept = {open_rollout(row).rollout.id for row in tx.rollouts(open_only=True)}
        for row in tx.agents_of(uids).values():
            before = Overrides.of(row)
            if before.candidate in {"", *kept}:
                continue
            plain = replace(row, overrides=replace(before, candidate="").encoded())
            accepted = row.admission == Admission.ACCEPTED
            changed.append(assign(plain, director, now=now) if accepted else plain)
        tx.put_agents(changed)
        return [row.uid for row in changed]

    found: list[str] = []
    for first in range(0, len(stale), BATCH):
        part = stale[first : first + BATCH]
        found += await store.write(lambda tx, part=part: work(tx, part))  # type: ignore[misc]  # bound now
        await asyncio.sleep(0)
    return found
