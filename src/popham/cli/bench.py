"""``popham bench``: what rounds and links cost, as ``popham plan`` reckons with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from popham.cli.show import Column, Shown, output_option, show_list, show_object
from popham.cli.text import clean

if TYPE_CHECKING:
    from popham.model.measured import Measured

_COLUMNS = (
    Column("CONNECTION", lambda item: str(item["connection"])),
    Column("ROUND", lambda item: f"{item['heartbeat_us']:g} µs"),
    Column("NEW CONNECTION", lambda item: f"{item['connect_us']:g} µs"),
    Column("LINK", lambda item: f"{item['link_kb']:g} kB"),
    Column("BYTES", lambda item: f"{item['heartbeat_bytes']:g}"),
    Column("BYTES IF NEW", lambda item: f"{item['connect_bytes']:g}"),
)


@click.command()
@click.option("--calibrate", is_flag=True, help="Measure on this machine, in less than a minute.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default="/var/lib/popham/manager",
    show_default=True,
    help="State directory of the Manager that reckons with the table.",
)
@click.option("--dry-run", is_flag=True, help="Measure and print; write nothing.")
@output_option("text", "json", default="text")
def bench(state: Path, form: str, *, calibrate: bool, dry_run: bool) -> None:
    """Show what rounds and links cost a Manager, or measure it.

    'popham plan' and 'popham apply' reckon with this table. Without one of its own,
    a Manager has the one that is built in. It is measured by a Manager and agents on
    loopback and a temporary directory; the Manager of this machine may run meanwhile.
    """
    from popham.manager.costs import read_measured, write_measured
    from popham.statedir import read_format

    if not calibrate:
        _show(form, read_measured(state))
        return
    if not dry_run:
        # Before a minute is spent for nothing.
        read_format(state, "manager")
    from popham.testing.calibration import calibrate as measure

    found = measure(lambda step: click.echo(f"measuring: {step}", err=True))
    _show(form, found)
    if not dry_run:
        write_measured(state, found)
        click.echo(f"Written to {state}; the Manager reckons with it from now on.", err=True)


def _show(form: str, found: Measured) -> None:
    data = found.as_dict()
    if form == "json":
        show_object(form, data)
        return
    ways: list[Shown] = [{"connection": kind, **way} for kind, way in data["ways"].items()]
    show_list("table", _COLUMNS, ways)
    click.echo(
        f"\nA Manager without agents: {found.base_mb:g} MB; an agent that is known: {found.agent_kb:g} kB.\n"
        f"A change, for each agent: {found.change_us:g} µs and {found.change_bytes:g} bytes beside its content.\n"
        f"Source: {clean(found.source)}"
    )
