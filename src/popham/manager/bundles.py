"""Bundles: built and signed once per group and change, and kept.

Rules:

1. A bundle is signed only if content changed; others keep serial and version.
2. Nothing is signed twice under one number: a version that is taken raises
   ConflictError ``conflict.bundle``, and the caller repeats its transaction.
3. All of it happens inside the transaction of the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from popham.errors import NotFoundError
from popham.manager.objects import GroupReader, read_refs
from popham.manager.publishing import Publishing
from popham.model.bundle import BUNDLE_TYPE, Bundle
from popham.model.fleet import Tree
from popham.model.rollout import RolloutRef
from popham.resolve.build import build_bundle, next_version, resign, stage
from popham.store.rows import BundleRow, PolicyRow
from popham.store.seam import Reading, Writing
from popham.trust.dsse import ENVELOPE_LIMIT, Envelope, Signer, seal

_FEW = 16
"""Groups whose bundles are asked for one by one; more are asked for at once."""


def open_row(row: BundleRow) -> Bundle:
    """Return the bundle that a row keeps. It was signed here, and is not verified again."""
    return Bundle.from_payload(
        Envelope.parse(row.envelope, types=(BUNDLE_TYPE,), limit=ENVELOPE_LIMIT).payload
    )


Staging = Callable[[Sequence[str]], Mapping[str, RolloutRef]]
"""Groups with new content, which had other content before → who is to have it first, where not all are."""


def _all_at_once(_groups: Sequence[str]) -> Mapping[str, RolloutRef]:
    return {}


class Bundles:
    """Builds, signs and stores.

    Attributes:
        director: Signs them.
        groups: Reads groups.
        publishing: What decides how far a change reaches at once.
    """

    def __init__(self, director: Signer, publishing: Publishing | None = None) -> None:
        """Sign with ``director``."""
        self.director = director
        self.publishing = publishing or Publishing()
        self.groups = GroupReader()
        self._opened: dict[str, tuple[BundleRow, Bundle]] = {}

    def publish(
        self,
        tx: Writing,
        groups: Iterable[str] | None,
        *,
        now: float,
        tree: Tree | None = None,
        heads: Sequence[PolicyRow] | None = None,
        staged: Staging = _all_at_once,
        allow: Callable[[Sequence[Bundle]], None] = lambda _bundles: None,
        dry_run: bool = False,
    ) -> list[BundleRow]:
        """Build every concerned group, sign and store those whose content changed; return these.

        Args:
            tx: The transaction that made the change.
            groups: Names of the groups that changed; those below them are
                concerned too. None for all.
            now: Unix seconds.
            tree: All groups as they are in the transaction; None to read them.
            heads: All policies as they are in the transaction; None to read them.
            staged: Asked once for all of them, before anything is signed.
            allow: Raises if one of these bundles may not go out to its whole group at once.
            dry_run: Leave signatures out; the transaction must not be committed.

        Raises:
            NotFoundError: There is no such group, or it assigns an unknown policy.
            ConflictError: ``conflict.bundle``; ``conflict.rollout``: a group is in a rollout of something else.
        """
        tree = tree or Tree(self.groups.read(tx).values())
        concerned = _concerned(tree, groups)
        refs = read_refs(tx, heads)
        rows = _newest_rows(tx, concerned)
        held = {name: self._open(rows[name]) for name in concerned if name in rows}
        fresh = {name: build_bundle(tree, refs, name, previous=held.get(name), now=now) for name in concerned}
        first = staged([name for name in concerned if name in held and fresh[name] is not None])
        allow([bundle for name, bundle in fresh.items() if bundle is not None and name not in first])
        signed = []
        for name, bundle in fresh.items():
            if bundle is None:
                continue
            one = stage(held[name], bundle, first[name]) if name in first else bundle
            signed.append(self._store(tx, one, dry_run=dry_run))
        return signed

    def follow(self, tx: Writing, group: str, change: Callable[[Bundle], Bundle]) -> BundleRow:
        """Sign what ``change`` makes of a group's newest bundle: a step of its rollout.

        Raises:
            NotFoundError: The group has no bundle.
            ConflictError: ``conflict.bundle``.
        """
        row = tx.bundle(group)
        if row is None:
            raise NotFoundError("bundle", f"there is no bundle of group {group!r}")
        return self._store(tx, change(self._open(row)))

    def resign_all(self, tx: Writing, *, now: float) -> list[BundleRow]:
        """Sign every bundle anew with the next version, its serial untouched: after a restore.

        Raises:
            ConflictError: ``conflict.bundle``.
        """
        existing = {row.name for row in tx.groups()}
        held = [open_row(row) for row in tx.bundles() if row.group in existing]
        return [self._store(tx, resign(bundle, now=now)) for bundle in held]

    def raise_above(self, tx: Writing, group: str, bundle: Bundle, *, now: float) -> BundleRow | None:
        """Sign a bundle with serial and version above those of ``bundle``; None if they are already.

        For a Manager restored from a backup, once an agent has shown a genuine
        bundle with higher numbers. The caller has verified its signature.

        Raises:
            NotFoundError: The group has no bundle.
            ConflictError: ``conflict.bundle``.
        """
        row = tx.bundle(group)
        if row is None or bundle.group != group:
            raise NotFoundError("bundle", f"there is no bundle of group {group!r} to raise")
        own = open_row(row)
        if own == bundle:
            return None
        if own.content_digest == bundle.content_digest:
            if own.version > bundle.version:
                return None
            return self._store(tx, replace(own, version=next_version(bundle.version, now), issued=int(now)))
        if own.serial > bundle.serial and own.version > bundle.version:
            return None
        raised = replace(
            own,
            serial=max(own.serial, bundle.serial + 1),
            prev=own.prev if own.serial > bundle.serial else bundle.content_digest,
            version=next_version(max(own.version, bundle.version), now),
            issued=int(now),
        )
        return self._store(tx, raised)

    def _open(self, row: BundleRow) -> Bundle:
        """Return the bundle of a row; one that was just opened is not parsed again."""
        held = self._opened.get(row.group)
        if held is None or held[0] != row:
            held = (row, open_row(row))
            self._opened[row.group] = held
        return held[1]

    def _store(self, tx: Writing, bundle: Bundle, *, dry_run: bool = False) -> BundleRow:
        row = BundleRow(
            group=bundle.group,
            version=bundle.version,
            serial=bundle.serial,
            content_digest=bundle.content_digest,
            envelope=b"" if dry_run else seal(BUNDLE_TYPE, bundle.payload(), self.director),
            tenant=bundle.tenant,
        )
        tx.add_bundle(row)
        if not dry_run:
            self._opened[row.group] = (row, bundle)
        return row


def _concerned(tree: Tree, groups: Iterable[str] | None) -> list[str]:
    """Return the names of ``groups`` and all below them, each once."""
    if groups is None:
        return sorted(group.name for group in tree)
    return list(dict.fromkeys(group.name for name in sorted(set(groups)) for group in tree.below(name)))


def newest(reading: Reading) -> dict[str, BundleRow]:
    """Return the newest bundle of every group that exists."""
    existing = {row.name for row in reading.groups()}
    return {row.group: row for row in reading.bundles() if row.group in existing}


def _newest_rows(reading: Reading, groups: Sequence[str]) -> dict[str, BundleRow]:
    """Return the newest bundle of each of ``groups`` that has one: of a few one by one, of many at once."""
    if len(groups) > _FEW:
        return {row.group: row for row in reading.bundles()}
    return {row.group: row for row in map(reading.bundle, groups) if row is not None}
