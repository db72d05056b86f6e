"""Tests of policies without a Manager: on the fleet that the definitions alone would make.

Rules:

1. They are run only where the definitions say all: the root and every group up to it.
2. What is not run is counted; a Manager runs it, on the fleet as it would be.
"""

from __future__ import annotations

from dataclasses import dataclass

from popham.errors import DefinitionError
from popham.manager.merge import merge, parents_first
from popham.manager.told import failed
from popham.model.definition import Definitions, GroupDefinition, PolicyDefinition
from popham.model.expectation import Expectation
from popham.model.findings import Findings
from popham.model.fleet import Group, Tree
from popham.model.names import ROOT_GROUP
from popham.model.placement import Rules
from popham.resolve.expected import failures


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How many tests hold, and how many only a Manager can run."""

    held: int = 0
    waiting: int = 0


def rehearse(definitions: Definitions) -> Rehearsed:
    """Run the tests of ``definitions`` on what they alone would make of a new Manager.

    Raises:
        DefinitionSetError: ``definition.expectation``, one for each sentence that does not hold.
    """
    tests: list[tuple[str, GroupDefinition | PolicyDefinition, Expectation]] = [
        (f"group {group.name!r}", group, test) for group in definitions.groups for test in group.tests
    ]
    tests += [
        (f"policy {policy.name!r}", policy, test) for policy in definitions.policies for test in policy.tests
    ]
    tree = _tree(definitions) if tests else None
    findings = Findings()
    held = waiting = 0
    rules = Rules(placement.rule for placement in definitions.placements)
    for owner, written, test in tests:
        if tree is None or (test.group and test.group not in tree):
            waiting += 1
            continue
        sentences = list(failures(test, tree, rules))
        held += not sentences
        for sentence in sentences:
            findings.add(failed(owner, test, sentence, written))
    findings.finish()
    return Rehearsed(held, waiting)


def _tree(definitions: Definitions) -> Tree | None:
    """Return the groups that have all above them in the set; None if the root is not there."""
    made: dict[str, Group] = {}
    for definition in parents_first(definitions):
        if definition.name == ROOT_GROUP or definition.parent in made:
            try:
                made[definition.name] = merge(definition, {}, made)
            except DefinitionError:
                # A setting that fits only beside what a Manager has: it says so, with the line.
                continue
    return Tree(made.values()) if ROOT_GROUP in made else None
