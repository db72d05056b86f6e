"""From a resolved policy to the next bundle, and its numbers.

Rules:

1. Same content, same serial: whether content changed is decided by building
   with the numbers of the bundle before and comparing content digests.
2. ``version`` never falls and never repeats, whatever the clock does.
3. A rollout begins and is undone under a new serial; its waves and its promotion keep that serial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from popham.errors import ConflictError
from popham.model.bundle import Bundle, PolicyRef, Side
from popham.model.fleet import Tree
from popham.model.location import LocationRules
from popham.model.rollout import RolloutRef
from popham.resolve.resolved import resolve, resolve_communication, resolve_locations


def build_side(tree: Tree, policies: Mapping[str, PolicyRef], group: str) -> Side:
    """Return what is to hold for a group by its definitions; arguments and errors as :func:`build_bundle`."""
    found = resolve_locations(tree, group).value
    download = resolve_communication(tree, group).value.download
    held = {name: resolve(tree, policies, group, name).as_set(download=download) for name in found.names}
    return Side(locations=held, rules=None if found == LocationRules() else found, download=download)


def build_bundle(
    tree: Tree, policies: Mapping[str, PolicyRef], group: str, *, previous: Bundle | None, now: float
) -> Bundle | None:
    """Return the bundle that must follow ``previous``, or None if the content is unchanged.

    Args:
        tree: All groups.
        policies: Policy name → the revision to deliver.
        group: Name of the group.
        previous: The group's newest bundle; None if it never had one.
        now: Unix seconds.

    Raises:
        NotFoundError: There is no such group, or it assigns an unknown policy.
        ConflictError: ``conflict.rollout``: the group is in a rollout of something else.
    """
    side = build_side(tree, policies, group)
    if previous is None:
        return Bundle(
            group=group,
            serial=1,
            version=next_version(0, now),
            issued=int(now),
            locations=side.locations,
            rules=side.rules,
            download=side.download,
        )
    if previous.rollout is not None and previous.candidate is not None:
        if _same(side, previous.candidate):
            return None
        name = previous.rollout.id
        hint = f"First end it: popham rollout promote {name}, or popham rollout undo {name}"
        raise ConflictError("rollout", f"group {group} is in rollout {name}, and this would change it", hint)
    if _same(side, previous.stable):
        return None
    return advance(previous, side, now=now)


def stage(previous: Bundle, fresh: Bundle, rollout: RolloutRef) -> Bundle:
    """Return ``fresh`` with its content as the candidate, and that of ``previous`` on the stable side.

    Args:
        previous: The group's newest bundle.
        fresh: What must follow it.
        rollout: Who is to have it; its stable serial is taken from ``previous``.
    """
    return replace(
        fresh,
        locations=previous.locations,
        rules=previous.rules,
        download=previous.download,
        candidate=fresh.stable,
        rollout=replace(rollout, stable_serial=previous.serial),
    )


def widen(
    previous: Bundle, *, ppm: int, wave: int, now: float, salt: str = "", named: bool = False
) -> Bundle:
    """Return ``previous`` with another cohort, under the same serial: a wave, or a halt with nobody in it.

    Args:
        previous: The group's newest bundle.
        ppm: Share of the group that is in it, in parts per million.
        wave: Number of the wave.
        now: Unix seconds.
        salt: Decides who is in it, where nobody could be before; empty for what decides already.
        named: Whether those are in it too whose assignments name the rollout.
    """
    held = previous.rollout
    if held is None:
        return previous
    rollout = replace(held, ppm=ppm, wave=wave, salt=salt or held.salt, named=named)
    return resign(replace(previous, rollout=rollout), now=now)


def promote(previous: Bundle, *, now: float) -> Bundle:
    """Return ``previous`` with its candidate for all, under the same serial."""
    return resign(_with_side(previous, previous.candidate or previous.stable), now=now)


def advance(previous: Bundle, side: Side, *, now: float) -> Bundle:
    """Return the bundle with ``side`` for all under the next serial; it ends a rollout without its candidate."""
    after = replace(_with_side(previous, side), serial=previous.serial + 1, prev=previous.content_digest)
    return resign(after, now=now)


def _same(side: Side, other: Side) -> bool:
    return (side.sets(), side.traits()) == (other.sets(), other.traits())


def _with_side(previous: Bundle, side: Side) -> Bundle:
    """Return ``previous`` with ``side`` for all, and in no rollout."""
    return replace(
        previous,
        locations=side.locations,
        rules=side.rules,
        download=side.download,
        candidate=None,
        rollout=None,
    )


def resign(previous: Bundle, *, now: float) -> Bundle:
    """Return ``previous`` with the next version, its content and serial untouched."""
    return replace(previous, version=next_version(previous.version, now), issued=int(now))


def next_version(previous: int, now: float) -> int:
    """Return the version that follows ``previous`` at ``now`` (unix seconds)."""
    return max(previous + 1, int(now * 1000))
