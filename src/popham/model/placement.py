"""Placement: in which group an agent begins, and with which labels, by token, label, address or name.

Rules:

1. Rules are asked in their order, equal ones by name; the first that fits decides.  Without one the token's
   group holds.
2. A rule counts once, when an agent joins; later changes are somebody's own act (``popham move``).
3. An empty condition fits everybody, a rule without any condition is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from popham.errors import DefinitionError
from popham.model.keys import check_keys
from popham.model.lines import line_of
from popham.model.names import check_name, show
from popham.model.ranges import in_ranges
from popham.model.selector import Operator, parse_selector

ORDER_DEFAULT = 100
ORDER_MAX = 1_000_000
RANGES_MAX = 64
NAMES_MAX = 1000
"""Names of one rule."""
PLACEMENTS_MAX = 256
"""Rules of one fleet: all of them may be asked each time an agent joins."""
KEYS = ("order", "token", "selector", "address", "names", "group", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One rule.

    Attributes:
        order: Smaller ones are asked first.
        token: Id of the token the agent joins by; empty for any.
        selector: What the agent's own labels must be; empty for any.
        address: Ranges of which one holds the address it comes from; empty for any.
        names: Of which one is the agent's; empty for any.
        group: Where it begins; empty for the token's group.
        labels: What it is called from the beginning, by the operator.
    """

    name: str
    order: int = ORDER_DEFAULT
    token: str = ""
    selector: str = ""
    address: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    group: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the rule as it is kept; without ``names`` if it has none, as before there were any."""
        return {
            "order": self.order,
            "token": self.token,
            "selector": self.selector,
            "address": list(self.address),
            **({"names": list(self.names)} if self.names else {}),
            "group": self.group,
            "labels": dict(self.labels),
        }

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> Placement:
        """Return the rule that is kept."""
        held = {key: data[key] for key in KEYS if key in data}
        ranges, names = tuple(data["address"]), tuple(data.get("names", ()))
        return cls(name=name, **{**held, "address": ranges, "names": names})

    def admits(self, token: str, address: str, agent: str) -> bool:
        """Return whether an agent of this name may be meant that joins by ``token`` from ``address``.

        Its labels are not looked at.
        """
        if (self.token and self.token != token) or (self.names and agent not in self.names):
            return False
        return not self.address or in_ranges(self.address, address)


class Rules:
    """Rules in the order in which they are asked, read once for as many agents as there are.

    One that asks for certain names, or values of a label, is looked at only for agents that have one of these.
    """

    def __init__(self, rules: Iterable[Placement]) -> None:
        """Read the selectors of ``rules``."""
        ordered = sorted(rules, key=lambda rule: (rule.order, rule.name))
        self._rules = [(rule, parse_selector(rule.selector)) for rule in ordered]
        self._by_label: dict[tuple[str, str], list[int]] = {}
        self._by_name: dict[str, list[int]] = {}
        self._others: list[int] = []
        for number, (rule, selector) in enumerate(self._rules):
            for name in rule.names:
                self._by_name.setdefault(name, []).append(number)
            if rule.names:
                continue
            asked = next((part for part in selector.parts if part.operator is Operator.IN), None)
            if asked is None:
                self._others.append(number)
                continue
            for value in asked.values:
                self._by_label.setdefault((asked.key, value), []).append(number)

    def place(
        self, *, token: str, labels: Mapping[str, str], address: str, agent: str = ""
    ) -> Placement | None:
        """Return the first rule that fits an agent that joins, called ``agent``; None if there is none."""
        lists = [self._others, self._by_name.get(agent, ())]
        lists += [self._by_label.get(label, ()) for label in labels.items()]
        for number in sorted(number for listed in lists for number in listed):
            rule, selector = self._rules[number]
            if rule.admits(token, address, agent) and selector.matches(labels):
                return rule
        return None


def place(
    rules: Iterable[Placement], *, token: str, labels: Mapping[str, str], address: str, agent: str = ""
) -> Placement | None:
    """Return the first rule that fits one agent that joins, reading no more of them than that takes."""
    for rule in sorted(rules, key=lambda rule: (rule.order, rule.name)):
        if rule.admits(token, address, agent) and parse_selector(rule.selector).matches(labels):
            return rule
    return None


def read_placement(name: str, spec: Mapping[str, Any], labels: Mapping[str, str]) -> Placement:
    """Return the rule that ``spec`` writes; ``labels`` are those it gives, already checked.

    Raises:
        DefinitionError: A key or value is wrong, or it has no condition, or no effect.
    """
    check_keys(spec, KEYS, "the spec of a placement")
    order = spec.get("order", ORDER_DEFAULT)
    if type(order) is not int or not 0 <= order <= ORDER_MAX:
        problem = f"order: {show(order)} is not 0 to {ORDER_MAX}"
        raise DefinitionError(
            "placement", problem, "Smaller ones are asked first", line=line_of(spec, "order")
        )
    selector = spec.get("selector", "")
    if not isinstance(selector, str):
        raise DefinitionError(
            "selector", f"selector: {show(selector)} is no text", line=line_of(spec, "selector")
        )
    found = Placement(
        name=name,
        order=order,
        token=_text(spec, "token"),
        selector=_in_full(selector),
        address=_ranges(spec),
        names=_names(spec),
        group=check_name(spec["group"], "group") if "group" in spec else "",
        labels=labels,
    )
    if not (found.token or found.selector or found.address or found.names):
        problem = f"the placement {name!r} has no condition"
        hint = "Name a token, a selector, an address range or names"
        raise DefinitionError("placement", problem, hint)
    if not (found.group or found.labels):
        problem = f"the placement {name!r} has no effect"
        raise DefinitionError("placement", problem, "Name a group, labels or both")
    return found


def _in_full(selector: str) -> str:
    """Return a selector as it is kept, which may be longer than it was written, and is read at each arrival."""
    kept = str(parse_selector(selector))
    parse_selector(kept)
    return kept


def _text(spec: Mapping[str, Any], key: str) -> str:
    value = spec.get(key, "")
    if not isinstance(value, str) or len(value) > 64:
        problem = f"{key}: {show(value)} is no id of a token"
        raise DefinitionError("placement", problem, "See 'popham get tokens'", line=line_of(spec, key))
    return value


def _ranges(spec: Mapping[str, Any]) -> tuple[str, ...]:
    value = spec.get("address", [])
    words = [value] if isinstance(value, str) else value
    problem = f"address: {show(value)} is no address range"
    hint = "Write an address or a range: 10.0.0.0/8, fd00::/8"
    wrong = DefinitionError("placement", problem, hint, line=line_of(spec, "address"))
    if not isinstance(words, list) or len(words) > RANGES_MAX:
        raise wrong
    try:
        return tuple(str(ipaddress.ip_network(str(word).strip(), strict=False)) for word in words)
    except ValueError:
        raise wrong from None


def _names(spec: Mapping[str, Any]) -> tuple[str, ...]:
    value = spec.get("names", [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or len(names) > NAMES_MAX:
        problem = f"names: {show(value)} is no list of at most {NAMES_MAX} names"
        hint = "Write names of agents: [web1, web2]"
        raise DefinitionError("placement", problem, hint, line=line_of(spec, "names"))
    return tuple(dict.fromkeys(check_name(name, "agent") for name in names))
