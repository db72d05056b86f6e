"""State directories on a small disk of their own, which can be filled."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ON_TMPFS = """
mount -t tmpfs -o size="$2",mode=700 tmpfs "$1.d" && cp -a "$1/." "$1.d/" && mount --move "$1.d" "$1" && shift 2 && exec "$@"
"""
"""Puts a state directory on a disk of its own, which only what runs after it sees."""


def on_small_disk(state, size):
    """Return the words that run a command with a state directory, as it is then, on a disk of ``size``."""
    words = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    shell = [*words, "sh", "-ec", ON_TMPFS, "sh", str(state), size]
    Path(f"{state}.d").mkdir(exist_ok=True)
    if shutil.which("unshare") is None or subprocess.run([*shell, "true"], check=False).returncode:
        pytest.skip("NOT TESTED: a full disk: this account may not mount one in a namespace of its own")
    return shell


def seen_by(process, path):
    """Return the path by which a process of another namespace sees what it calls ``path``."""
    return Path(f"/proc/{process.pid}/root{path}")


def fill(path):
    """Write a file until its disk is full."""
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
