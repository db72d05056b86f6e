"""Where ``popham`` begins: at the table of commands, or at the one command that a web server starts for each visit.

``popham agent cgi`` has 80 ms, and what the other commands need takes longer to import.
"""

from __future__ import annotations

import gc
import sys

_BRIDGE, _LASTING = ["agent", "cgi"], ["agent", "run"]


def main() -> None:
    """Run ``popham`` with the arguments of this process, then exit."""
    words = sys.argv[1:]
    if words[:2] == _BRIDGE and not {"-h", "--help"} & set(words):
        from popham.downstream.cgi import run

        sys.exit(run(words[2:]))
    if words[:2] != _LASTING:
        # What is imported stays: looking for garbage in it takes a sixth of the time to start. What lasts looks again;
        # an agent does from its first moment, as the little that is found counts there.
        gc.disable()
    from popham.cli.main import main as run_command

    run_command()
