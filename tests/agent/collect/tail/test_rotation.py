"""REL-27: whatever happens to log files, and whenever the agent ends, each line comes once."""

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent.collect.tail.conftest import Story

from popham.testing.virtual import pass_time

STEPS = (
    "write",
    "write",
    "half",
    "pass",
    "rename",
    "rename",
    "truncate",
    "delete",
    "vanish",
    "restart",
    "crash",
    "full",
    "room",
    "away",
    "pause",
)


class Writers:
    """Programs that write two logs, and what rotates them; knows each line ever written."""

    def __init__(self, story):
        self.story = story
        self.numbers = itertools.count()
        self.rotated = itertools.count()
        self.written = set()
        self.exposed = set()
        self.open = {}
        self.halves = {}

    def write(self, name, count, *, half=False):
        self.finish(name)
        for _ in range(count):
            line = f"{name} {next(self.numbers)} " + "x" * (next(self.rotated) % 90)
            self.written.add(line)
            self.story.write(f"logs/{name}.log", line + "\n")
        if half:
            number = next(self.numbers)
            first, rest = f"{name} {number} ha", f"lf {number}"
            self.written.add(first + rest)
            self.halves[first + rest] = first, rest
            self.story.write(f"logs/{name}.log", first)
            self.open[name] = rest

    def finish(self, name):
        """End the line that was begun."""
        if rest := self.open.pop(name, ""):
            self.story.write(f"logs/{name}.log", rest + "\n")

    def expose(self):
        """Note that what did not arrive yet may be lost."""
        self.exposed |= self.missing()

    def missing(self):
        """Return the lines that did not arrive, neither whole nor, since they stood half for long, in two parts."""
        found = set(self.story.stream.lines())
        return {line for line in self.written - found if not found.issuperset(self.halves.get(line, (line,)))}


def _path(writers, name):
    return writers.story.folder / "logs" / f"{name}.log"


async def _do(story, writers, step, name, number):
    path = _path(writers, name)
    if step in {"write", "half"}:
        path.parent.mkdir(exist_ok=True)
        writers.write(name, number, half=step == "half")
    elif step == "pass":
        await pass_time(number / 4)
    elif step in {"rename", "truncate", "delete", "vanish"}:
        _rotate(writers, step, name)
    elif step in {"restart", "away", "crash"}:
        await _restart(story, writers, step, name, number)
    elif step == "pause":
        story.files.pause()
    else:
        story.stream.room = None if step == "room" else number


def _rotate(writers, step, name):
    path = _path(writers, name)
    for one in ("a", "b"):
        if (one == name or step == "vanish") and _path(writers, one).exists():
            writers.finish(one)
    if step == "rename" and path.exists():
        path.rename(path.with_suffix(f".log.{next(writers.rotated)}"))
    elif step != "rename":
        writers.expose()
    if step == "truncate" and path.exists():
        path.write_bytes(b"")
    elif step == "delete":
        path.unlink(missing_ok=True)
    elif step == "vanish":
        shutil.rmtree(path.parent, ignore_errors=True)


async def _restart(story, writers, step, name, number):
    story.files.resume()
    kept = story.storage.files.copy()
    await story.end()
    if step == "crash":
        story.storage.files = kept
    if step == "away":
        _path(writers, name).parent.mkdir(exist_ok=True)
        writers.write(name, number)
    await story.start(story.source("logs/*.log*"))


def follow(steps):
    """Play steps, and see that each line came once."""
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder))
        writers = Writers(story)

        async def tell():
            await story.start(story.source("logs/*.log*"))
            for step, name, number in steps:
                await _do(story, writers, step, name, number)
            for name in "ab":
                writers.finish(name)
            story.stream.room = None
            story.files.resume()
            await pass_time(10)
            lines = story.stream.lines()
            assert len(lines) == len(set(lines))
            assert writers.missing() <= writers.exposed
            assert set(lines) <= writers.written.union(*writers.halves.values())

        story.run(tell)


FATES = st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from("ab"), st.integers(0, 6)), max_size=25)


@settings(max_examples=50, deadline=None)
@given(FATES)
def test_rel_27_each_line_arrives_once_unless_its_file_was_gone_before_it_could_be_read(steps):
    follow(steps)


@pytest.mark.soak
@settings(max_examples=5000, deadline=None)
@given(FATES)
def test_rel_27_the_same_for_long(steps):
    follow(steps)
