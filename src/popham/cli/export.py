"""``popham export``: everything that is defined, as files that define it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import click

from popham.cli.files import STDIN, SUFFIXES
from popham.cli.invocation import Invocation
from popham.cli.text import clean, clean_lines
from popham.errors import DefinitionError, WireError
from popham.model.names import NAME
from popham.statedir import replace_file

FOLDERS = ("agents", "groups", "placements", "policies", "proxies")


@click.command()
@click.argument("target", metavar="[DIR|-]", default=STDIN)
@click.pass_obj
def export(run: Invocation, target: str) -> None:
    """Write all definitions as files; applying them changes nothing.

    A file for each group, policy, placement, agent definition and proxy in DIR, or all to standard output. Secrets that policies hold stand in them.
    """
    with run.client() as client:
        found = client.export()
    files = [(item["name"], item["text"]) for item in found["items"]]
    if target == STDIN:
        text = "---\n".join(text for _, text in files)
        click.echo(clean_lines(text) if sys.stdout.isatty() else text, nl=False)
    else:
        _write(Path(target), files)
    for warning in found["warnings"]:
        click.echo(f"Warning: {clean(warning)}", err=True)


def _write(folder: Path, files: list[tuple[str, str]]) -> None:
    """Write all files below ``folder``, and name those there that define what is no more.

    Raises:
        DefinitionError: ``definition.file``: one cannot be written.
    """
    written = 0
    for name, text in files:
        path = folder.joinpath(*_checked(name))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.read_bytes() != text.encode():
                replace_file(path, text.encode())
                written += 1
        except OSError as error:
            problem = f"it cannot be written: {error.strerror or error}"
            raise DefinitionError("file", problem, "Choose another folder", source=str(path)) from error
    known = {folder.joinpath(*name.split("/")) for name, _ in files}
    click.echo(f"{len(files)} definitions in {clean(folder)}, {written} written")
    for path in _others(folder, known):
        click.echo(f"Warning: {clean(path)} defines nothing that is stored; delete it", err=True)


def _checked(name: str) -> list[str]:
    """Return the parts of a file's name, which must stay below the folder.

    Raises:
        WireError: ``wire.name``: the Manager named something else.
    """
    folder, _, file = name.partition("/")
    if folder not in FOLDERS or not NAME.fullmatch(file.removesuffix(".yaml")):
        raise WireError("name", f"the Manager names a file {clean(name)}", "Upgrade this program")
    return [folder, file]


def _others(folder: Path, known: Collection[Path]) -> Iterator[Path]:
    for below in FOLDERS:
        if (folder / below).is_dir():
            found = sorted((folder / below).iterdir())
            yield from (path for path in found if path.suffix in SUFFIXES and path not in known)
