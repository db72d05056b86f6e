"""Which agent, or Proxy Manager, of this machine a command is about."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from popham.cli.invocation import Invocation
from popham.cli.text import clean

if TYPE_CHECKING:
    from popham.agent.settings import AgentSettings
    from popham.proxy.settings import ProxySettings

PROXY = "proxy"
_COMMAND = re.compile(r"popham (?:agent|proxy) (?:service )?[a-z][a-z-]*")
FILE = "/etc/popham/agent.toml"
PROXY_FILE = "/etc/popham/proxy.toml"


class Machine:
    """Which agent, or Proxy Manager, of this machine a command is about.

    Attributes:
        word: The command that it is run and asked by: ``agent`` or ``proxy``.
    """

    def __init__(self, run: Invocation, config: Path | None, state: str | None, name: str | None) -> None:
        self._run = run
        self.word = run.kind
        self._config = config
        self._flags = {"state": state, "name": name}

    @property
    def source(self) -> Path:
        """The configuration file, whether or not it exists."""
        return self._config or Path(PROXY_FILE if self.word == PROXY else FILE)

    @property
    def named(self) -> str:
        """The option that names this agent in a command to be typed next; empty for the default."""
        return f" --config {clean(str(self._config))}" if self._config else ""

    def settings(self) -> AgentSettings:
        """Read the local configuration. Raises ConfigError."""
        if self.word == PROXY:
            return self.proxy_settings()
        from popham.agent.settings import load_settings

        return load_settings(
            self.source,
            env=self._run.environ,
            overrides=self._flags,
            must_exist=self._config is not None,
        )

    def proxy_settings(self) -> ProxySettings:
        """Read the local configuration of a Proxy Manager. Raises ConfigError."""
        from popham.proxy.settings import load_settings

        return load_settings(
            self.source,
            env=self._run.environ,
            overrides=self._flags,
            must_exist=self._config is not None,
        )


def in_words(text: str, word: str, named: str = "") -> str:
    """Return what to do next, with the commands of whom this is about: an agent says it in its own.

    Args:
        text: Of an agent.
        word: ``agent`` or ``proxy``.
        named: As :attr:`Machine.named`: put behind each command that is of this machine.
    """
    if word == PROXY:
        text = text.replace("popham agent ", f"popham {word} ").replace("popham-agent", f"popham-{word}")
        text = text.replace("the agent", f"the {word}")
    return _COMMAND.sub(lambda found: found[0] + named, text) if named else text


def choosing(command: Any) -> Any:
    """Give ``command`` the options that say which agent of this machine is meant."""
    command = click.option("--state", help="State directory, if not the configured one.")(command)
    return click.option(
        "--config", type=click.Path(path_type=Path), help=f"Local configuration, if not {FILE}."
    )(command)
