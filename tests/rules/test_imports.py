"""Which part may know which: the table of imports, and what an agent must stay free of."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib

BASE = {"errors", "clock", "config", "log", "posix", "statedir"}
ENDS = {"model", "trust", "opamp", "net", "link", "streams"}
ANYTHING = {"cli", "testing", "__main__"}
ALLOWED: dict[str, set[str]] = {
    **{name: set() for name in BASE},
    "model": set(),
    "net": set(),
    "streams": set(),
    "trust": {"model"},
    "opamp": {"model"},
    "store": {"model"},
    "resolve": {"model", "trust"},
    "link": {"model", "opamp", "net"},
    "upstream": ENDS,
    "downstream": ENDS,
    "agent": ENDS | {"downstream"},
    "proxy": ENDS | {"upstream", "downstream", "agent"},
    "manager": ENDS | {"upstream", "resolve", "store"},
    "api": {"model", "manager"},
    "client": {"model"},
    "console": set(),
}
"""Part → the parts it may import, besides the base and itself."""

MANAGERS_OWN = {
    "pydantic",
    "pydantic_core",
    "fastapi",
    "starlette",
    "uvicorn",
    "sqlalchemy",
    "alembic",
    "pysqlite3",
    "psycopg",
    "duckdb",
    "ruamel",
    "yaml",
    "rich",
    "httpx2",
}
"""What never runs in an agent's process."""

HEAVY = MANAGERS_OWN | {"aiohttp", "cryptography", "google", "tuf", "securesystemslib", "uvloop"}
"""What ``popham --help`` has no use for."""


def part_of(name: str) -> str:
    """Return the part of ``popham.part.module``; empty for ``popham`` itself."""
    return name.split(".")[1] if "." in name else ""


def imported(module, names):
    """Yield (line, dotted name) of everything a module imports, at whatever place in it."""
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            )
            whole = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                deeper = f"{whole}.{alias.name}"
                yield node.lineno, deeper if deeper in names or whole == "popham" else whole
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {
            "import_module",
            "__import__",
        }:
            named = node.args[0] if node.args else None
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                yield node.lineno, named.value


def imports(modules):
    """Return module name → list of (line, imported name)."""
    names = {module.name for module in modules}
    return {module.name: list(imported(module, names)) for module in modules}


def agents_closure(modules):
    """Return the names of every module that an agent's process may import."""
    table = imports(modules)
    todo = [name for name in table if part_of(name) == "agent"]
    seen = set(todo)
    for name in todo:
        for _, other in table[name]:
            if other in table and other not in seen:
                seen.add(other)
                todo.append(other)
    return seen, table


def test_every_part_stands_in_the_table(modules):
    parts = {part_of(module.name) for module in modules} - {""}
    assert parts <= ALLOWED.keys() | ANYTHING, (
        "a new part needs a row in the table, here and in the architecture page"
    )


def test_parts_import_only_what_the_table_allows(modules):
    wrong = []
    names = {module.name for module in modules}
    for module in modules:
        part = part_of(module.name)
        if part in ANYTHING or not part:
            continue
        allowed = ALLOWED.get(part, set()) | {part} | BASE
        if part in BASE:
            allowed = BASE
        for line, name in imported(module, names):
            other = part_of(name) if name.split(".")[0] == "popham" else ""
            if other and other not in allowed and name != "popham.__version__":
                wrong.append(f"{module.where}:{line}: {part} may not import {other}")
    assert not wrong, "\n".join(wrong)


def test_every_third_party_import_is_declared(modules, root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    declared = list(project["dependencies"])
    declared += [line for lines in project["optional-dependencies"].values() for line in lines]
    known = {re.split(r"[\s\[<>=;~!]", line)[0].lower().replace("_", "-") for line in declared}
    owners = importlib.metadata.packages_distributions()
    wrong = []
    for module in modules:
        if part_of(module.name) == "testing":
            continue
        for line, name in imported(module, set()):
            top = name.split(".")[0]
            # ``compression`` is the standard library's since 3.14.
            if top in sys.stdlib_module_names or top in {"popham", "__future__", "compression"}:
                continue
            dists = {owner.lower().replace("_", "-") for owner in owners.get(top, [top])}
            dists |= {"protobuf"} if name.startswith("google.protobuf") else set()
            if not dists & (known | {"securesystemslib"}):  # TUF's own signature types come with tuf
                wrong.append(f"{module.where}:{line}: {top} is not declared in pyproject.toml")
    assert not wrong, "\n".join(wrong)


def test_an_agent_reaches_no_import_of_a_managers_library(modules):
    reached, table = agents_closure(modules)
    wrong = [
        f"{name}:{line}: imports {other}"
        for name in sorted(reached)
        for line, other in table[name]
        if other.split(".")[0] in MANAGERS_OWN
    ]
    assert not wrong, "\n".join(wrong)


def test_an_agents_process_holds_no_library_of_a_manager(modules, root):
    names = sorted(module.name for module in modules if part_of(module.name) == "agent")
    assert names, "there are no modules of the agent"
    assert loaded_by(names, root) & MANAGERS_OWN == set()


def test_the_command_line_starts_without_heavy_libraries(root):
    assert loaded_by(["popham.cli.main"], root) & HEAVY == set()


def loaded_by(names, root):
    """Return the top-level names in a fresh interpreter after importing ``names``."""
    script = "import sys, importlib\nfor n in sys.argv[1:]: importlib.import_module(n)\nprint(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script, *names],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


def test_only_one_module_makes_calls_that_only_posix_has(modules):
    """Code that runs on machines keeps POSIX-only calls behind ``popham.posix``."""
    only_posix = {"fcntl", "grp", "pwd", "resource", "termios"}
    reached, table = agents_closure(modules)
    wrong = [
        f"{name}:{line}: imports {other}; put the call into popham.posix"
        for name in sorted(reached - {"popham.posix"})
        for line, other in table[name]
        if other.split(".")[0] in only_posix
    ]
    assert not wrong, "\n".join(wrong)
