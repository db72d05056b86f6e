"""A Manager spoken to directly, and one agent that has applied its first bundle."""

import pytest

from popham.testing.direct import DirectManager
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock

FILES = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: motd}}
spec: {{type: files, files: [{{path: /etc/popham.d/motd, content: "{text}"}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: {group}}}
spec:
  parent: fleet
  inheritance: {{policies: {{files: false}}}}
  policies: {{files: motd}}
"""


@pytest.fixture(scope="session")
def keys():
    return make_keys(VirtualClock())


@pytest.fixture
async def manager(keys):
    found = DirectManager(keys)
    await found.start()
    return found


@pytest.fixture
def publish(manager):
    """Publish a text for a group."""

    async def publish(text, group="lab"):
        manager.clock.elapsed += 1
        await manager.publish(FILES.format(text=text, group=group))
        return manager.book.wanted(group)

    return publish


@pytest.fixture
async def agent(manager, publish):
    await publish("one")
    found = await manager.add_agent("a", "lab")
    await found.round()
    assert found.applier.applied == [("motd@1",)]
    return found
