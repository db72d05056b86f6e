"""A Manager spoken to directly, and stock agents that say what a test wants."""

from dataclasses import dataclass, field

import pytest

from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentDescription,
    AgentDisconnect,
    AgentToServer,
    AnyValue,
    KeyValue,
    RemoteConfigStatus,
)
from popham.testing.direct import DirectManager
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock

from .ordering import Ordered, Ordering

STATUS, TAKES, BEATS, SETTINGS, TELLS = 0x1, 0x2, 0x2000, 0x100, 0x1000
OTELCOL = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: col}}
spec: {{type: otelcol, config: {{exporters: {{{exporter}: null}}}}}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: lab}}
spec:
  parent: fleet
  inheritance: {{communication: false, policies: {{otelcol: false}}}}
  communication: {{heartbeat: {heartbeat}}}
  policies: {{otelcol: col}}
"""
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


def otelcol(exporter="debug", heartbeat="30s"):
    return OTELCOL.format(exporter=exporter, heartbeat=heartbeat)


def files(text="hello", group="lab"):
    return FILES.format(text=text, group=group)


def describe(name="collector"):
    pair = KeyValue(key="service.name", value=AnyValue(string_value=name))
    return AgentDescription(identifying_attributes=[pair])


def status(digest, number=1):
    return RemoteConfigStatus(last_remote_config_hash=digest, status=number)


@dataclass
class Stock:
    """A stock agent: numbers its messages as they say in the specification, and remembers nothing else."""

    manager: DirectManager
    peer: object
    key: bytes = bytes(range(16))
    capabilities: int = STATUS | TAKES | BEATS | TELLS
    number: int = 0
    sent: list = field(default_factory=list)

    def message(self, **parts):
        number = parts.pop("sequence_num", self.number)
        capabilities = parts.pop("capabilities", self.capabilities)
        key = parts.pop("instance_uid", self.key)
        self.number = number + 1
        made = AgentToServer(instance_uid=key, sequence_num=number, capabilities=capabilities, **parts)
        self.sent.append(made)
        return made

    async def say(self, **parts):
        return await self.manager.say(self.peer, self.message(**parts))

    async def begin(self, **parts):
        return await self.say(agent_description=describe(), **parts)

    def goodbye(self, **parts):
        return self.message(agent_disconnect=AgentDisconnect(), **parts)

    @property
    def record(self):
        return self.manager.book.record("00010203-0405-0607-0809-0a0b0c0d0e0f")


@pytest.fixture(scope="session")
def keys():
    return make_keys(VirtualClock())


@pytest.fixture
def ordering():
    """Whoever keeps the operations of the Manager."""
    return Ordering()


@pytest.fixture
async def manager(keys, ordering):
    found = DirectManager(keys, ordering)
    await found.start()
    return found


@pytest.fixture
async def ordered(manager):
    """An agent of ours in the group lab, to which there is nothing to say."""
    await manager.publish(files())
    agent = await manager.add_agent("a", "lab")
    await agent.round()
    found = Ordered(manager, agent)
    await found.say()
    assert found.record.settled is manager.book.wanted("lab")
    return found


@pytest.fixture
async def stock(manager):
    """A stock agent of the group lab, which has an otelcol policy."""
    await manager.publish(otelcol())
    return Stock(manager, await manager.stock_peer("lab"))
