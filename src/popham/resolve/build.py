"""From a resolved policy to the next bundle, and its numbers.

Rules:

1. Same content, same serial: whether content changed is decided by building
   with the numbers of the bundle before and comparing content digests.
2. ``version`` never falls and never repeats, whatever the clock does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from popham.model.bundle import Bundle, PolicyRef
from popham.model.fleet import Tree
from popham.model.location import LocationRules
from popham.resolve.resolved import resolve, resolve_communication, resolve_locations


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
    """
    found = resolve_locations(tree, group).value
    download = resolve_communication(tree, group).value.download
    held = {name: resolve(tree, policies, group, name).as_set(download=download) for name in found.names}
    rules = None if found == LocationRules() else found
    if previous is None:
        return Bundle(
            group=group,
            serial=1,
            version=next_version(0, now),
            issued=int(now),
            locations=held,
            rules=rules,
            download=download,
        )
    same = replace(previous, locations=held, rules=rules, download=download)
    if same.content_digest == previous.content_digest:
        return None
    return replace(
        same,
        serial=previous.serial + 1,
        prev=previous.content_digest,
        version=next_version(previous.version, now),
        issued=int(now),
    )


def resign(previous: Bundle, *, now: float) -> Bundle:
    """Return ``previous`` with the next version, its content and serial untouched."""
    return replace(previous, version=next_version(previous.version, now), issued=int(now))


def next_version(previous: int, now: float) -> int:
    """Return the version that follows ``previous`` at ``now`` (unix seconds)."""
    return max(previous + 1, int(now * 1000))
