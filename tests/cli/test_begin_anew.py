"""A process that begins anew keeps its number and arguments, and its supervisor sees it reload (F.O4)."""

import socket
import subprocess
import sys

import pytest

from popham import posix
from popham.cli import process
from popham.errors import StateError

PROGRAM = """
import os, sys
from pathlib import Path
from popham.cli.process import begin_anew, run_process

async def serve(ready, stopping):
    ready.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

import asyncio
assert run_process(serve, os.environ) is False
print(os.getpid(), sys.argv[1:], flush=True)
mark = Path(sys.argv[1])
if not mark.exists():
    mark.touch()
    begin_anew(os.environ)
"""


def test_f_o4_a_process_begins_anew_with_its_number_and_arguments(tmp_path):
    script, mark = tmp_path / "program.py", tmp_path / "mark"
    script.write_text(PROGRAM)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(30)
        ran = subprocess.run(
            [sys.executable, "-X", "utf8", str(script), str(mark), "--flag"],
            env={"NOTIFY_SOCKET": str(tmp_path / "notify")},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        said = [notified.recv(1024).decode().partition("\n")[0] for _ in range(3)]
    first, second = ran.stdout.splitlines()
    assert first == second
    assert first.endswith(f"['{mark}', '--flag']")
    assert said == ["READY=1", "RELOADING=1", "READY=1"]


def test_f_o4_a_program_that_is_gone_is_said_to_be(monkeypatch):
    def fail(_program, _arguments):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(posix, "replace_process", fail)
    with pytest.raises(StateError, match="No such file") as caught:
        process.begin_anew({})
    assert caught.value.code == "state.restart"
