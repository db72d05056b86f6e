"""``popham completion``: what makes Tab work."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  popham completion bash > ~/.local/share/bash-completion/completions/popham
    zsh:   popham completion zsh > "${fpath[1]}/_popham"
    fish:  popham completion fish > ~/.config/fish/completions/popham.fish
    """  # noqa: D301 - the backspace tells click to keep the lines
    root = ctx.find_root()
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(found(root.command, {}, "popham", "_POPHAM_COMPLETE").source())
