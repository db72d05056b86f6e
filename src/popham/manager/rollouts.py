"""Rollouts as they are stored, and their steps.

Rules:

1. A rollout and the bundles of all its groups change in one transaction; a Manager that is killed finds both
   as they were before a step, or both as they are after it.
2. A step is an entry of the audit about ``rollout/r12``, whoever takes it: somebody, or the Manager itself.
3. The name of a rollout is used once.
4. A Manager that was restored goes on with none by itself: somebody may have stopped it since the backup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from popham.errors import ConflictError, NotFoundError
from popham.manager.audit import note
from popham.manager.bundles import Bundles
from popham.manager.cohort import Part
from popham.manager.grant import Grant
from popham.manager.rollout_views import Troubled
from popham.model.bundle import Bundle
from popham.model.names import canonical, show
from popham.model.rollout import PPM, Rollout, RolloutState, Tally, bucket
from popham.resolve.build import promote, widen
from popham.store.rows import BundleRow, RolloutRow
from popham.store.seam import Reading, Writing

_LAST = "rollout_last"
"""Number of the newest rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A group of a rollout.

    Attributes:
        salt: Decides with the share who is in the cohort.
        first: Share in the first wave, in parts per million: no more than the wave's.
        digests: Content digests of the bundles by which the cohort has the candidate.
    """

    salt: str
    first: int
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """What an undo brings back of one object.

    Attributes:
        was: Its row before, without its name; None if there was none.
        now: Digest of its row as it was stored; empty if it was deleted.
    """

    was: Mapping[str, Any] | None
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRollout:
    """A rollout with what is kept beside it.

    Attributes:
        number: Of its name.
        rollout: How it goes on.
        groups: Group → who is in its cohort.
        author, at, message: Of the change.
        former: Object (``policy/motd``) → what an undo brings back.
        tally: How its cohort was doing when it was halted or ended.
        errors: Who had failed by then; the first ones.
    """

    number: int
    rollout: Rollout
    groups: Mapping[str, Place]
    author: str
    at: float
    message: str = ""
    former: Mapping[str, Former] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    errors: tuple[Troubled, ...] = ()

    def ppm(self, group: str) -> int:
        """Return the share of a group that is in the cohort now."""
        rollout = self.rollout
        if rollout.state is RolloutState.UNDONE:
            return 0
        first = not rollout.current and rollout.state is not RolloutState.PROMOTED
        return min(self.groups[group].first, rollout.ppm) if first else rollout.ppm

    @property
    def began(self) -> float:
        """When the wave that holds began, in unix seconds; before the first one, when the change was made."""
        return self.rollout.wave.began or self.at

    def had(self, group: str, uid: str, candidate: str) -> bool:
        """Return whether an agent of a group was in the cohort of the wave that holds, or held when it halted.

        ``candidate`` is the rollout that its assignment names.
        """
        place, ppm = self.groups[group], self.rollout.wave.ppm
        if self.rollout.began_held and candidate == self.rollout.id:
            return True
        return bool(self.rollout.wave.began) and bucket(place.salt, uid) * PPM < (
            ppm if self.rollout.current else min(place.first, ppm)
        )

    def row(self) -> RolloutRow:
        """Return the row that keeps it."""
        body = {
            **self.rollout.as_dict(),
            "groups": {name: asdict(place) for name, place in self.groups.items()},
            "author": self.author,
            "at": self.at,
            "message": self.message,
            "former": {about: asdict(former) for about, former in self.former.items()},
            "tally": asdict(self.tally),
            "errors": [asdict(one) for one in self.errors],
        }
        return RolloutRow(number=self.number, over=self.rollout.state.is_over, body=canonical(body).decode())


def open_rollout(row: RolloutRow) -> StoredRollout:
    """Return the rollout that a row keeps."""
    body = json.loads(row.body)
    places = {
        name: Place(salt=held["salt"], first=held["first"], digests=tuple(held["digests"]))
        for name, held in body["groups"].items()
    }
    return StoredRollout(
        number=row.number,
        rollout=Rollout.from_dict(body),
        groups=places,
        author=body["author"],
        at=body["at"],
        message=body["message"],
        former={about: Former(**held) for about, held in body["former"].items()},
        tally=Tally(**body["tally"]),
        errors=tuple(Troubled(**one) for one in body["errors"]),
    )


def next_number(reading: Reading) -> int:
    """Return the number of the next rollout."""
    return int(reading.meta(_LAST) or 0) + 1


def keep_new(tx: Writing, stored: StoredRollout, grant: Grant, *, now: float) -> None:
    """Store a rollout that begins, whose bundles are signed."""
    tx.set_meta(_LAST, str(stored.number))
    tx.put_rollout(stored.row())
    said = {"changes": sorted(stored.former), "groups": sorted(stored.groups)}
    after = describe(stored) | said
    note(tx, grant, "rollout.begin", f"rollout/{stored.rollout.id}", now=now, after=after)


def find_rollout(reading: Reading, name: str) -> StoredRollout:
    """Return a rollout by its name; raises NotFoundError ``not_found.rollout``."""
    digits = name.removeprefix("r")
    row = None
    if digits.isascii() and digits.isdigit() and len(digits) <= len(str(2**31)):
        row = reading.rollout(int(digits))
    if row is None:
        raise NotFoundError("rollout", f"there is no rollout {show(name)}", "'popham rollout list' shows all")
    return open_rollout(row)


def find_open(reading: Reading, name: str) -> StoredRollout:
    """Return a rollout that is not over.

    Raises:
        NotFoundError: ``not_found.rollout``.
        ConflictError: ``conflict.over``.
    """
    stored = find_rollout(reading, name)
    if stored.rollout.state.is_over:
        problem = f"rollout {stored.rollout.id} is over: it was {stored.rollout.state}"
        raise ConflictError("over", problem, "Apply the definitions that are to hold, or roll back a policy")
    return stored


def describe(stored: StoredRollout) -> dict[str, Any]:
    """Return what the audit shows of a rollout."""
    rollout = stored.rollout
    return {
        "state": str(rollout.state),
        "wave": rollout.current + 1,
        "share": rollout.ppm / PPM,
        "reason": rollout.reason,
    }


def step(
    tx: Writing,
    bundles: Bundles,
    grant: Grant,
    method: str,
    was: StoredRollout,
    rollout: Rollout,
    *,
    now: float,
    drawn: Mapping[str, Part] | None = None,
) -> tuple[StoredRollout, list[BundleRow]]:
    """Store a rollout in another state or wave, and sign its bundles where the cohort is another by it.

    Args:
        tx: The transaction.
        bundles: Sign.
        grant: Who takes the step.
        method: Its name in the audit, such as ``rollout.halt``.
        was: The rollout before, as it is stored; with the tally to keep.
        rollout: The rollout after.
        now: Unix seconds.
        drawn: Group → what decides who is in its first wave, where that begins only now; None for what did.

    Raises:
        ConflictError: ``conflict.bundle``: repeat the transaction.
    """
    places = was.groups
    if drawn is not None:
        places = {
            name: replace(place, salt=drawn[name].salt, first=drawn[name].ppm)
            for name, place in places.items()
        }
    stored = replace(was, rollout=rollout, groups=places)
    signed = _sign(tx, bundles, was, stored, now=now)
    taken_up = was.rollout.state is RolloutState.HALTED
    digests = {row.group: row.content_digest for row in signed}
    held = {}
    for name, place in stored.groups.items():
        fresh = (digests[name],) if name in digests and (rollout.ppm or rollout.named) else ()
        held[name] = replace(place, digests=tuple(dict.fromkeys((*place.digests, *fresh))))
    if rollout.state in {RolloutState.RUNNING, RolloutState.HELD} and taken_up:
        stored = replace(stored, tally=Tally(), errors=())
    stored = replace(stored, groups=held)
    tx.put_rollout(stored.row())
    about = f"rollout/{rollout.id}"
    note(tx, grant, method, about, now=now, before=describe(was), after=describe(stored))
    return stored, signed


def pause_restored(tx: Writing, bundles: Bundles, grant: Grant, *, now: float) -> int:
    """Pause every rollout that runs, after a restore; return how many."""
    count = 0
    for row in tx.rollouts(open_only=True):
        was = open_rollout(row)
        if was.rollout.state is RolloutState.RUNNING:
            why = "this Manager was restored from a backup"
            paused = was.rollout.became(RolloutState.PAUSED, why, now=now, by=grant.actor)
            step(tx, bundles, grant, "rollout.pause", was, paused, now=now)
            count += 1
    return count


def _sign(
    tx: Writing, bundles: Bundles, was: StoredRollout, stored: StoredRollout, *, now: float
) -> list[BundleRow]:
    """Sign the bundles of all groups whose cohort is another than before."""
    rollout = stored.rollout
    wave, promoted = rollout.current + 1, rollout.state is RolloutState.PROMOTED

    def change(bundle: Bundle) -> Bundle:
        if promoted:
            return promote(bundle, now=now)
        salt = stored.groups[bundle.group].salt
        ppm = stored.ppm(bundle.group)
        return widen(bundle, ppm=ppm, wave=wave, now=now, salt=salt, named=rollout.named)

    same = (was.rollout.current, was.rollout.named) == (rollout.current, rollout.named)
    signed = []
    for name in sorted(stored.groups):
        undrawn = was.groups[name].salt == stored.groups[name].salt
        if not promoted and same and undrawn and was.ppm(name) == stored.ppm(name):
            continue
        signed.append(bundles.follow(tx, name, change))
    return signed
