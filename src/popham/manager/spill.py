"""What is in a rollout reaches no other group at once: by assigning it, by inheriting it, or by another's undo.

Where nobody is yet, it may; but not while the rollout is halted or held.

Source: guarantees SEC-41.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from popham.errors import ConflictError
from popham.manager.objects import parse_group
from popham.manager.rollouts import StoredRollout
from popham.model.bundle import Bundle
from popham.model.fleet import COMMUNICATION, LOCATIONS, Group, Tree
from popham.model.rollout import RolloutState
from popham.resolve.lineage import items
from popham.resolve.resolved import own_communication, own_locations


def check_spill(
    rollouts: Iterable[StoredRollout], bundles: Iterable[Bundle], tree: Tree, counts: Mapping[str, int]
) -> None:
    """Return if none of these bundles has what is in a rollout that its group is not in.

    Args:
        rollouts: Those that are open.
        bundles: What is to be signed, besides what begins a rollout.
        tree: All groups as they are to be.
        counts: Group → agents.

    Raises:
        ConflictError: ``conflict.rollout``.
    """
    for one in rollouts:
        stopped = one.rollout.state in {RolloutState.HALTED, RolloutState.HELD}
        for bundle in bundles:
            if bundle.group in one.groups or not (stopped or counts.get(bundle.group)):
                continue
            spilt = [*_assigned(one, bundle), *_inherited(one, tree, bundle.group)]
            if spilt:
                name, how = one.rollout.id, f"is {one.rollout.state}" if stopped else "is under way"
                problem = f"group {bundle.group} would {spilt[0]} at once, whose rollout {name} {how}"
                hint = f"First end it: popham rollout promote {name}, or popham rollout undo {name}"
                raise ConflictError("rollout", problem, hint)


def _assigned(one: StoredRollout, bundle: Bundle) -> Iterator[str]:
    """Yield the policies in a bundle whose content is another by a rollout; other labels are no content."""
    refs = {ref for held in bundle.locations.values() for ref in held.policies}
    for ref in sorted(refs, key=lambda ref: ref.name):
        former = one.former.get(f"policy/{ref.name}")
        if former is not None and (former.was is None or former.was["revision"] != ref.revision):
            yield f"get policy {ref.name}"


def _inherited(one: StoredRollout, tree: Tree, name: str) -> Iterator[str]:
    """Yield what a group inherits of those above it that is another there by a rollout."""
    line = tree.lineage(name)
    for place, above in enumerate(line[1:], 1):
        former = one.former.get(f"group/{above.name}")
        # A group that it created is in no rollout itself: who is there has what it says.
        if former is None or former.was is None:
            continue
        was = parse_group(above.name, str(former.was["body"]))
        for item in items([above, was]):
            taken = all(group.inherits_item(item) for group in line[:place])
            if taken and _own(was, item) != _own(above, item):
                yield f"inherit {item} of group {above.name}"


def _own(group: Group, item: str) -> Any:
    """Return what decides about an item in a group: its own values, or whose it takes."""
    if group.inherits_item(item):
        return group.parent
    if item == LOCATIONS:
        return own_locations(group)
    if item == COMMUNICATION:
        there = {name: held.communication for name, held in group.values.items() if held.communication}
        return own_communication(group), there
    named = {name: held.policies[item] for name, held in group.values.items() if item in held.policies}
    return group.policies.get(item), named
