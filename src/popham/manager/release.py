"""One change on its way to agents: how many it reaches, and the rollout by which a few have it first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from popham.errors import ConflictError
from popham.manager.bundles import Bundles
from popham.manager.cohort import Part, draw, draw_nobody
from popham.manager.grant import Grant
from popham.manager.guard import find_opened
from popham.manager.publishing import check_opened, check_wide
from popham.manager.rollouts import Former, Place, StoredRollout, keep_new, next_number, open_rollout
from popham.manager.spill import check_spill
from popham.model.bundle import Bundle
from popham.model.fleet import Group, Tree
from popham.model.names import canonical, digest
from popham.model.rollout import Rollout, RolloutRef, RolloutTerms
from popham.store.rows import BundleRow, PolicyRow
from popham.store.seam import Reading, Writing

HELD_TERMS = RolloutTerms.of([0.01])
"""The terms of a rollout that begins as held, unless others are named when it goes on."""
Objects = Mapping[str, Mapping[str, Any]]
"""Object (``policy/motd``) → its row without its name, as plain data."""


def read_rows(reading: Reading) -> Objects:
    """Return all definitions as they are stored."""
    found: dict[str, Mapping[str, Any]] = {
        f"group/{name}": {"body": body} for name, body in reading.group_bodies().items()
    }
    found |= {f"placement/{row.name}": {"body": row.body} for row in reading.placements()}
    return found | {f"policy/{row.name}": plain_policy(row) for row in reading.policies()}


def plain_policy(row: PolicyRow) -> dict[str, Any]:
    """Return the head of a policy as plain data."""
    held = asdict(row)
    return {key: held[key] for key in ("type", "revision", "sha256", "private_to", "labels")}


def row_digest(held: Mapping[str, Any] | None) -> str:
    """Return the digest of an object's row; empty if it is not there."""
    return digest(canonical(held)) if held is not None else ""


class Release:
    """Publishes one change; made before anything is stored, used once.

    Attributes:
        agents: Group with a new bundle → how many it has.
        reach: Agents that get new content.
        rollout: Name of the rollout that begins by it; empty if there is none.
        warnings: Sentences about how far it reaches; of a dry run only.
    """

    def __init__(
        self,
        tx: Writing,
        bundles: Bundles,
        grant: Grant,
        groups: Mapping[str, Group],
        *,
        now: float,
        everyone: bool = False,
        terms: RolloutTerms | None = None,
        hold: bool = False,
        message: str = "",
        dry_run: bool = False,
    ) -> None:
        """Keep what is stored now, so that an undo can bring it back.

        Args:
            tx: The transaction of the change.
            bundles: Sign.
            grant: Who makes it.
            groups: All groups as they are stored now.
            now: Unix seconds.
            everyone: Whether it may reach any number of agents at once.
            terms: The waves in which it goes out; None for all at once.
            hold: Whether nobody has it before somebody says so: agents hold it as a candidate.
            message: Why.
            dry_run: Tell only; the transaction must not be committed.
        """
        self.agents: Mapping[str, int] = {}
        self.reach = 0
        self.rollout = ""
        self.asks = ""
        self.warnings: list[str] = []
        self._tx, self._bundles, self._grant, self._now = tx, bundles, grant, now
        self._everyone, self._message, self._dry_run, self._held = everyone, message, dry_run, hold
        self._terms = HELD_TERMS if hold else terms
        self._before: Objects = read_rows(tx) if self._terms is not None else {}
        self._groups = groups
        self._counts: dict[str, int] = {}
        self._open = [open_rollout(row) for row in tx.rollouts(open_only=True)]
        self._parts: Mapping[str, Part] = {}

    def publish(
        self, groups: Sequence[str], *, tree: Tree, heads: Sequence[PolicyRow] | None = None
    ) -> list[BundleRow]:
        """Sign what is new for these groups and those below them; arguments and errors as ``Bundles.publish``.

        Raises:
            ConflictError: ``conflict.reach``: it reaches too many at once; ``conflict.contact``: nobody
                could have it first; ``conflict.rollout``: a group would get what is in another's rollout.
        """
        signed = self._bundles.publish(
            self._tx,
            groups,
            now=self._now,
            tree=tree,
            heads=heads,
            staged=self._stage,
            allow=partial(self._allow, tree),
            dry_run=self._dry_run,
        )
        self.agents = self._count([row.group for row in signed])
        opened = self._count(find_opened(self._tx, tree, self._groups, groups))
        self.reach = sum({**opened, **self.agents}.values())
        publishing, everyone, dry_run = self._bundles.publishing, self._everyone, self._dry_run
        decided = everyone or self._terms is not None
        wide = check_wide(publishing, self.agents, decided=decided, dry_run=dry_run)
        least = check_opened(publishing, opened, decided=everyone, dry_run=dry_run)
        # A lower minimum stands in no bundle: no rollout holds it back.
        self.asks = "all" if least else "canary" if wide else ""
        self.warnings += [warning for warning in (wide, least) if warning]
        if self._parts and not self._dry_run:
            self._keep(signed)
        return signed

    def _allow(self, tree: Tree, bundles: Sequence[Bundle]) -> None:
        if self._open:
            check_spill(self._open, bundles, tree, self._count([bundle.group for bundle in bundles]))

    def _count(self, groups: Sequence[str]) -> Mapping[str, int]:
        """Return group → agents; nobody moves meanwhile, so each group is asked about once."""
        unknown = [name for name in groups if name not in self._counts]
        if unknown:
            found = self._tx.agent_counts(unknown)
            self._counts |= {name: found.get(name, 0) for name in unknown}
        return {name: self._counts[name] for name in groups}

    def _stage(self, groups: Sequence[str]) -> Mapping[str, RolloutRef]:
        """Draw who is to have it first; where nobody is yet, nobody is: who joins there waits as the others do."""
        if self._terms is None or not (self._held or any(self._count(groups).values())):
            return {}
        # One that was deleted once and is made anew goes back to nothing.
        held = [name for name in groups if f"group/{name}" in self._before]
        publishing, wave = self._bundles.publishing, self._terms.waves[0]
        try:
            if self._held:
                self._parts = draw_nobody(held, publishing.rng)
            else:
                self._parts = draw(publishing.members(self._tx, held), wave, publishing.rng)
        except ConflictError as error:
            if not self._dry_run:
                raise
            self.warnings.append(f"it cannot be applied: {error.problem}. {error.hint}")
            return {}
        name = f"r{next_number(self._tx)}"
        return {
            group: RolloutRef(
                id=name, salt=part.salt, ppm=part.ppm, wave=1, stable_serial=0, named=self._held
            )
            for group, part in self._parts.items()
        }

    def _keep(self, signed: Sequence[BundleRow]) -> None:
        if self._terms is None:
            return
        number = next_number(self._tx)
        name = f"r{number}"
        begin = Rollout.hold if self._held else partial(Rollout.begin, now=self._now)
        digests = {row.group: row.content_digest for row in signed}
        places = {
            group: Place(salt=part.salt, first=part.ppm, digests=(digests[group],))
            for group, part in self._parts.items()
        }
        after = read_rows(self._tx)
        moved = [about for about in {**self._before, **after} if self._before.get(about) != after.get(about)]
        stored = StoredRollout(
            number=number,
            rollout=begin(name, self._terms),
            groups=places,
            author=self._grant.actor,
            at=self._now,
            message=self._message,
            former={
                about: Former(was=self._before.get(about), now=row_digest(after.get(about)))
                for about in sorted(moved)
            },
        )
        keep_new(self._tx, stored, self._grant, now=self._now)
        self.rollout = name
