"""``popham audit``: who changed what."""

from __future__ import annotations

import re

import click

from popham.cli.columns import AUDIT
from popham.cli.invocation import Invocation
from popham.cli.show import output_option, show_list, show_object
from popham.cli.text import clean

_DIGEST = re.compile(r"[0-9a-f]{64}")


@click.command()
@click.option("--verify", is_flag=True, help="Follow its chain: was an entry changed, moved or left out?")
@click.option("--head", default="", metavar="DIGEST", help="With --verify: a digest that was kept elsewhere.")
@output_option("table", "wide", "json", "jsonl", "yaml")
@click.pass_obj
def audit(run: Invocation, form: str, head: str, *, verify: bool) -> None:
    """Show who changed what, when and from where.

    The oldest change comes first; -o wide has what was before and after. Each entry names the digest of
    the one before it. Keep the digest that --verify prints elsewhere: with --head it shows later whether
    the newest entries are still there.
    """
    if head and not verify:
        raise click.UsageError("--head goes with --verify")
    if head and not _DIGEST.fullmatch(head):
        raise click.UsageError(
            "--head takes a digest as --verify prints it: 64 digits from 0 to 9 and a to f"
        )
    with run.client() as client:
        if verify:
            found = client.verify_audit(head)
            if form in {"json", "jsonl", "yaml"}:
                show_object("yaml" if form == "yaml" else "json", found)
            else:
                click.echo(
                    f"{found['entries']} entries, and the chain is whole. Its head: {clean(found['head'])}"
                )
            return
        items = list(client.audit())
    show_list(form, AUDIT, items)
    if not items:
        click.echo("No changes yet.", err=True)
