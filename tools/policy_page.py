"""Writes ``docs/reference/policies.md`` from the policy types; ``make reference`` runs it.

What is not in a type stands in ``policy_page.head.txt`` and
``policy_page.tail.txt`` beside this file.  The page is committed; a test
compares it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from popham.model.policy import TYPES
from popham.model.types.kind import PolicyType

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs/reference/policies.md"


def rows(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield a row of the table for every key of an object's schema, those of objects in it included."""
    for key, below in schema["properties"].items():
        needed = key in schema.get("required", ())
        default = "required" if needed else f"`{below['default']}`" if "default" in below else "none"
        if isinstance(below.get("default"), bool):
            default = f"`{json.dumps(below['default'])}`"
        yield f"| `{prefix}{key}` | {values(below)} | {default} | {below.get('description', '')} |"
        for inner, between in ((below, "."), (below.get("items", {}), "[].")):
            if "properties" in inner:
                yield from rows(inner, f"{prefix}{key}{between}")


def values(schema: Mapping[str, Any]) -> str:
    """Return what a value may be, as it stands in a cell."""
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    names = {"object": "mapping", "array": "list", "string": "text", "boolean": "`true`, `false`"}
    kinds = schema.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    least = schema.get("minItems", schema.get("minProperties"))
    return ", ".join(names.get(kind, kind) for kind in kinds) + (f", at least {least}" if least else "")


def section(one: PolicyType) -> Iterator[str]:
    """Yield the lines of one type."""
    yield from (f"## {one.name}", "", one.summary, "")
    yield from ("```yaml", f"type: {one.name}", one.example.rstrip(), "```", "")
    yield from ("| key | values | default | meaning |", "|---|---|---|---|", *rows(one.schema), "")
    choices = one.schema["properties"].get("files", {}).get("items", {}).get("oneOf", ())
    if choices:
        forms = ", ".join(f"`{branch['required'][0]}`" for branch in choices)
        yield from (f"- An entry has exactly one of {forms}.",)
    yield from (f"- {sentence}" for sentence in one.further)
    yield from ([""] if choices or one.further else [])
    yield from (f"**Secret**, in no diff, log or error: {one.withheld[:1].lower()}{one.withheld[1:]}", "")
    yield from (
        f"**Locked**: {', '.join(f'`{key}`' for key in one.locked)}.  The machine's own configuration decides:",
        "",
    )
    yield from (
        f"- {', '.join(f'`{key}`' for key in keys.split(', '))}: {said}" for keys, said in one.local.items()
    )
    yield ""


def build_page() -> str:
    """Return the whole page."""
    head = (FOLDER / "policy_page.head.txt").read_text(encoding="utf-8")
    tail = (FOLDER / "policy_page.tail.txt").read_text(encoding="utf-8")
    lines = [line for one in TYPES.values() for line in section(one)]
    return f"{head}\n" + "\n".join(lines) + f"\n{tail}"


if __name__ == "__main__":
    PAGE.write_text(build_page(), encoding="utf-8")
