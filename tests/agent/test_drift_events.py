"""Drift on a real directory: the kernel tells, or polling finds it, and a real enforcer puts it back."""

import asyncio
import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

from popham.agent import drift as drifting
from popham.agent import file_events
from popham.agent.drift import DriftWatch
from popham.agent.file_events import FileEvents
from popham.errors import LinkError
from popham.model.bundle import PolicyRef
from popham.model.names import digest
from popham.model.status import Outcome

from .conftest import make_policy
from .orders import Orders

PATIENCE = 20.0
"""Seconds until a condition is given up."""


class Stir:
    """Called when something happened; has conditions looked at again."""

    def __init__(self):
        self._happened = asyncio.Event()

    def __call__(self):
        self._happened.set()

    async def until(self, holds, what):
        """Wait until ``holds()``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not holds():
                    self._happened.clear()
                    await self._happened.wait()
        assert holds(), f"gave up waiting until {what}"


class Shop(Orders):
    """A machine with a real applier, whose enforcer is watched for drift."""

    def __init__(self, keys, machine):
        self.machine = machine
        self.stir = Stir()
        self.until = self.stir.until
        super().__init__(keys)
        self.applier = machine.applier()
        self.boot()
        self.policies = {}

    def ref(self, name):
        policy = self.policies[name]
        body = json.dumps({"body": policy.body}).encode()
        ref = PolicyRef(type="files", name=name, revision=1, sha256=digest(body), length=len(body))
        self.bodies[ref.sha256] = body
        return ref

    async def fetch(self, sha256, limit):
        del limit
        if self.away:
            raise LinkError("unreachable", "upstream is away")
        return self.bodies[sha256]

    async def place(self, *files, **rest):
        name = f"web-{len(self.policies)}"
        self.policies[name] = make_policy(*files, name=name, **rest)
        await self.order(default=name)

    @property
    def drift(self):
        return self.enforcer.drift

    def tell(self):
        super().tell()
        self.stir()

    async def inspect(self, *, whole):
        seen = await self.applier.inspect(whole=whole)
        self.stir()
        return seen

    @contextlib.asynccontextmanager
    async def watched(self, listen=FileEvents.open):
        watch = self.watch = DriftWatch(self.enforcer, self, self.clock, listen=listen)
        self.applier.placed = watch.wake
        await watch.begin()
        running = asyncio.ensure_future(watch.run())
        try:
            yield watch
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def put_back(self, times):
        await self.until(
            lambda: self.drift.put_back == times and not self.drift.paths, f"it is put back {times} times"
        )


@pytest.fixture
def shop(keys, machine):
    return Shop(keys, machine)


def change(path):
    path.write_text("mine")


def same_size(path):
    held = path.stat()
    path.write_text("pluto")
    os.utime(path, ns=(held.st_atime_ns, held.st_mtime_ns))


def replace(path):
    path.with_name("other").write_text("mine")
    path.with_name("other").rename(path)


def link(path):
    path.unlink()
    path.symlink_to("/etc/passwd")


def link_to_nothing(path):
    path.unlink()
    path.symlink_to("nothing")


def pipe(path):
    path.unlink()
    os.mkfifo(path, 0o644)


def give(path):
    os.chown(path, 1, 1)


WAYS = [
    change,
    same_size,
    replace,
    link,
    link_to_nothing,
    pipe,
    Path.unlink,
    lambda path: path.chmod(0o666),
    pytest.param(give, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")),
    lambda path: shutil.rmtree(path.parent),
    lambda path: path.parent.rename(path.parent.with_name("moved")),
    lambda path: shutil.rmtree(path.parent.parent),
]


@pytest.mark.parametrize("harm", WAYS, ids=lambda way: way.__name__ if way.__name__ != "<lambda>" else None)
async def test_f_y3_what_was_changed_on_the_machine_is_seen_put_back_and_counted(shop, harm):
    file = shop.machine.root / "a" / "b" / "motd"
    entry = {"path": str(file), "content": "hello"} | (
        {"owner": "root", "group": "root"} if os.geteuid() == 0 else {}
    )
    await shop.place(entry)
    before = shop.machine.tree()
    async with shop.watched():
        await shop.until(lambda: shop.watch.complete, "events are heard")
        told = shop.told
        harm(file)
        await shop.put_back(1)
        assert shop.drift.path == str(file)
        assert shop.told > told
        change(file)
        await shop.put_back(2)
    assert before.items() <= shop.machine.tree().items()
    assert not file.is_symlink()
    assert shop.state.drift() == shop.drift


async def test_f_y3_a_managed_directory_with_another_mode_or_gone_is_put_back(shop):
    folder = shop.machine.root / "d"
    await shop.place({"path": str(folder), "directory": True, "mode": "0750"})
    async with shop.watched():
        await shop.until(lambda: shop.watch.complete, "events are heard")
        folder.chmod(0o777)
        await shop.put_back(1)
        folder.rmdir()
        await shop.put_back(2)
    assert shop.machine.folders() == {"d": 0o750}


async def test_what_the_agent_writes_itself_is_no_drift(shop):
    file = shop.machine.root / "motd"
    async with shop.watched():
        for number in range(20):
            await shop.place((file, f"content {number}"), (shop.machine.root / f"d{number}/a", "1"))
        await shop.until(lambda: shop.watch.complete, "events are heard")
        change(file)
        await shop.put_back(1)
    assert file.read_text() == "content 19"
    assert shop.drift.path == str(file)


async def test_a_directory_in_the_place_of_a_file_stays_reported_until_it_is_gone(shop, caplog, monkeypatch):
    monkeypatch.setattr(drifting, "FIRST_WAIT", 0.05)
    file = shop.machine.root / "motd"
    await shop.place((file, "hello"))
    async with shop.watched():
        await shop.until(lambda: shop.watch.complete, "events are heard")
        file.unlink()
        file.mkdir()
        await shop.until(lambda: "what drifted is not put back" in caplog.text, "it says so")
        assert shop.drift.paths == (str(file),)
        assert "is a directory on this machine" in caplog.text
        file.rmdir()
        await shop.put_back(1)
    assert file.read_text() == "hello"


async def test_a_storm_of_changes_ends_with_what_the_policy_wants(shop, monkeypatch):
    monkeypatch.setattr(drifting, "FIRST_WAIT", 0.05)
    files = [shop.machine.root / f"{number}" for number in range(50)]
    await shop.place(*((file, "hello") for file in files))
    async with shop.watched():
        await shop.until(lambda: shop.watch.complete, "events are heard")
        for number in range(2000):
            files[number % 50].write_text(str(number))
            if number % 100 == 0:
                await asyncio.sleep(0)
        await shop.until(lambda: all(file.read_text() == "hello" for file in files), "all is as it was")
        await shop.until(lambda: not shop.drift.paths, "that is reported")
    assert shop.drift.put_back >= 1


async def test_a_reload_runs_when_a_file_is_put_back(shop):
    shop.machine.commands = {"reload": shop.machine.noting("reload")}
    shop.applier = shop.machine.applier()
    shop.boot()
    file = shop.machine.root / "motd"
    await shop.place((file, "hello"), reload="reload")
    async with shop.watched():
        await shop.until(lambda: shop.watch.complete, "events are heard")
        change(file)
        await shop.put_back(1)
    assert shop.machine.noted() == ["reload", "reload"]


@pytest.mark.parametrize("harm", [change, same_size, Path.unlink, link])
async def test_without_events_polling_finds_it(shop, monkeypatch, harm):
    monkeypatch.setattr(drifting, "INTERVAL", 0.02)
    file = shop.machine.root / "motd"
    await shop.place((file, "hello"))
    async with shop.watched(lambda _: None):
        harm(file)
        await shop.put_back(1)
    assert file.read_text() == "hello"


@pytest.mark.parametrize("settles", [True, False], ids=["in touch", "before any contact"])
async def test_f_y3_what_changed_while_no_agent_ran_is_counted_and_put_back(shop, settles):
    file = shop.machine.root / "motd"
    await shop.place((file, "hello"))
    change(file)
    shop.boot()
    async with shop.watched():
        if settles:
            await shop.settle()
        await shop.put_back(1)
    assert file.read_text() == "hello"


async def test_while_a_newer_set_fails_or_cannot_be_fetched_what_is_in_force_is_put_back(shop):
    file = shop.machine.root / "motd"
    await shop.place((file, "hello"))
    await shop.place((file, "newer"), ("/etc/elsewhere", "out of reach"))
    assert shop.enforcer.progress.outcome is Outcome.FAILED
    shop.boot()
    async with shop.watched():
        await shop.settle()
        change(file)
        await shop.put_back(1)
    assert file.read_text() == "hello"
    assert shop.enforcer.progress.outcome is Outcome.FAILED
    shop.away = True
    with pytest.raises(LinkError):
        await shop.place((file, "newest"))
    async with shop.watched():
        change(file)
        await shop.put_back(2)
    assert file.read_text() == "hello"


async def test_what_is_written_beside_managed_files_is_not_looked_at(shop):
    await shop.place((shop.machine.root / "motd", "hello"))
    looks = []
    inspect = shop.applier.inspect

    async def counting(*, whole):
        looks.append(whole)
        return await inspect(whole=whole)

    shop.applier.inspect = counting
    async with shop.watched():
        await shop.until(lambda: shop.watch.complete, "events are heard")
        before = len(looks)
        for _ in range(500):
            (shop.machine.root / "log").write_text("line")
        change(shop.machine.root / "motd")
        await shop.put_back(1)
        assert len(looks) - before < 10


# What the kernel tells.


class Heard:
    def __init__(self):
        self.times = 0
        self.stir = Stir()
        self.events = FileEvents.open(self.hear)

    def hear(self):
        self.times += 1
        self.stir()

    async def next(self):
        times = self.times
        await self.stir.until(lambda: self.times > times, "something is heard")


@pytest.fixture
async def heard():
    found = Heard()
    yield found
    found.events.close()


async def test_a_directory_that_is_moved_away_above_makes_the_watch_stale(heard, tmp_path):
    folder = tmp_path.resolve() / "a" / "b"
    folder.mkdir(parents=True)
    assert heard.events.watch({folder: frozenset({"motd"})})
    folder.parent.rename(tmp_path / "c")
    await heard.next()
    assert heard.events.stale
    assert not heard.events.watch({folder: frozenset({"motd"})}), "it is not there"
    assert not heard.events.stale
    folder.mkdir(parents=True)
    assert heard.events.watch({folder: frozenset({"motd"})})
    (folder / "motd").touch()
    await heard.next()


async def test_more_directories_than_may_be_watched_are_said_to_be_too_many(heard, tmp_path, monkeypatch):
    monkeypatch.setattr(file_events, "MAX_WATCHES", 5)
    folders = [tmp_path.resolve() / str(number) for number in range(6)]
    for folder in folders:
        folder.mkdir()
    assert not heard.events.watch({folder: frozenset({"a"}) for folder in folders})


async def test_a_file_system_that_others_change_is_said_to_be_out_of_hearing(heard, tmp_path, monkeypatch):
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    line = f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw - KIND server:/srv rw\n"
    monkeypatch.setattr(file_events, "_MOUNTS", mounts)
    places = {tmp_path.resolve(): frozenset({"a"})}
    for kind, whole in (("nfs4", False), ("fuse.sshfs", False), ("ext4", True)):
        mounts.write_text(line.replace("KIND", kind))
        assert heard.events.watch(places) is whole


def queued():
    """Return how many events this kernel keeps."""
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


async def test_too_many_events_to_keep_count_as_a_change_of_everything(heard, tmp_path):
    assert heard.events.watch({tmp_path.resolve(): frozenset({"motd"})})
    limit = queued()
    if limit > 50_000:
        pytest.skip("this kernel keeps more events than a test should make")
    for number in range(limit // 2 + 1):
        (tmp_path / f"{number % 2}").touch()
        (tmp_path / f"{number % 2}").unlink()
    await heard.next()
    assert heard.events.stale


async def test_where_the_kernel_has_no_events_there_are_none(monkeypatch):
    monkeypatch.setattr(file_events.ctypes, "CDLL", lambda *_, **__: object())
    assert FileEvents.open(lambda: None) is None
