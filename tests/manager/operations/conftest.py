"""A fleet whose operations are kept in memory."""

import pytest
from tests.manager.ordering import Fleet


@pytest.fixture
async def fleet(bench):
    found = Fleet(bench)
    await found.begin()
    return found
