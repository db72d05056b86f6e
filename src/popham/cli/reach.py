"""Options that say how far a change reaches at once: all, or a few agents first."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from popham.cli.columns import percent
from popham.cli.text import clean
from popham.errors import DefinitionError, PophamError

if TYPE_CHECKING:
    from popham.client import Client

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?) ?%")
_NAMES_SHOWN = 5
_LOOKS, _PAUSE = 4, 0.15
"""How often, and after how many seconds each, it is looked whether the Manager has counted a cohort."""


class Shares(click.ParamType[tuple[float, ...]]):
    """One or more percentages: ``1%`` or ``1%,10%,50%``; becomes a tuple of shares, 0 to 1."""

    name = "shares"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the shares; raises click.BadParameter."""
        if isinstance(value, tuple):
            return value
        return tuple(self._one(part.strip(), param, ctx) for part in str(value).split(","))

    def _one(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = _PERCENT.fullmatch(text)
        if match is None or float(match[1]) > 100:
            self.fail(f"{text!r} is no percentage. Write 1%, or 1%,10%,50%", param, ctx)
        return float(match[1]) / 100


class Seconds(click.ParamType[float]):
    """A duration such as ``10m``; becomes seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds; raises click.BadParameter."""
        from popham.model.duration import parse_duration

        if isinstance(value, float):
            return value
        try:
            return parse_duration(value, param.name if param and param.name else "duration")
        except DefinitionError:
            self.fail(f"{value!r} is no duration. Write a number and s, m, h or d: 30s, 10m", param, ctx)


OPTIONS = (
    click.option("--all", "everyone", is_flag=True, help="Reach all agents at once, however many these are."),
    click.option(
        "--canary",
        type=Shares(),
        metavar="1%[,10%,...]",
        help="Begin a rollout: reach this share of the agents first, and more only if these bear it.",
    ),
    click.option(
        "--soak",
        type=Seconds(),
        metavar="10m",
        help="With --canary: how long the agents of a wave have to bear it before the next.",
    ),
    click.option(
        "--halt-on",
        type=Shares(),
        metavar="5%",
        help="With --canary: halt if as many of a wave's agents fail or fall silent.",
    ),
)


def reach_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how far a change reaches at once; :func:`take_reach` reads them."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def wave_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say in which waves a change goes out; :func:`take_waves` reads them."""
    for option in reversed(OPTIONS[1:]):
        command = option(command)
    return command


def take_waves(options: dict[str, Any]) -> dict[str, Any] | None:
    """Take what :func:`wave_options` added out of ``options``; None if no waves are named.

    Raises:
        click.UsageError: The options contradict each other.
    """
    found: dict[str, Any] | None = take_reach(options | {"everyone": False}).get("rollout")
    return found


def take_reach(options: dict[str, Any]) -> dict[str, Any]:
    """Take what :func:`reach_options` added out of ``options``; return it as the REST client wants it.

    Raises:
        click.UsageError: The options contradict each other.
    """
    everyone, canary = options.pop("everyone"), options.pop("canary")
    soak, halt_on = options.pop("soak"), options.pop("halt_on")
    if everyone and canary:
        raise click.UsageError("--all reaches everyone at once, --canary a few first: give one of them")
    if not canary:
        if soak is not None or halt_on is not None:
            raise click.UsageError("--soak and --halt-on go with --canary, such as --canary 1%")
        return {"everyone": everyone}
    rollout: dict[str, Any] = {"waves": list(canary)}
    if soak is not None:
        rollout["soak"] = soak
    if halt_on is not None:
        if len(halt_on) != 1:
            raise click.UsageError("--halt-on takes one percentage, such as 5%")
        rollout["halt_on"] = halt_on[0]
    _check(canary, rollout)
    return {"rollout": rollout}


def _check(canary: tuple[float, ...], rollout: Mapping[str, Any]) -> None:
    """Refuse waves that no Manager takes; raises click.UsageError."""
    from popham.model.rollout import RolloutTerms

    terms = {key: value for key, value in rollout.items() if key != "waves"}
    try:
        RolloutTerms.of(canary, **terms)
    except DefinitionError as error:
        message = (
            f"--canary {','.join(f'{share * 100:g}%' for share in canary)}: {error.problem}. {error.hint}"
        )
        raise click.UsageError(message) from error


def look_at_begun(
    client: Client, result: Mapping[str, Any], wait: Callable[[float], None]
) -> dict[str, Any] | None:
    """Return the rollout that a change began, once the Manager has counted who is first.

    None if it began none, or cannot be looked at now: the change is made, and did not fail by that.

    Args:
        client: Asks the Manager.
        result: Its answer to the change.
        wait: Sleeps for so many seconds.
    """
    if not result.get("rollout"):
        return None
    found = None
    with contextlib.suppress(PophamError):
        found = client.rollout(result["rollout"])
        for _ in range(_LOOKS):
            if found["cohort"] or found["state"] != "running":
                break
            wait(_PAUSE)
            found = client.rollout(result["rollout"])
    return found


def began_lines(rollout: dict[str, Any]) -> list[str]:
    """Return what to say of a rollout that has just begun: who gets it first, and how to follow it."""
    name, share = clean(rollout["id"]), percent(rollout["waves"][0]["share"])
    if not rollout["cohort"]:
        return [f"rollout {name} began: {share} of the agents get it first"]
    first = [clean(agent["name"] or agent["uid"]) for agent in rollout["stuck"]][:_NAMES_SHOWN]
    more = rollout["cohort"] - len(first)
    who = ", ".join(first) + (f" and {more} more" if first and more > 0 else "")
    lines = [
        f"rollout {name} began: {rollout['cohort']} of {rollout['agents']} agents get it first ({share})"
    ]
    return [*lines, *([f"  {who}"] if who else [])]


def follow_line(name: str) -> str:
    """Return the sentence that says how to follow a rollout."""
    return f"Follow it: popham rollout status {clean(name)} -w"
