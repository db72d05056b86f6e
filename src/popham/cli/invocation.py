"""What one run of the command line was given, and how it reaches a Manager.

Contexts and the REST client are imported when a command asks for them.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from popham.cli.contexts import Context, Contexts
    from popham.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """Everything a command needs that is not among its arguments.

    Attributes:
        environ: The environment.
        config: File with the contexts, if an option names one.
        context: Name of the context an option chose; empty for the current one.
        connect: Makes a client for a context.
        wait: Sleeps for so many seconds between two looks of ``-w``.
        now: Wall time, in unix seconds.
        asked: Whether somebody is there to answer questions.
        draws: Whether what was printed may be drawn over: standard output is a terminal.
        kind: What of this machine the command is about: its ``agent``, or its ``proxy``.
    """

    environ: Mapping[str, str]
    config: Path | None = None
    context: str = ""
    connect: Callable[[Context], Client] = field(default_factory=lambda: _connect)
    wait: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    asked: Callable[[], bool] = field(default_factory=lambda: _on_terminal)
    draws: Callable[[], bool] = field(default_factory=lambda: _to_terminal)
    kind: str = "agent"

    def choose(self, config: str | None, context: str) -> Invocation:
        """Return the invocation with what the options of ``popham`` itself say."""
        return replace(self, config=Path(config) if config else self.config, context=context or self.context)

    def contexts(self) -> Contexts:
        """Return the contexts of the file, none if there is no file.

        Raises:
            ConfigError: The file cannot be read.
        """
        from popham.cli.contexts import Contexts, contexts_path

        return Contexts.load(self.config or contexts_path(self.environ))

    def client(self) -> Client:
        """Return a client for the Manager that this run talks to.

        Raises:
            ConfigError: No Manager is chosen, or the context is wrong.
        """
        gc.enable()
        return self.connect(self.contexts().chosen(self.context, self.environ))


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _to_terminal() -> bool:
    return sys.stdout.isatty()


def _connect(context: Context) -> Client:
    from popham.client import Client

    return Client(context.url, context.token, ca=context.ca)
