"""``popham audit``: who changed what."""

from __future__ import annotations

import click

from popham.cli.columns import AUDIT
from popham.cli.invocation import Invocation
from popham.cli.show import output_option, show_list


@click.command()
@output_option("table", "wide", "json", "jsonl", "yaml")
@click.pass_obj
def audit(run: Invocation, form: str) -> None:
    """Show who changed what, when and from where.

    The oldest change comes first; -o wide has what was before and after.
    """
    with run.client() as client:
        items = list(client.audit())
    show_list(form, AUDIT, items)
    if not items:
        click.echo("No changes yet.", err=True)
