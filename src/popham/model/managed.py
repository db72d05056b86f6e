"""Objects that are kept somewhere else, such as in git: who may edit them, and where.

Rules:

1. An object whose annotation ``popham.io/source`` names a source is edited by an apply as that source only.
2. An apply as a source makes every object of its files that source's own; one that has another source is refused.
3. ``take over`` is for the day on which the source cannot be reached: it edits, and the object belongs to
   the source of that apply afterwards, to that which its definition names, or to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

from popham.errors import ConflictError, DefinitionError
from popham.model.names import show

SOURCE = "popham.io/source"
"""The annotation that says where an object is kept: a URL, or any name."""
SOURCE_MAX = 512


def check_source(source: str) -> str:
    """Return ``source`` if it may name where objects are kept.

    Raises:
        DefinitionError: ``definition.source``.
    """
    if len(source) <= SOURCE_MAX and source.isprintable() and source == source.strip():
        return source
    problem = f"{show(source)} cannot name a source"
    raise DefinitionError("source", problem, f"Use a URL or a name of at most {SOURCE_MAX} characters")


def own(
    written: Mapping[str, str], held: Mapping[str, str], source: str, *, take_over: bool
) -> dict[str, str]:
    """Return the annotations of an object after an apply.

    Args:
        written: The annotations of the definition.
        held: Those that are stored; empty for a new object.
        source: As which the apply is made; empty for none.
        take_over: Whether it may leave its source.

    Raises:
        DefinitionError: ``definition.source``: the definition names another source.
    """
    found = dict(written)
    if source and found.get(SOURCE, source) != source:
        problem = f"the definition belongs to {show(found[SOURCE])}, and is applied as {show(source)}"
        raise DefinitionError(
            "source", problem, f"Leave the annotation {SOURCE!r} out, or apply as that source"
        )
    if source:
        found[SOURCE] = source
    elif SOURCE in held and not take_over:
        found.setdefault(SOURCE, held[SOURCE])
    return found


def refuse_edit(about: str, held: Mapping[str, str], source: str = "", *, take_over: bool = False) -> None:
    """Return if an object may be edited.

    Args:
        about: The object: ``policy/motd``.
        held: Its annotations, as they are stored.
        source: As which it is to be edited; empty for none.
        take_over: Whether it may be taken from its source.

    Raises:
        ConflictError: ``conflict.managed``: it is kept elsewhere.
    """
    keeper = held.get(SOURCE, "")
    if not keeper or keeper == source or take_over:
        return
    kind, _, name = about.partition("/")
    problem = f"{kind} {name!r} is managed in {keeper}"
    hint = "Edit it there. If that cannot be done now, apply its definition with --take-over"
    raise ConflictError("managed", problem, hint)
