"""Tests of policies: what an agent is expected to get, written beside what decides it.

Rules:

1. A test says whose agent it is about, by group and location, or by labels that a placement puts into a group.
2. It names only what it expects; the rest may be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from popham.errors import DefinitionError
from popham.model.keys import check_keys
from popham.model.lines import line_of
from popham.model.names import check_name, show

TESTS_MAX = 100
"""Tests of one definition."""
NAME_MAX = 200
_KEYS = ("name", "given", "expect")
_GIVEN = ("group", "location", "labels")
_EXPECT = ("policies", "communication")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One test.

    Attributes:
        name: A sentence for people.
        group: The agent's group; empty if ``labels`` decide.
        location: Where it is; empty for the group's default.
        labels: The agent's own labels, by which placements find its group.
        policies: Policy type → name of the policy it is to get, or None for none.
        communication: Settings as people write them.
        line: Where it stands; not part of the test.
    """

    name: str
    group: str = ""
    location: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, str | None] = field(default_factory=dict)
    communication: Mapping[str, Any] = field(default_factory=dict)
    line: int = field(default=0, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the test as it is kept, and as people write it."""
        given: dict[str, Any] = {"group": self.group, "location": self.location, "labels": dict(self.labels)}
        expect = {"policies": dict(self.policies), "communication": dict(self.communication)}
        return {
            "name": self.name,
            "given": {key: value for key, value in given.items() if value},
            "expect": {key: value for key, value in expect.items() if value},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Expectation:
        """Return the test that is kept."""
        return cls(name=data["name"], line=line_of(data), **data["given"], **data["expect"])


def read_tests(
    value: object,
    *,
    group: str,
    part: Callable[[int], AbstractContextManager[None]],
    check_settings: Callable[[Any], None],
    check_type: Callable[[str, Any], None],
) -> tuple[Expectation, ...]:
    """Return what stands under ``tests``.

    Args:
        value: A list of mappings; None for none.
        group: The group whose definition it is, which a test is about unless it says otherwise; or empty.
        part: Collects what is wrong with one test, by its line.
        check_settings: Checks communication settings.
        check_type: Checks a policy type, which is a key of the mapping.

    Raises:
        DefinitionError: It is no list, or too long.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > TESTS_MAX:
        problem = f"tests: {show(value)} is no list of at most {TESTS_MAX} tests"
        raise DefinitionError("test", problem, "Write '- name:', 'given:' and 'expect:'")
    found = []
    for item in value:
        with part(line_of(item)):
            found.append(_read_test(item, group, check_settings, check_type))
    return tuple(found)


def _read_test(
    item: object,
    group: str,
    check_settings: Callable[[Any], None],
    check_type: Callable[[str, Any], None],
) -> Expectation:
    held = _mapping(item, "a test", _KEYS)
    name = held.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX or not name.isprintable():
        problem = f"tests: {show(name)} is no name of a test"
        raise DefinitionError(
            "test", problem, "Write one line about what is to hold", line=line_of(held, "name")
        )
    given = _mapping(held.get("given") or {}, "given", _GIVEN)
    expect = _mapping(held.get("expect"), "expect", _EXPECT)
    labels = given.get("labels") or {}
    good = isinstance(labels, Mapping) and all(isinstance(text, str) for text in labels.values())
    if not good or (labels and "group" in given):
        problem = f"tests: {name!r}: labels: {show(labels)} cannot be used here"
        hint = "Give a group, or labels (names and texts) by which a placement finds one"
        raise DefinitionError("test", problem, hint, line=line_of(given, "labels"))
    about = check_name(given["group"], "group") if "group" in given else "" if labels else group
    if not about and not labels:
        raise DefinitionError(
            "test", f"tests: {name!r} is about no agent", "Give a group, or labels", line=line_of(held)
        )
    policies = _mapping(expect.get("policies") or {}, "expect.policies")
    for kind, policy in policies.items():
        if policy is not None:
            check_name(policy, "policy")
        check_type(kind, policies)
    communication = _mapping(expect.get("communication") or {}, "expect.communication")
    if communication:
        check_settings(communication)
    if not policies and not communication:
        problem = f"tests: {name!r} expects nothing"
        raise DefinitionError(
            "test", problem, "Name policies or communication under 'expect:'", line=line_of(held)
        )
    return Expectation(
        name=name,
        group=about,
        location=check_name(given["location"], "location") if "location" in given else "",
        labels=dict(labels),
        policies=dict(policies),
        communication=dict(communication),
        line=line_of(held),
    )


def _mapping(value: object, what: str, known: tuple[str, ...] = ()) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        problem = f"tests: {what} is {show(value)}, and must be a mapping"
        raise DefinitionError("test", problem, "Write 'key: value' lines below it", line=line_of(value))
    if known:
        check_keys(value, known, f"tests: {what}")
    return value
