"""What holds for all tests: how quickly their processes start, and which files run first."""

import os

import pytest

# Its asserts explain themselves, as those of tests do.
pytest.register_assert_rewrite("tests.stories")

LONGEST = (
    "system/test_cut_off.py",
    "system/test_undoing.py",
    "system/test_recovery.py",
    "system/test_change_safely.py",
    "system/test_upgrade.py",
    "system/test_upgrade_0_4.py",
    "system/test_postgresql.py",
    "system/test_tutorial.py",
    "system/test_stock_agent.py",
    "system/test_processes.py",
    "system/test_stories_over_sockets.py",
    "system/test_walled.py",
    "simulation/test_day.py",
    "simulation/test_storm.py",
)
"""Files that run for long, the longest first; those of tests/system that are not named come after them, and then the rest."""

# Else each of the many processes that tests start would compile the whole program anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _rank(item):
    found = [place for place, name in enumerate(LONGEST) if item.path.match(name)]
    return found[0] if found else len(LONGEST) + ("system" not in item.path.parts)


def pytest_collection_modifyitems(items):
    """Begin with what waits most, so that no worker is left alone with it at the end."""
    items.sort(key=_rank)
