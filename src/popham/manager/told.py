"""What an apply tells before it is made: differences of objects, and tests that would fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from popham.errors import DefinitionError
from popham.manager.apply_views import Change
from popham.manager.exported import Object, write_group, write_placement, write_policy
from popham.manager.moves import read_placements
from popham.manager.objects import notes_of
from popham.model.definition import Definitions
from popham.model.difference import find_difference
from popham.model.expectation import Expectation
from popham.model.findings import Findings
from popham.model.fleet import Tree
from popham.model.placement import Rules
from popham.model.wanted import GroupDefinition, PolicyDefinition
from popham.resolve.expected import failures
from popham.store.rows import PolicyRow
from popham.store.seam import Reading

TEXT_MAX = 4 * 1024 * 1024
"""Characters of all differences of one dry run; the rest are left out, and said to be."""


def read_objects(reading: Reading, definitions: Definitions) -> dict[str, Object]:
    """Return object (``policy/motd``) → its definition as it is stored, of the policies and placements concerned."""
    found: dict[str, Object | None] = {}
    for policy in definitions.policies:
        found[f"policy/{policy.name}"] = _policy(reading, policy.name)
    for placement in definitions.placements:
        found[f"placement/{placement.name}"] = _placement(reading, placement.name)
    return {about: held for about, held in found.items() if held is not None}


def tell_differences(
    reading: Reading, changes: Sequence[Change], old: Mapping[str, Object], before: Tree, after: Tree
) -> tuple[Change, ...]:
    """Return ``changes`` with what differs.

    Args:
        reading: The transaction, everything in it changed.
        changes: What was done.
        old: What :func:`read_objects` returned before.
        before: All groups as they were.
        after: All groups as they are to be.
    """
    room = TEXT_MAX
    found = []
    for change in changes:
        differs = change.action not in {"unchanged", "deleted"}
        text = _difference(reading, change, old, before, after) if differs else ""
        if len(text) > room:
            text = "… (too long to be shown beside the others)\n"
        room -= len(text)
        found.append(replace(change, difference=text))
    return tuple(found)


def _difference(
    reading: Reading, change: Change, old: Mapping[str, Object], before: Tree, after: Tree
) -> str:
    about = f"{change.kind.lower()}/{change.name}"
    if change.kind == "Group":
        was = write_group(before, change.name) if change.name in before else None
        new = write_group(after, change.name) if change.name in after else None
    else:
        was = old.get(about)
        new = (
            _placement(reading, change.name) if change.kind == "Placement" else _policy(reading, change.name)
        )
    return find_difference(was, new, before=f"stored/{about}", after=f"files/{about}")


def _policy(reading: Reading, name: str) -> Object | None:
    row = reading.policy(name)
    return write_policy(reading, row) if row else None


def _placement(reading: Reading, name: str) -> Object | None:
    row = reading.placement(name)
    return write_placement(row) if row else None


def check_tests(reading: Reading, definitions: Definitions, tree: Tree, heads: Iterable[PolicyRow]) -> None:
    """Return if every test of every group and policy holds in the fleet as the transaction leaves it.

    Other writers wait meanwhile: 20 ms for 1,000 tests, as measured, whether they name a group or labels that one of
    256 rules of placement puts into one.  That is too little to run them on a snapshot first, and then to look
    whether anything moved.

    Args:
        reading: The transaction.
        definitions: What was applied; tests in it are named with their lines.
        tree: All groups as they are to be.
        heads: All policies as they are to be.

    Raises:
        DefinitionSetError: ``definition.expectation``, one for each sentence that does not hold.
    """
    tests = list(_tests(tree, heads))
    if not tests:
        return
    findings = Findings()
    placements = Rules(read_placements(reading))
    written: dict[str, GroupDefinition | PolicyDefinition] = {
        f"group {group.name!r}": group for group in definitions.groups
    }
    written |= {f"policy {policy.name!r}": policy for policy in definitions.policies}
    for owner, test in tests:
        for sentence in failures(test, tree, placements):
            findings.add(failed(owner, test, sentence, written.get(owner)))
    findings.finish()


def _tests(tree: Tree, heads: Iterable[PolicyRow]) -> Iterator[tuple[str, Expectation]]:
    for group in sorted(tree, key=lambda one: one.name):
        yield from ((f"group {group.name!r}", test) for test in group.tests)
    for row in heads:
        yield from ((f"policy {row.name!r}", test) for test in notes_of(row).tests)


def failed(
    owner: str, test: Expectation, sentence: str, written: GroupDefinition | PolicyDefinition | None
) -> DefinitionError:
    """Return the finding for a test that does not hold.

    Args:
        owner: The definition that has it: ``group 'paris'``.
        test: The test.
        sentence: What does not hold.
        written: That definition; None if it is only stored, and there is no file to name.
    """
    problem = f"test {test.name!r} of {owner} fails: {sentence}"
    hint = "Correct the definition, or the test if this is what you want"
    line = next((one.line for one in written.tests if one == test), 0) if written else 0
    source = written.place.source if written else ""
    return DefinitionError("expectation", problem, hint, source=source, line=line)
