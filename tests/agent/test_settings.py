"""Local configuration of an agent: what it permits, and how it is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from popham.agent.settings import AgentSettings, load_settings
from popham.errors import ConfigError


def write(folder, text):
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def refused(path, **env):
    with pytest.raises(ConfigError) as caught:
        load_settings(path, env=env)
    return caught.value


def test_a_missing_file_permits_nothing(tmp_path):
    found = load_settings(tmp_path / "agent.toml", env={})
    assert found == AgentSettings()
    assert found.files.roots == ()
    assert found.commands == {}
    assert found.socket_path == Path("/var/lib/popham/agent/agent.sock")


def test_a_missing_file_that_somebody_named_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "agent.toml", env={}, must_exist=True)


def test_all_of_it_is_read(tmp_path):
    path = write(
        tmp_path,
        """
        name = "web-1"
        state = "/srv/popham"
        command_timeout = 5
        [files]
        roots = ["/etc/popham.d"]
        [commands]
        nginx = ["/usr/sbin/nginx", "-t", "-c", "{path}"]
        [labels]
        room = "12"
        """,
    )
    found = load_settings(path, env={}, overrides={"name": "web-2"})
    assert found.name == "web-2"
    assert found.socket_path == Path("/srv/popham/agent.sock")
    assert found.commands == {"nginx": ("/usr/sbin/nginx", "-t", "-c", "{path}")}
    assert (found.files.roots, found.command_timeout, found.labels) == (
        ("/etc/popham.d",),
        5.0,
        {"room": "12"},
    )


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('files.roots = ["etc"]', "files.roots"),
        ('files.roots = ["/etc/../root"]', "files.roots"),
        ('commands.check = ["nginx", "-t"]', "commands.check"),
        ("commands.check = []", "commands.check"),
        ('commands.check = "nginx -t"', "commands.check"),
        ('commands."bad name" = ["/bin/true"]', "bad name"),
        ('commands.check = ["/bin/true", "a\\u0000b"]', "commands.check"),
        ("command_timeout = 0", "command_timeout"),
        ('state = "here"', "state"),
        ('socket = "agent.sock"', "socket"),
        ('name = ""', "name"),
    ],
)
def test_what_cannot_be_used_is_named_with_file_and_key(tmp_path, text, key):
    path = write(tmp_path, text)
    error = refused(path)
    assert str(path) in error.problem
    assert key in error.problem


def test_a_file_that_everybody_may_write_is_refused(tmp_path):
    path = write(tmp_path, "")
    path.chmod(0o666)
    error = refused(path)
    assert error.code == "config.writable"
    assert error.hint == f"Run: chmod o-w {path}"


def test_importing_what_applies_policies_loads_nothing_heavy():
    heavy = "{'aiohttp', 'uvloop', 'tuf', 'pydantic', 'fastapi', 'sqlalchemy', 'ruamel'}"
    script = f"import sys, popham.agent.apply, popham.config, popham.log; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(("text", "found"), [("true", True), ("false", False), ('"auto"', "auto")])
def test_f_c7_whether_the_link_is_metered_is_said_or_left_to_the_agent(tmp_path, text, found):
    assert load_settings(write(tmp_path, f"metered = {text}\n"), env={}).metered == found
    assert load_settings(None, env={"POPHAM_METERED": text.strip('"')}).metered == found
    assert load_settings(None, env={}).metered == "auto"


def test_f_c7_nothing_else_can_be_said_of_it(tmp_path):
    error = refused(write(tmp_path, 'metered = "sometimes"\n'))
    assert error.code == "config.value"
    assert "metered" in error.problem


def test_f_o4_what_may_be_ordered_once_is_named_here(tmp_path):
    text = 'commands.look = ["/bin/true"]\n[operations]\nrun = ["look"]\nrefuse = ["restart"]\n'
    found = load_settings(write(tmp_path, text), env={}).operations
    assert (found.run, found.refuse) == (("look",), ("restart",))
    assert load_settings(None, env={}).operations.run == ()


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ('[operations]\nrun = ["look"]', "config.command", "look"),
        ('commands.look = ["/bin/true", "{path}"]\n[operations]\nrun = ["look"]', "config.command", "{path}"),
        ('[operations]\nrefuse = ["dance"]', "config.operation", "dance"),
        ('[operations]\nrefuse = ["send"]', "config.operation", "send"),
    ],
)
def test_f_o4_what_could_never_be_ordered_is_refused_by_name(tmp_path, text, code, word):
    error = refused(write(tmp_path, text))
    assert error.code == code
    assert word in str(error)
