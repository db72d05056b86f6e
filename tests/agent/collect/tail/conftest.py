"""A stream in memory, and log files on disk in virtual time."""

import asyncio

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from popham.agent.collect.tail.files import LogFiles
from popham.agent.collect.tail.source import Source
from popham.agent.storage import MemoryStorage
from popham.errors import StreamError
from popham.testing.virtual import VirtualClock, run_virtual


class Stream:
    """What is durable, and how the next append goes."""

    def __init__(self):
        self.turn = asyncio.Lock()
        self.epoch = 1
        self.payloads = []
        self.end = 0
        self.room = None

    def position(self):
        return self.epoch, self.end

    async def append(self, payloads):
        for payload, count in payloads:
            if self.room == 0:
                raise StreamError("full", "the disk is full")
            self.room = None if self.room is None else self.room - 1
            self.payloads.append(payload)
            self.end += count
            await asyncio.sleep(0)

    def records(self):
        """Return all records, as the library reads them."""
        found = []
        for payload in self.payloads:
            request = ExportLogsServiceRequest.FromString(payload)
            found += request.resource_logs[0].scope_logs[0].log_records
        assert len(found) == self.end
        return found

    def lines(self):
        return [record.body.string_value for record in self.records()]


class Story:
    """Log files, what they bring, and what survives them."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = VirtualClock()
        self.storage = MemoryStorage()
        self.stream = Stream()
        self.lost = []
        self.refused = set()
        self.files = None
        self._running = None
        self._called, self._calls = 0.0, 0

    def source(self, *globs, **further):
        """Return a source of globs in the folder, read from the beginning unless said."""
        paths = tuple(f"{self.folder}/{glob}" for glob in globs or ("*.log",))
        return Source(name=further.pop("name", "shop"), paths=paths, **({"whole": True} | further))

    async def start(self, *sources, most=512):
        self.stream.turn = asyncio.Lock()
        self.files = LogFiles(
            sources or (self.source(),),
            sink=self.stream,
            storage=self.storage,
            clock=self.clock,
            resource={"host.name": "web"},
            lost=self.lost.append,
            may_read=lambda path: path not in self.refused,
            thread=self._call,
            most=most,
        )
        await self.files.open()
        self._running = asyncio.create_task(self.files.run())
        await self.files.collect()

    async def _call(self, work, *values):
        """Call at once what a thread would do, and see that time passes between."""
        self._calls = self._calls + 1 if self._called == self.clock.elapsed else 0
        self._called = self.clock.elapsed
        assert self._calls < 1000, self.files.status()
        return work(*values)

    async def end(self):
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    def write(self, name, data):
        path = self.folder / name
        with path.open("ab") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return path

    def run(self, tell):
        """Run a coroutine function in virtual time, and end what it left running."""

        async def told():
            try:
                await tell()
            finally:
                if self._running is not None:
                    await self.end()

        run_virtual(told(), self.clock)


@pytest.fixture
def story(tmp_path):
    return Story(tmp_path)
