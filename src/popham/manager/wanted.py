"""What groups are to have, as the database keeps it, made ready to be sent."""

from __future__ import annotations

import json
from collections.abc import Collection

from popham.errors import PophamError, StateError
from popham.manager.bundles import open_row
from popham.manager.guard import find_guarded, read_minima
from popham.manager.stock import stock_config
from popham.model.bundle import Bundle
from popham.model.policy import Policy
from popham.store.rows import BundleRow
from popham.store.seam import Reading
from popham.upstream.record import Wanted
from popham.upstream.wanted import sides


def read_wanted(tx: Reading, names: Collection[str] | None) -> dict[str, Wanted]:
    """Return group → what its agents are to have, of these groups (None: of all).

    Raises:
        StateError: ``state.damaged``: a bundle in the database cannot be read.
    """
    rows = tx.bundles() if names is None else [tx.bundle(name) for name in sorted(names)]
    minima = read_minima(tx, names)
    return {row.group: _make(tx, row, minima.get(row.group, 0)) for row in rows if row is not None}


def _make(tx: Reading, row: BundleRow, minimum: int) -> Wanted:
    bundle = _open_kept(row)
    held = bundle.locations[bundle.default_location]
    blobs = {sha256: tx.encoded(sha256) or b"" for sha256 in bundle.blobs()}
    policies = [
        Policy(name=ref.name, type=ref.type, body=json.loads(blobs[ref.sha256])["body"])
        for ref in held.policies
    ]
    objects, objects_digest = stock_config(policies, guarded=bool(minimum))
    within, candidate, is_visited = sides(bundle)
    return Wanted(
        group=row.group,
        serial=row.serial,
        version=row.version,
        content_digest=row.content_digest,
        envelope=row.envelope,
        blobs=blobs,
        objects=objects,
        objects_digest=objects_digest,
        communication=held.communication,
        guarded=find_guarded(blobs) if minimum else frozenset(),
        minimum_serial=minimum,
        within=within,
        candidate=candidate,
        rollout=bundle.rollout,
        is_visited=is_visited,
    )


def _open_kept(row: BundleRow) -> Bundle:
    """Return the bundle of a row; a row that somebody altered is named."""
    try:
        return open_row(row)
    except PophamError as error:
        problem = f"the database's bundle {row.version} of group {row.group!r} is damaged: {error.problem}"
        raise StateError("damaged", problem, "Restore a backup: popham restore") from error
