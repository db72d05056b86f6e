"""What every command shares: start-up, help, errors, exit codes."""

import resource
import subprocess
import sys
from importlib import import_module

import click
import httpx2
import pytest

from popham import __version__
from popham.cli.agent import ENTRIES as AGENT_ENTRIES
from popham.cli.exits import exit_code
from popham.cli.main import ENTRIES, cli
from popham.cli.proxy import ENTRIES as PROXY_ENTRIES
from popham.errors import ConfigError, DefinitionError, EnrollmentError, GrantError, LinkError, NotFoundError

HEAVY = (
    "httpx2",
    "rich",
    "ruamel",
    "fastapi",
    "pydantic",
    "sqlalchemy",
    "aiohttp",
    "cryptography",
    "asyncio",
    "ssl",
)


def test_help_imports_nothing_heavy():
    code = f"import sys, popham.cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def cpu_seconds(code):
    """Return the CPU time of a Python that runs ``code``: the best of five."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_takes_150_ms_or_on_a_slow_machine_twice_what_click_alone_takes():
    whole = cpu_seconds("from popham.cli.main import cli; cli(['--help'], prog_name='popham')")
    assert whole <= 0.150 or whole <= 2 * cpu_seconds("import click")


@pytest.mark.parametrize(
    "entry",
    [*ENTRIES.values(), *AGENT_ENTRIES.values(), *PROXY_ENTRIES.values()],
    ids=lambda one: f"{one.module}.{one.attribute}",
)
def test_every_command_of_the_tables_exists_with_the_same_help_line(entry):
    command = getattr(import_module(entry.module), entry.attribute)
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(limit=200) == entry.help


def test_every_command_has_one_sentence_of_help(popham):
    shown = popham("--help").stdout
    for name, entry in ENTRIES.items():
        assert entry.help.endswith(".")
        assert name in shown


def test_version_is_data(popham):
    assert popham("--version").stdout == f"popham {__version__}\n"


@pytest.mark.parametrize("args", [["gett"], ["get"], ["get", "agents", "--nope"], ["describe", "agent"], []])
def test_a_wrong_command_line_ends_with_64_and_says_why_on_stderr(popham, args):
    found = popham(*args)
    assert (found.exit_code, found.stdout) == (64, "")
    assert found.stderr


def test_a_wrong_option_names_the_help_that_lists_the_right_ones(popham):
    assert popham("get", "agents", "--nope").stderr.endswith("(usage). See 'popham get agents --help'.\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("agent", "x"), 1),
        (DefinitionError("name", "x"), 1),
        (LinkError("unreachable", "x"), 1),
        (LinkError("timeout", "x"), 75),
        (GrantError("expired", "x"), 77),
        (EnrollmentError("refused", "x"), 77),
        (ConfigError("url", "x"), 78),
    ],
)
def test_exit_codes_follow_the_family(error, code):
    assert exit_code(error) == code


def test_an_error_of_the_manager_is_one_line_with_code_and_hint(popham, manager):
    manager.fail(
        "GET /agents/web", 404, "not_found.agent", "there is no agent 'web'", "Did you mean 'web-1'?"
    )
    found = popham("describe", "agent", "web")
    assert found.exit_code == 1
    assert found.stderr == "popham: there is no agent 'web' (not_found.agent). Did you mean 'web-1'?\n"


def test_sec_13_an_error_of_the_manager_cannot_move_the_cursor(popham, manager):
    manager.fail("GET /agents", 403, "grant.not_permitted", "\x1b[2Jyou\nmay not")
    found = popham("get", "agents")
    assert found.exit_code == 77
    assert found.stderr == "popham: \\x1b[2Jyou\\nmay not (grant.not_permitted)\n"


def test_no_answer_in_time_ends_with_75(popham, manager):
    manager.on("GET /agents", httpx2.ReadTimeout("slow"))
    assert popham("get", "agents").exit_code == 75


def test_without_a_context_the_exit_code_is_78(popham, tmp_path):
    found = popham("get", "agents", environ={"HOME": str(tmp_path)})
    assert found.exit_code == 78
    assert "config.no_context" in found.stderr


def test_a_broken_pipe_is_silent(tmp_path):
    code = "from popham.cli.main import main; main()"
    found = subprocess.run(
        f"{sys.executable} -c '{code}' --help | true", shell=True, capture_output=True, text=True, check=False
    )
    assert found.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_prints_a_script(popham, shell):
    found = popham("completion", shell)
    assert found.exit_code == 0
    assert "_POPHAM_COMPLETE" in found.stdout


def test_completion_completes_commands():
    context = click.Context(cli, info_name="popham")
    assert [item.value for item in cli.shell_complete(context, "de")] == ["describe", "delete"]
