"""The reference pages name all that there is: commands and options, keys, routes, states."""

import importlib
import re
import subprocess
import sys

import click
import msgspec
import pytest

from popham.agent.facts import find_facts
from popham.agent.settings import AgentSettings
from popham.cli.main import cli
from popham.model import communication, definition, policy, registry, schema, status


def page(root, name):
    return (root / "docs/reference" / name).read_text(encoding="utf-8")


def leaves(command, path):
    """Yield (path, command) of everything that can be run."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), f"{path} {name}")


def test_the_command_line_page_names_every_command(root):
    text = page(root, "cli.md")
    missing = [
        path for path, _ in leaves(cli, "popham") if path != "popham" and not re.search(rf"`{path}[` ]", text)
    ]
    assert not missing


@pytest.mark.parametrize(("name", "maker"), [("cli.md", "command_page"), ("policies.md", "policy_page")])
def test_the_page_is_what_make_reference_writes(root, name, maker):
    made = subprocess.run(
        [sys.executable, "-c", f"import {maker}; print({maker}.build_page(), end='')"],
        cwd=root / "tools",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout == page(root, name), "run make reference"


def test_the_command_line_page_names_every_exit_code(root):
    exits = importlib.import_module("popham.cli.exits")
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", page(root, "cli.md"), re.MULTILINE)}


def keys_of(struct, prefix=""):
    """Yield the dotted keys of a configuration."""
    for field in msgspec.structs.fields(struct):
        inner = field.type
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from keys_of(inner, f"{prefix}{field.encode_name}.")
        else:
            yield prefix + field.encode_name


def test_the_agents_configuration_page_names_every_key(root):
    text = page(root, "agent-configuration.md")
    assert [key for key in keys_of(AgentSettings) if f"`{key}`" not in text] == []


def test_the_managers_configuration_page_names_every_key(root):
    settings = importlib.import_module("popham.manager.settings")
    text = page(root, "manager-configuration.md")
    assert [key for key in keys_of(settings.ManagerSettings) if f"`{key}`" not in text] == []


def test_the_definitions_page_names_every_key_and_policy_type(root):
    text = page(root, "definitions.md")
    keys = [key for known in definition._KEYS.values() for key in known]
    assert [key for key in keys if not re.search(rf"`{key}`|^ *{key}:", text, re.MULTILINE)] == []
    assert [kind for kind in policy.TYPES if f"### {kind}" not in text] == []


def test_the_policies_page_names_every_fact_and_every_word_of_a_schema(root):
    text = page(root, "policies.md")
    facts = [f"`facts.{name.replace('.', '_')}`" for name in find_facts()]
    assert [name for name in [*facts, *(f"`{word}`" for word in schema.WORDS)] if name not in text] == []


def test_the_communication_page_names_every_preset_and_presence(root):
    text = page(root, "communication.md")
    words = [*communication.Preset, *communication.Mode, *communication.Dialer, *status.Presence]
    assert [word for word in words if not re.search(rf"\| `?{word}`?[ ,|]|`{word}`", text)] == []


def test_the_glossary_has_every_preset_presence_and_sync_state(root):
    text = (root / "docs/glossary.md").read_text(encoding="utf-8")
    words = [*communication.Preset, *status.Presence, *status.SyncState]
    assert [word for word in words if word not in text] == []


def test_the_wire_page_names_every_route_of_agents_and_every_message(root):
    text = page(root, "wire.md")
    paths = [route.path for route in registry.ROUTES if route.listener is registry.Listener.AGENTS]
    names = [message.name for message in registry.MESSAGES]
    assert [name for name in [*paths, *names] if name not in text] == []
