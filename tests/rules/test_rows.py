"""Every row that ``docs/reference/rows.md`` calls done has a test that names it.

A row ``F.P1`` is named by ``f_p1`` in a test's name, ``SEC-48`` by ``sec_48``.
"""

import ast
import re

ROW = re.compile(
    r"^\| (?P<row>F\.[A-Z]\d+|(?:SEC|REL|OPS|OPC|GOAL)-\d+) \| [^|]+ \| (?P<state>[^|]*) \|", re.MULTILINE
)
NAMED = re.compile(r"(?<![a-z0-9])(f_[a-z]\d+|(?:sec|rel|ops|opc|opg|goal)(?:_\d+)+)(?![0-9])")
STATES = {"done", "partly", "not yet"}


def normalised(row):
    return re.sub(r"[.\-]", "_", row.lower())


def claimed(root):
    """Return row → state."""
    text = (root / "docs/reference/rows.md").read_text(encoding="utf-8")
    return [(found["row"], found["state"]) for found in ROW.finditer(text)]


def named_rows(test_modules):
    """Return normalised row → names of the tests that carry it."""
    found: dict[str, list[str]] = {}
    for module in test_modules:
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                for prefix, *numbers in (named.split("_") for named in NAMED.findall(node.name)):
                    for number in numbers:
                        found.setdefault(f"{prefix}_{number}", []).append(f"{module.where}::{node.name}")
    return found


def test_every_row_that_is_done_has_a_test_that_names_it(root, test_modules):
    tests = named_rows(test_modules)
    rows = claimed(root)
    assert rows
    wrong = [row for row, state in rows if state == "done" and normalised(row) not in tests]
    assert not wrong, f"no test names {wrong}"


def test_every_row_has_one_state_of_three(root):
    rows = claimed(root)
    assert {state for _, state in rows} <= STATES
    assert len(rows) == len({row for row, _ in rows})


def test_every_row_that_a_test_names_stands_in_a_reference(root, test_modules):
    pages = ("rows.md", "opamp.md")
    text = "\n".join((root / "docs/reference" / page).read_text(encoding="utf-8") for page in pages)
    known = {normalised(row) for row in re.findall(r"F\.[A-Z]\d+|(?:SEC|REL|OPS|OPC|OPG|GOAL)-\d+", text)}
    for prefix, first, last in re.findall(r"(OPS|OPC|SEC|REL)-(\d+) to (?:OPS|OPC|SEC|REL)-(\d+)", text):
        known |= {f"{prefix.lower()}_{number}" for number in range(int(first), int(last) + 1)}
    tests = named_rows(test_modules)
    lost = {row: names[0] for row, names in tests.items() if row not in known}
    assert not lost, f"name these rows in docs/reference/rows.md or opamp.md: {lost}"
