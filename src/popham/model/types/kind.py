"""What a Manager, a reader and an agent must know of one policy type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from popham.model.schema import Place

Check = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Brings a ``spec`` without ``type``, ``private_to`` and ``tests`` to one form, or raises DefinitionError."""
Secrets = Callable[[Mapping[str, Any]], Iterator[Place]]
"""Yields where a body holds values that no diff and no log may show."""
Paths = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Returns path → what a body places there, of those that the body itself names."""
Marks = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
"""Returns a body, the first, with the marks of secrets that another body of the same policy has."""


def no_paths(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return nothing: of a type whose bodies name no paths."""
    del body
    return {}


def keep_marks(body: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``body`` as it is: of a type whose secrets no body marks, but their keys tell."""
    del other
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyType:
    """A policy type.

    Attributes:
        name: As it stands in ``type:``.
        summary: What such a policy does; a sentence.
        schema: JSON Schema of what :attr:`check` takes; its ``default`` are what holds for missing keys.
        further: What :attr:`check` asks for beyond the schema; sentences.
        check: Brings a spec to one form.
        secrets: Finds values that are not to be shown.
        marks: Gives a body the marks of another revision.
        withheld: Which those are; a sentence.
        commands: Keys of the body that name commands of the machine; ``a[].b`` is ``b`` of each entry of ``a``.
        paths: Finds what a body places where.
        locked: Keys of the body that nothing on a machine can change.
        local: What a machine's own configuration decides for this type: key there → meaning.
        example: A ``spec`` without ``type``, as YAML.
        applier: Module of :mod:`popham.agent.types` that applies it.
        stock: Whether stock agents receive it, as a configuration object.
    """

    name: str
    summary: str
    schema: Mapping[str, Any]
    further: tuple[str, ...]
    check: Check
    secrets: Secrets
    withheld: str
    commands: tuple[str, ...]
    locked: tuple[str, ...]
    local: Mapping[str, str]
    example: str
    applier: str
    stock: bool = False
    marks: Marks = keep_marks
    paths: Paths = no_paths

    def commands_of(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the commands that a body lets the machine run, each once."""
        return tuple(dict.fromkeys(name for key in self.commands for name in _names(body, key)))


def _names(body: Mapping[str, Any], key: str) -> Iterator[str]:
    listed, _, below = key.partition("[].")
    holders = body.get(listed, ()) if below else (body,)
    yield from (holder[below or key] for holder in holders if holder.get(below or key) is not None)
