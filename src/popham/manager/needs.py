"""What is still needed, and by what: read once for a whole set of deletions, since each would read all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from popham.errors import NotFoundError
from popham.manager.tokens import view_token
from popham.model.fleet import Group
from popham.model.names import nearest, show
from popham.store.seam import Reading


class Needs:
    """Groups and policies, and what hangs on each; told of every deletion.

    Attributes:
        groups: Name → group, of those that are left.
    """

    def __init__(self, reading: Reading, groups: Iterable[Group], now: float) -> None:
        """Read what there is beside all ``groups``; tokens are usable or not at ``now``."""
        self.groups = {group.name: group for group in groups}
        self._children: dict[str, dict[str, None]] = {}
        self._assigned: dict[str, dict[str, None]] = {}
        self._private: dict[str, dict[str, None]] = {}
        self._tokens: dict[str, str] = {}
        self._placed: dict[str, dict[str, None]] = {}
        for group in self.groups.values():
            self._children.setdefault(group.parent, {})[group.name] = None
            for policy in sorted(group.assigned()):
                self._assigned.setdefault(policy, {})[group.name] = None
        for row in reading.policies():
            if row.private_to:
                self._private.setdefault(row.private_to, {})[row.name] = None
        for token in reading.tokens():
            if token.group and view_token(token, now).state == "usable":
                self._tokens.setdefault(token.group, token.id)
        self._rules = {rule.name: json.loads(rule.body).get("group", "") for rule in reading.placements()}
        for rule, group_name in self._rules.items():
            self._placed.setdefault(group_name, {})[rule] = None
        self._given = {row.name: json.loads(row.body)["spec"].get("groups", ()) for row in reading.proxies()}

    def group(self, name: str) -> Group:
        """Return a group; raises NotFoundError ``not_found.group``."""
        if name not in self.groups:
            raise NotFoundError("group", f"there is no group {show(name)}", nearest(name, self.groups))
        return self.groups[name]

    def below(self, name: str) -> list[str]:
        """Return the groups right below one."""
        return list(self._children.get(name, ()))

    def token_of(self, name: str) -> str:
        """Return the id of a usable token of a group; empty if there is none."""
        return self._tokens.get(name, "")

    def private_to(self, name: str) -> list[str]:
        """Return the policies that are private to a group."""
        return list(self._private.get(name, ()))

    def placing_into(self, name: str) -> list[str]:
        """Return the rules by which agents begin in a group."""
        return list(self._placed.get(name, ()))

    def given_to(self, name: str) -> list[str]:
        """Return the proxies that a group was given to by its name."""
        return [proxy for proxy, groups in self._given.items() if name in groups]

    def assigning(self, policy: str) -> list[str]:
        """Return the groups that assign a policy themselves."""
        return list(self._assigned.get(policy, ()))

    def drop_group(self, name: str) -> None:
        """Take note that a group is gone."""
        group = self.groups.pop(name)
        _drop(self._children, group.parent, name)
        for policy in group.assigned():
            _drop(self._assigned, policy, name)

    def drop_policy(self, name: str, private_to: str) -> None:
        """Take note that a policy is gone."""
        _drop(self._private, private_to, name)

    def drop_proxy(self, name: str) -> None:
        """Take note that a definition of a proxy is gone."""
        self._given.pop(name, None)

    def drop_placement(self, name: str) -> None:
        """Take note that a rule of placement is gone."""
        _drop(self._placed, self._rules[name], name)


def _drop(held: Mapping[str, dict[str, None]], key: str, name: str) -> None:
    if key in held:
        held[key].pop(name, None)
