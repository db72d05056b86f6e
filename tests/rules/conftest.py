"""What the rules look at: the repository's files, and the product's modules as syntax trees."""

import ast
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ("_pb2.py", "_pb2.pyi")
MADE = {".git", ".venv", ".hypothesis", ".mypy_cache", ".ruff_cache", "__pycache__", "site", "dist"}


@dataclass(frozen=True)
class Module:
    """One Python file."""

    path: Path

    @property
    def where(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        """Dotted name under ``src``."""
        parts = self.path.relative_to(ROOT / "src").with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.where)


def _modules(folder: Path) -> list[Module]:
    files = sorted(folder.rglob("*.py"))
    return [
        Module(path) for path in files if not path.name.endswith(GENERATED) and not MADE & set(path.parts)
    ]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """The product's own modules, without generated code."""
    return _modules(ROOT / "src")


@pytest.fixture(scope="session")
def test_modules() -> list[Module]:
    return _modules(ROOT / "tests")


@pytest.fixture(scope="session")
def pages() -> list[Path]:
    """Every Markdown page of the repository."""
    return sorted(path for path in ROOT.rglob("*.md") if not MADE & set(path.parts))


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """Path → text of every file that is, or could be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
    else:
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if not MADE & set(path.parts)]
    found = {}
    for name in names:
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return found
