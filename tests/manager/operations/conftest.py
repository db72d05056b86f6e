"""A fleet whose operations are kept in memory."""

import pytest
from tests.manager.conftest import bench, keys
from tests.manager.ordering import Fleet

__all__ = ["bench", "keys"]


@pytest.fixture
async def fleet(bench):  # noqa: F811  # a fixture is asked for by its name
    found = Fleet(bench)
    await found.begin()
    return found
