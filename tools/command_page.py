"""Writes ``docs/reference/cli.md`` from the commands themselves; ``make reference`` runs it.

What is not in a command (exit codes, contexts, output) stands in
``command_page.head.txt`` and ``command_page.tail.md`` beside this file.  The
page is committed; a test compares it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from popham.cli.main import cli

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs/reference/cli.md"
PARTS: Sequence[tuple[str, frozenset[str]]] = (
    ("For the Manager's machine", frozenset({"init", "manager", "backup", "restore"})),
    ("For an agent's machine", frozenset({"agent"})),
    ("For the command line itself", frozenset({"context", "completion"})),
)
REST = "For administrators"
"""Where a command stands that no part names."""


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield path and command of everything below ``command`` that can be run."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from leaves(below, f"{path} {name}")


def build_page() -> str:
    """Return the whole page."""
    found: dict[str, list[tuple[str, click.Command]]] = {REST: []}
    context = click.Context(cli, info_name="popham")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        title = next((title for title, names in PARTS if name in names), REST)
        if command is not None:
            found.setdefault(title, []).extend(leaves(command, f"popham {name}"))
    head = (FOLDER / "command_page.head.txt").read_text(encoding="utf-8")
    tail = (FOLDER / "command_page.tail.txt").read_text(encoding="utf-8")
    titles = [REST, *(title for title, _ in PARTS if title in found)]
    return "\n\n".join([head.strip(), *(_part(title, found[title]) for title in titles), tail.strip()]) + "\n"


def _part(title: str, commands: Sequence[tuple[str, click.Command]]) -> str:
    lines = [f"### {title}", "", "| command | does |", "|---|---|"]
    for path, command in commands:
        words = " ".join([path, *_arguments(command)])
        lines.append(f"| `{words}` | {_cell(_sentence(command))} |")
    options: dict[tuple[str, str], list[str]] = {}
    for path, command in commands:
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                names = ", ".join(f"`{name}`" for name in parameter.opts)
                of = options.setdefault((names, _cell(parameter.help or "")), [])
                of.append(f"`{path.removeprefix('popham ')}`")
    if options:
        lines += ["", "| option | of | meaning |", "|---|---|---|"]
        lines += [
            f"| {names} | {', '.join(dict.fromkeys(of))} | {text} |" for (names, text), of in options.items()
        ]
    return "\n".join(lines)


def _arguments(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            name = parameter.metavar or (parameter.name or "").upper()
            yield name if parameter.required or parameter.metavar else f"[{name}]"


def _sentence(command: click.Command) -> str:
    return (command.help or "").split("\n\n")[0]


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\b", "").replace("|", "\\|")).strip()


if __name__ == "__main__":
    PAGE.write_text(build_page(), encoding="utf-8")
