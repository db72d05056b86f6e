"""``popham check-in``: ask agents for a round now."""

from __future__ import annotations

import click

from popham.cli.columns import CHECK_INS
from popham.cli.invocation import Invocation
from popham.cli.show import FORMS, output_option, show_list


@click.command("check-in")
@click.argument("agents", metavar="[AGENT]...", nargs=-1)
@click.option("-g", "--group", default=None, help="All agents of this group.")
@click.option("-l", "--selector", default="", help="All agents with such labels: env=prod,role in (web,db).")
@click.option("--all", "everyone", is_flag=True, help="All agents of the fleet.")
@output_option(*FORMS)
@click.pass_obj
def check_in(
    run: Invocation, agents: tuple[str, ...], group: str | None, selector: str, form: str, *, everyone: bool
) -> None:
    """Ask agents to get in touch now.

    Who holds a link is asked at once; the others come with their next heartbeat,
    and the table says when that is.
    """
    if sum(map(bool, (agents, group or selector, everyone))) != 1:
        raise click.UsageError("name agents, or a --group or a --selector, or --all")
    with run.client() as client:
        found = client.check_in(agents, group=group, selector=selector, everyone=everyone)
    show_list(form, CHECK_INS, found)
    if not found:
        click.echo("No agents there. 'popham get agents' shows all.", err=True)
