"""What a figure needs beside it: machine, commit, load; and what a process costs, by its own accounting."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_TICK = os.sysconf("SC_CLK_TCK")


def describe_machine() -> dict[str, Any]:
    """Return what the figures were made on."""
    cpu = [
        line
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 2**30),
        "kernel": platform.release(),
    }


def find_commit() -> str:
    """Return the commit of the tree, with a plus if something is changed; empty outside a repository."""
    root = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


def cpu_of(*pids: int) -> float:
    """Return the seconds of user and system time that these processes have had."""
    spent = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / _TICK
    return spent


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process has in use: resident, anonymous."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} says nothing of its memory")


def load_now() -> float:
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 2)
