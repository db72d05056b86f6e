"""What an apply tells before it is made: differences of objects, and tests that would fail.

Differences are found beside the transaction: of two large policies that have little in common they take seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from popham.errors import DefinitionError
from popham.manager.apply_views import Change
from popham.manager.exported import (
    Object,
    write_agent,
    write_group,
    write_placement,
    write_policy,
    write_proxy,
)
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
    policies = (reading.policy(policy.name) for policy in definitions.policies)
    rules = (reading.placement(placement.name) for placement in definitions.placements)
    found = {f"policy/{row.name}": write_policy(reading, row) for row in policies if row}
    found |= {f"placement/{row.name}": write_placement(row) for row in rules if row}
    agents = (reading.agent_definition(wanted.name) for wanted in definitions.agents)
    found |= {f"agent/{row.name}": write_agent(row) for row in agents if row}
    proxies = (reading.proxy(wanted.name) for wanted in definitions.proxies)
    return found | {f"proxy/{row.name}": write_proxy(row) for row in proxies if row}


def tell_differences(
    changes: Sequence[Change],
    old: Mapping[str, Object],
    new: Mapping[str, Object],
    before: Tree,
    after: Tree,
) -> tuple[Change, ...]:
    """Return ``changes`` with what differs.

    Args:
        changes: What was done.
        old: What :func:`read_objects` returned before.
        new: What it returned afterwards.
        before: All groups as they were.
        after: All groups as they are to be.
    """
    room = TEXT_MAX
    found = []
    for change in changes:
        differs = change.action not in {"unchanged", "deleted"}
        text = _difference(change, old, new, before, after) if differs else ""
        if len(text) > room:
            text = "… (too long to be shown beside the others)\n"
        room -= len(text)
        found.append(replace(change, difference=text))
    return tuple(found)


def _difference(
    change: Change, old: Mapping[str, Object], new: Mapping[str, Object], before: Tree, after: Tree
) -> str:
    about = f"{change.kind.lower()}/{change.name}"
    was, now = old.get(about), new.get(about)
    if change.kind == "Group":
        was, now = (
            write_group(tree, change.name) if change.name in tree else None for tree in (before, after)
        )
    return find_difference(was, now, before=f"stored/{about}", after=f"files/{about}")


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
