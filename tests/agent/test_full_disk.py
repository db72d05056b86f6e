"""A disk that fills up, while files are staged and while they are placed, leaves the set in force (REL-11)."""

import asyncio
import contextlib
import os
import subprocess
import sys

import pytest

from popham.errors import PolicyError

from .conftest import make_policy


@pytest.fixture
def small_disk(machine):
    """Return a machine whose root is a file system of 64 KiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(machine.root)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this account may not mount a file system")
    yield machine
    subprocess.run(["umount", "-l", str(machine.root)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
async def test_rel_11_a_full_disk_leaves_the_set_in_force(small_disk):
    await small_disk.applier().apply([make_policy((small_disk.root / "a", "good" * 2000), name="good")])
    big = [(small_disk.root / f"deep/{number}", "x" * 30_000) for number in range(4)]
    before = small_disk.tree()
    with pytest.raises(PolicyError, match="No space left") as caught:
        await small_disk.applier().apply([make_policy(*big)])
    assert caught.value.code == "policy.disk"
    assert "Make room" in caught.value.hint
    assert small_disk.tree() == before
    assert small_disk.folders() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
async def test_rel_11_a_disk_that_fills_up_while_files_are_placed_leaves_the_set_in_force(small_disk):
    await small_disk.applier().apply([make_policy((small_disk.root / "a", "good"), name="good")])

    def fill(step):
        if step == "placed:0":
            with contextlib.suppress(OSError):
                (small_disk.root / "fill").write_bytes(b"x" * 100_000)
            raise OSError(28, "No space left on device")

    before = small_disk.tree()
    wanted = [make_policy((small_disk.root / "a", "new"), (small_disk.root / "b", "new"), name="good")]
    with pytest.raises(PolicyError) as caught:
        await small_disk.applier(failpoint=fill).apply(wanted)
    assert caught.value.code == "policy.disk"
    (small_disk.root / "fill").unlink()
    assert small_disk.tree() == before


FULL = """
import asyncio, resource, sys
from pathlib import Path
from popham.agent.apply import Applied, Applier, at_once
from popham.agent.settings import AgentSettings, FilesSettings
from popham.errors import PolicyError
from popham.model.bundle import PolicyRef

root, state = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
settings = AgentSettings(state=state, files=FilesSettings(roots=(root,)))
files = [{"path": f"{root}/{name}", "content": name * size} for name, size in (("a", 10), ("b", 50_000))]
ref = PolicyRef(type="files", name="web", revision=2, sha256="0" * 64, length=1)
try:
    asyncio.run(Applier(settings, Path(state) / "apply", offload=at_once).apply([Applied(ref, {"files": files})]))
except PolicyError as error:
    print(error.code, error.problem)
"""


async def test_rel_11_a_file_that_may_not_be_as_large_leaves_the_set_in_force(machine):
    await machine.applier().apply([make_policy((machine.root / "a", "good"), name="good")])
    argv = [sys.executable, "-c", FULL, str(machine.root), str(machine.state)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    assert said.startswith(b"policy.disk")
    assert machine.tree() == {"a": (b"good", 0o644)}
