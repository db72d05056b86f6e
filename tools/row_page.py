"""Fills the last column of ``docs/reference/rows.md`` with the files whose tests name a row; ``make reference`` runs it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/rows.md"
ROW = re.compile(
    r"^\| (?P<row>[A-Z]+[.-][A-Z]?\d+) \| (?P<text>.*) \| (?P<state>done|partly|not yet) \|.*\|$"
)
TEST = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)
NAMED = re.compile(r"(?<![a-z0-9])(f_[a-z]\d+|(?:sec|rel|ops|opc|opg|goal)(?:_\d+)+)(?![0-9])")


def find_tests() -> dict[str, set[str]]:
    """Return row, as tests write it → the files whose tests name it."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for name in TEST.findall(path.read_text(encoding="utf-8")):
            for named in NAMED.findall(name):
                prefix, *numbers = named.split("_")
                for number in numbers:
                    rows = found.setdefault(f"{prefix}_{number}", set())
                    rows.add(path.relative_to(ROOT).as_posix())
    return found


def build_page(text: str) -> str:
    """Return the page with its last column filled anew."""
    tests = find_tests()
    lines = []
    for line in text.splitlines():
        found = ROW.match(line)
        if not found:
            lines.append(line)
            continue
        files = sorted(tests.get(re.sub(r"[.-]", "_", found["row"].lower()), ()))
        where = ", ".join(f"`{name}`" for name in files)
        lines.append(f"| {found['row']} | {found['text']} | {found['state']} | {where} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(build_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
