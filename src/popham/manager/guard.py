"""Bodies with secrets, and the serial that must be in force on an agent before it is given them.

Rules:

1. A group's ``minimum_serial`` is its own and never inherited: serials of two groups cannot be compared.
2. Nothing is signed anew by it: what a bundle names is the same for all, and an agent applies the rest
   until it is given the body.
3. What an agent has is not taken back.

Source: row F.Y14.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from popham.model.fleet import Group, Tree
from popham.model.policy import STOCK_TYPES
from popham.model.types.redaction import has_secret
from popham.resolve.resolved import resolve_assignments, resolve_locations
from popham.store.rows import PolicyRow
from popham.store.seam import Reading

_KEY = "minimum_serial"


def read_minima(reading: Reading, names: Iterable[str] | None) -> dict[str, int]:
    """Return group → the serial that it asks for, of those among ``names`` (None: all) that ask for one."""
    if names is None:
        bodies = reading.group_bodies()
    else:
        bodies = {name: row.body for name in names if (row := reading.group(name)) is not None}
    # Most groups ask for none, and need not be parsed.
    found = {name: json.loads(body).get(_KEY, 0) for name, body in bodies.items() if f'"{_KEY}"' in body}
    return {name: minimum for name, minimum in found.items() if minimum}


def find_guarded(blobs: Mapping[str, bytes]) -> frozenset[str]:
    """Return the digests of the policy bodies that hold a secret."""
    return frozenset(sha256 for sha256, encoded in blobs.items() if _has_secret(encoded))


def add_changed(groups: Iterable[str], before: Tree, after: Tree) -> tuple[str, ...]:
    """Return ``groups`` and those that ask for another serial than before; the bundles of these may be the same."""
    minima = {group.name: group.minimum_serial for group in before}
    changed = (group.name for group in after if group.minimum_serial != minima.get(group.name, 0))
    return tuple(dict.fromkeys([*groups, *changed]))


def find_opened(reading: Reading, tree: Tree, before: Mapping[str, Group], names: Iterable[str]) -> list[str]:
    """Return the groups among ``names`` that give their secrets from a lower serial on than before.

    Args:
        reading: The transaction, the groups in it as they are to be.
        tree: All groups as they are to be.
        before: All groups as they were.
        names: The groups that were written.
    """
    known = [name for name in sorted(set(names)) if name in tree and name in before]
    lower = (name for name in known if tree[name].minimum_serial < before[name].minimum_serial)
    return [name for name in lower if _find_policies(reading, tree, name)]


def warn(reading: Reading, tree: Tree, names: Iterable[str]) -> Iterator[str]:
    """Yield who is given no secrets: everybody before a serial that is to come, and stock agents.

    Args:
        reading: The transaction, the newest bundles in it; they need not be signed.
        tree: All groups as they are to be.
        names: The groups it is about.
    """
    asking = [tree[name] for name in sorted(set(names)) if tree[name].minimum_serial]
    stocked = (
        {row.group for row in reading.tokens() if row.kind == "stock" and not row.revoked} if asking else ()
    )
    for group in asking:
        guarded, row = _find_policies(reading, tree, group.name), reading.bundle(group.name)
        if not guarded:
            continue
        serial = row.serial if row else 0
        if group.minimum_serial > serial:
            yield (
                f"group {group.name!r} gives {_show(guarded)} from serial {group.minimum_serial} on and is at "
                f"serial {serial}: no agent that lacks them is given them before there is such a serial"
            )
        kept_back = [policy for policy in guarded if policy.type in STOCK_TYPES]
        if group.name in stocked and kept_back:
            yield (
                f"group {group.name!r} gives {_show(kept_back)} from serial {group.minimum_serial} on: "
                f"its stock agents name no serial, so they are never given them"
            )


def _find_policies(reading: Reading, tree: Tree, group: str) -> list[PolicyRow]:
    """Return the policies with secrets that hold in a group, in any location."""
    places = resolve_locations(tree, group).value.names
    held = {origin.value for place in places for origin in resolve_assignments(tree, group, place).values()}
    rows = [reading.policy(name) for name in sorted(name for name in held if name is not None)]
    return [row for row in rows if row is not None and _has_secret(reading.encoded(row.sha256) or b"")]


def _show(policies: Iterable[PolicyRow]) -> str:
    names = ", ".join(repr(policy.name) for policy in policies)
    return f"the secrets of {names}"


def _has_secret(encoded: bytes) -> bool:
    # One that is gone cannot be given either.
    if not encoded:
        return False
    held = json.loads(encoded)
    return has_secret(held["type"], held["body"])
