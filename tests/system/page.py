"""Pages whose commands are run: a shell for them, and what they say beside what is printed.

Rules of such a page:

1. In a ``console`` block a line that begins with ``$`` is a command, ``>`` continues it.
2. Every other line stands in what the command prints, blanks aside; ``…`` stands for anything.
3. A command that only looks is run again until it shows what the page says.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

LOOKS = re.compile(r"popham (get|describe|why|explain|agent status|(rollout|op) (list|status))|cat ")
PATIENCE = 60.0
END = "== end of command"


def steps(page):
    """Return (command, lines that the page says it prints) of all its console blocks."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.startswith(">"):
                found[-1] = (f"{found[-1][0]}\n{line[2:]}", found[-1][1])
            else:
                found[-1][1].append(line)
    return found


def pattern(line):
    """Return the expression that a line of the page stands for: blanks of any number, ``…`` for anything."""
    words = [re.escape(word).replace("…", ".*") for word in line.split()]
    return r"\s+".join(words)


class Shell:
    """One bash, as a reader has it open in one terminal."""

    def __init__(self, folder, **environ):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("POPHAM_")}
        self.process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=kept | {"PATH": path, "HOME": str(folder)} | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command):
        """Return what a command printed, and its exit code, which ``$?`` has for the next one too."""
        told, heard = self.process.stdin, self.process.stdout
        told.write(f"{command}\n__code=$?; echo; echo '{END}' $__code; (exit $__code)\n")
        told.flush()
        lines = []
        for line in heard:
            if line.startswith(END):
                return "".join(lines).rstrip("\n"), int(line.removeprefix(END))
            lines.append(line)
        raise EOFError(command)

    def close(self):
        """End the shell and all it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def follow(shell, command, said, patience=PATIENCE):
    """Run one command; return what it printed that differs from the page, after patience if it only looks."""
    deadline = time.monotonic() + patience
    while True:
        begin = time.monotonic()
        printed, code = shell.run(command)
        missing = [line for line in said if not re.search(pattern(line), printed)]
        refused = any(line.startswith("popham: ") for line in said)
        if not missing and (code == 0 or refused):
            return ""
        if not LOOKS.match(command) or time.monotonic() > deadline:
            return f"$ {command}\n{printed}\nexit code {code}; the page also says: {missing}"
        # A command that is asked again and again would take the processor from what it looks at.
        time.sleep(2 * (time.monotonic() - begin))
