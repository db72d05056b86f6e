"""What holds for all tests: how quickly their processes start, and which files run when."""

import gc
import os

import pytest

# Its asserts explain themselves, as those of tests do.
pytest.register_assert_rewrite("tests.stories")

LONGEST = (
    "test_visits.py",
    "test_cut_off.py",
    "test_recovery.py",
    "test_undoing.py",
    "test_processes.py",
    "test_change_safely.py",
    "test_upgrade.py",
    "test_stories_over_sockets.py",
    "test_birth.py",
    "test_stock_agent.py",
    "test_walled.py",
    "test_postgresql.py",
    "test_upgrade_0_4.py",
    "test_bundles.py",
    "test_visit_faults.py",
    "test_locations.py",
    "test_stock_node.py",
    "test_tutorial.py",
    "test_simulate.py",
)
"""Files of tests/system that run for long, the longest first; the others of that folder come after them."""

# Else each of the many processes that tests start would compile the whole program anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _rank(path):
    return LONGEST.index(path.name) if path.name in LONGEST else len(LONGEST)


def _order(paths):
    """Return what stands before what: the files of tests/system, which mostly wait, and evenly between them the rest."""
    waiting = sorted((path for path in paths if "system" in path.parts), key=_rank)
    computing = [path for path in paths if "system" not in path.parts]
    return {path: place / len(half) for half in (waiting, computing) for place, path in enumerate(half)}


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no worker is left alone with it; the processor has work meanwhile."""
    order = _order(list(dict.fromkeys(item.path for item in items)))
    items.sort(key=lambda item: (order[item.path], str(item.path)))


def pytest_collection_finish():
    """Let the collector of garbage pass over thousands of tests that stay to the end."""
    gc.collect()
    gc.freeze()
