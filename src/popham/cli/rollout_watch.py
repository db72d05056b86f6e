"""Following a rollout until it is promoted, undone or halted."""

from __future__ import annotations

from collections.abc import Callable

import click

from popham.cli.exits import FAILED, OK
from popham.cli.following import Followed
from popham.cli.rollout_text import OVER, headline, status_lines, way_out
from popham.cli.show import Shown


def followed(look: Callable[[], Shown]) -> Followed:
    """Return how a rollout is followed; ``look`` asks for it."""
    return Followed(
        look=look,
        page=lambda found, now: status_lines(found, now=now),
        headline=headline,
        is_over=lambda found: found["state"] in OVER or found["state"] == "halted",
        end=_end,
    )


def _end(rollout: Shown) -> int:
    if rollout["state"] == "promoted":
        return OK
    if rollout["state"] == "halted":
        click.echo(way_out(rollout), err=True)
    return FAILED
