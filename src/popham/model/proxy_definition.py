"""``kind: Proxy``: a Proxy Manager, whom it may speak for, and by which names agents dial it.

Rules:

1. A proxy speaks for the agents of the groups that are given to it and of those below them, for the single agents
   that are named, and for nobody else (SEC-30).
2. A definition makes nobody a proxy: a machine becomes one by a token for it, and by being accepted.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from popham.errors import DefinitionError
from popham.model.agent_definition import read_address, read_port
from popham.model.keys import check_keys
from popham.model.lines import line_of
from popham.model.names import check_name, nearest, show

PORT_DEFAULT: Final = 4320
"""The port on which a proxy listens for agents. Source: OpAMP's default."""
PROXIES_MAX: Final = 1000
"""Definitions of one fleet."""
GIVEN_MAX: Final = 1000
"""Groups, and agents, that one proxy may be given by name."""
NAMES_MAX: Final = 32
"""Names and addresses of one proxy; they stand in its certificate."""
KEYS: Final = ("groups", "agents", "names", "port", "custody")
"""Keys of the spec, in the order in which they are written."""
STREAMS: Final = ("events", "summary", "metrics", "logs")
"""Streams that custody is said of."""


class Custody(StrEnum):
    """When a proxy tells an agent that what it sent is kept."""

    HOP = "hop"
    """Once it is durable at the proxy."""
    END_TO_END = "end to end"
    """Once it is durable at the Manager."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyDefinition:
    """One Proxy Manager, as it is wanted.

    Attributes:
        groups: Groups that are given to it, with those below them.
        agents: Names or uids of agents that are given to it, whatever their group is.
        names: Host names and addresses by which agents dial it.
        port: On which it listens for them.
        custody: Stream → when what is sent counts as kept; ``hop`` for a stream that is not there.
    """

    name: str
    groups: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    port: int = PORT_DEFAULT
    custody: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as it is kept: what differs from the defaults."""
        held = {"groups": list(self.groups), "agents": list(self.agents), "names": list(self.names)}
        found: dict[str, Any] = {key: value for key, value in held.items() if value}
        if self.port != PORT_DEFAULT:
            found["port"] = self.port
        if self.custody:
            found["custody"] = {key: self.custody[key] for key in STREAMS if key in self.custody}
        return found

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> ProxyDefinition:
        """Return the definition that is kept; keys that are none of its own are left out."""
        return cls(
            name=name,
            groups=tuple(data.get("groups", ())),
            agents=tuple(data.get("agents", ())),
            names=tuple(data.get("names", ())),
            port=data.get("port", PORT_DEFAULT),
            custody=dict(data.get("custody", {})),
        )


def read_proxy_definition(name: str, spec: Mapping[str, Any]) -> ProxyDefinition:
    """Return what the ``spec`` of ``kind: Proxy`` says.

    Raises:
        DefinitionError: A key or value is wrong.
    """
    check_keys(spec, KEYS, "the spec of a proxy")
    return ProxyDefinition(
        name=name,
        groups=_listed(spec, "groups", GIVEN_MAX, lambda value: check_name(value, "group")),
        agents=_listed(spec, "agents", GIVEN_MAX, _agent),
        names=_listed(spec, "names", NAMES_MAX, read_address),
        port=_port(spec),
        custody=_custody(spec),
    )


def _listed(spec: Mapping[str, Any], key: str, most: int, read: Callable[[object], str]) -> tuple[str, ...]:
    """Return a list of texts, each once; what is wrong with one of them gets the line of the key."""
    value = spec.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong(spec, key, f"{key}: {show(value)} is no list", f"Write '{key}: [a, b]'")
    if len(value) > most:
        raise _wrong(spec, key, f"{key}: there are more than {most}", "Name a group above them, or fewer")
    found: dict[str, None] = {}
    for one in value:
        try:
            found[read(one)] = None
        except ValueError as error:
            problem, hint = error.args
            raise _wrong(spec, key, f"{key}: {problem}", hint) from None
        except DefinitionError as error:
            raise _wrong(spec, key, f"{key}: {error.problem}", error.hint) from None
    return tuple(found)


def _agent(value: object) -> str:
    """Return the name or the uid of an agent."""
    try:
        return str(uuid.UUID(str(value)))
    except ValueError:
        return check_name(value, "agent")


def _port(spec: Mapping[str, Any]) -> int:
    value = spec.get("port")
    if value is None:
        return PORT_DEFAULT
    try:
        return read_port(value)
    except ValueError as error:
        hint = f"Write 1 to 65535, or leave it out for {PORT_DEFAULT}"
        raise _wrong(spec, "port", f"port: {error.args[0]}", hint) from None


def _custody(spec: Mapping[str, Any]) -> dict[str, str]:
    value = spec.get("custody")
    if value is None:
        return {}
    words = [str(word) for word in Custody]
    hint = "Write 'custody: {events: end to end, logs: hop}'"
    if not isinstance(value, Mapping):
        raise _wrong(spec, "custody", f"custody: {show(value)} is no mapping", hint)
    found = {}
    for stream, word in value.items():
        if stream not in STREAMS:
            problem = f"custody: there is no stream {show(stream)}"
            raise _wrong(spec, "custody", problem, nearest(str(stream), STREAMS))
        if word not in words:
            problem = f"custody: {show(word)} is none of {', '.join(words)}"
            raise _wrong(spec, "custody", problem, hint)
        found[str(stream)] = str(word)
    return found


def _wrong(spec: Mapping[str, Any], key: str, problem: str, hint: str) -> DefinitionError:
    return DefinitionError("proxy", problem, hint, line=line_of(spec, key))
