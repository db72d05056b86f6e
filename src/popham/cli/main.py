"""``popham``: the table of commands, and what every one of them shares.

This module is imported for every ``--help`` and every press of Tab, so it
imports nothing but click and what costs as little; ``tests/cli`` measures it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from popham import __version__
from popham.cli.exits import FAILED, INTERRUPTED, USAGE, complaint, exit_code, sentences
from popham.cli.invocation import Invocation
from popham.cli.lazy import Entry, LazyGroup
from popham.errors import ConfigError, PophamError

ENTRIES = {
    "get": Entry(
        "popham.cli.get",
        "get",
        "List agents, groups, policies, drafts, rollouts, placements, agent definitions, proxies, tokens, alerts, the summary or the intake.",
    ),
    "describe": Entry("popham.cli.describe", "describe", "Show all about one agent, group, policy or proxy."),
    "logs": Entry(
        "popham.cli.logs",
        "logs",
        "Show lines of the logs of agents, by their time, corrected for clock skew.",
    ),
    "metrics": Entry(
        "popham.cli.metrics",
        "metrics",
        "List the metrics of agents, or show one over time.",
    ),
    "data": Entry("popham.cli.data", "data", "Take records of agents out of the Manager."),
    "explain": Entry("popham.cli.answers", "explain", "Say where the values of an agent come from."),
    "why": Entry("popham.cli.answers", "why", "Say why an agent is where it is, and what to do next."),
    "apply": Entry("popham.cli.apply", "apply", "Make the definitions in files hold, all or none."),
    "check": Entry("popham.cli.apply", "check", "Check definitions on this machine, asking no Manager."),
    "plan": Entry(
        "popham.cli.plan", "plan", "Show what definitions would change, for whom, and what that costs."
    ),
    "diff": Entry(
        "popham.cli.diff", "diff", "Show what differs between revisions, or files and what is stored."
    ),
    "history": Entry("popham.cli.history", "history", "Show who changed a policy, when and why."),
    "rollback": Entry(
        "popham.cli.history", "rollback", "Go back to an old revision of a policy, by a new one."
    ),
    "draft": Entry(
        "popham.cli.draft",
        "draft",
        "Prepare definitions together on the Manager, and publish them as one change.",
    ),
    "rollout": Entry(
        "popham.cli.rollout", "rollout", "Follow changes that reach a few agents first, and step in."
    ),
    "export": Entry(
        "popham.cli.export", "export", "Write all definitions as files; applying them changes nothing."
    ),
    "import": Entry("popham.cli.importing", "import_", "Take over lists of other systems."),
    "token": Entry("popham.cli.token", "token", "Make and revoke the tokens by which agents join."),
    "grant": Entry(
        "popham.cli.grant", "grant", "Make, list and revoke the API tokens of people and programs."
    ),
    "silence": Entry("popham.cli.silence", "silence", "Have nobody told of some alerts for a while."),
    "accept": Entry("popham.cli.admission", "accept", "Accept agents into the fleet."),
    "refuse": Entry("popham.cli.admission", "refuse", "Refuse agents that wait to be accepted."),
    "revoke": Entry("popham.cli.admission", "revoke", "Take agents out of the fleet."),
    "move": Entry("popham.cli.belonging", "move", "Put agents into another group."),
    "label": Entry("popham.cli.belonging", "label", "Set labels of agents, or take them away."),
    "dial": Entry(
        "popham.cli.dialing", "dial", "Say who dials one agent, whatever its group's settings say."
    ),
    "check-in": Entry("popham.cli.check_in", "check_in", "Ask agents to get in touch now."),
    "send": Entry(
        "popham.cli.send", "send", "Bring to targets what they are to have, and follow each until it has it."
    ),
    "op": Entry("popham.cli.operation", "op", "Order something of agents once, and see what came of it."),
    "copy": Entry("popham.cli.change", "copy", "Copy a policy under a new name."),
    "delete": Entry(
        "popham.cli.change",
        "delete",
        "Delete a policy or a group that nothing uses, a placement, an agent definition, or a proxy.",
    ),
    "audit": Entry("popham.cli.audit", "audit", "Show who changed what, when and from where."),
    "context": Entry("popham.cli.context", "context", "Choose which Manager commands talk to."),
    "completion": Entry("popham.cli.completion", "completion", "Print the completion script of a shell."),
    "init": Entry("popham.cli.manager", "init", "Make a Manager's state directory, keys and first token."),
    "manager": Entry("popham.cli.manager", "manager", "Run a Manager."),
    "agent": Entry("popham.cli.agent", "agent", "Enroll, run and ask the agent of this machine."),
    "proxy": Entry("popham.cli.proxy", "proxy", "Enroll, run and ask the Proxy Manager of this machine."),
    "simulate": Entry(
        "popham.cli.simulate", "simulate", "Run simulated agents against a Manager on this machine."
    ),
    "bench": Entry("popham.cli.bench", "bench", "Show what rounds and links cost a Manager, or measure it."),
    "backup": Entry("popham.cli.manager", "backup", "Save a Manager's keys and state in one file."),
    "restore": Entry("popham.cli.manager", "restore", "Make a state directory from a backup."),
}
"""Name → command, in the order of the help page."""


class Popham(LazyGroup):
    """The root: turns every error into one sentence and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT002 - click's signature
        **extra: Any,
    ) -> Any:
        """Run a command line.

        With ``standalone_mode`` it prints errors and exits; without, it
        raises them.
        """

        def run() -> Any:
            return click.Group.main(self, args, prog_name, complete_var, standalone_mode=False, **extra)

        return sys.exit(end(run)) if standalone_mode else run()


def end(run: Callable[[], Any]) -> int:
    """Return the exit code of ``run``, with what went wrong said on standard error."""
    try:
        status = run()
    except (click.Abort, KeyboardInterrupt):
        click.echo("popham: interrupted", err=True)
        return INTERRUPTED
    except (PophamError, click.ClickException, ModuleNotFoundError) as error:
        lines, status = explain(error)
        for line in lines:
            click.echo(line, err=True)
    return status if isinstance(status, int) else 0


def explain(error: PophamError | click.ClickException | ModuleNotFoundError) -> tuple[list[str], int]:
    """Return what to say about ``error``, and the exit code.

    Raises:
        ModuleNotFoundError: A module of our own is missing, which is a fault.
    """
    if isinstance(error, PophamError):
        return sentences(error), exit_code(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return [error.format_message()], USAGE
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        path = context.command_path if context else "popham"
        return [complaint(error.format_message(), "usage", f"See '{path} --help'")], USAGE
    if error.name is None or error.name.startswith("popham"):
        raise error
    # An agent is installed without what talks to a Manager or serves people.
    problem = f"this command needs the package {error.name}, which is not installed"
    return explain(ConfigError("extra", problem, "Install 'popham[manager]', which has all of them"))


@click.group(
    cls=Popham,
    entries=ENTRIES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with 'popham init' on a Manager, or 'popham get agents' where one runs.",
)
@click.option("--config", type=click.Path(), envvar="POPHAM_CONFIG", help="File with the contexts.")
@click.option(
    "--context", "name", envvar="POPHAM_CONTEXT", default="", help="Context to use, not the current one."
)
@click.version_option(__version__, message="popham %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: str | None, name: str) -> None:
    """Keep a fleet of machines on its policies and bring its data back."""
    run = ctx.obj or Invocation(environ=os.environ)
    if run.environ.get("NO_COLOR"):
        ctx.color = False
    ctx.obj = run.choose(config, name)


def main() -> None:
    """Run ``popham`` with the arguments of this process, then exit."""
    try:
        cli.main(prog_name="popham")
    except BrokenPipeError:
        # Whoever read the output has left; say nothing, also not when Python flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
