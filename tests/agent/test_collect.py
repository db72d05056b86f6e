"""Policies of type ``collect`` on a machine: what it permits, and when they count."""

import os

import pytest

from popham.agent.collect.log_stream import permit
from popham.agent.settings import CollectSettings, load_settings
from popham.errors import ConfigError, PolicyError

from .conftest import make_policy, make_typed


def collect(name="c", **spec):
    return make_typed("collect", spec, name)


def probe(**keys):
    return collect(probes=[{"name": "p", **keys}])


def logs(*paths):
    return collect(logs=[{"name": "l", "paths": [str(path) for path in paths]}])


@pytest.fixture
def watching(machine):
    """Return a machine, and what it was told to collect, in order."""
    machine.told = []
    machine.logs = machine.folder / "logs"
    machine.logs.mkdir()
    machine.collect = CollectSettings(logs=(str(machine.logs),), probes=("localhost", "10.0.0.0/8"))

    def applier():
        found = machine.applier()
        found.collects = machine.told.append
        return found

    machine.watching = applier
    return machine


async def refused(machine, *policies, code):
    with pytest.raises(PolicyError) as caught:
        await machine.watching().apply(policies)
    assert caught.value.code == code, caught.value
    assert str(machine.source) in caught.value.hint
    assert machine.told == []
    return caught.value.problem


async def test_what_a_set_wants_counts_once_the_set_holds(watching):
    applier = watching.watching()
    await applier.apply([collect(interval="30s"), make_policy((watching.root / "a", "1"), name="files")])
    await applier.apply([])
    assert [wanted and wanted.interval for wanted in watching.told] == [30.0, None]


async def test_a_set_that_fails_changes_nothing_that_is_collected(watching):
    files = make_policy((watching.folder / "outside", "1"), name="files")
    with pytest.raises(PolicyError):
        await watching.watching().apply([collect(), files])
    assert watching.told == []


async def test_what_was_in_force_is_collected_again_before_anybody_is_asked(watching):
    await watching.watching().adopt([probe(tcp="localhost:22")])
    assert [wanted.probes[0].target for wanted in watching.told] == ["localhost:22"]


async def test_what_the_machine_permits_no_more_is_not_collected_after_a_start(watching, caplog):
    await watching.watching().adopt([probe(tcp="intranet:22")])
    assert watching.told == []
    assert "policy.probe" in caplog.text


@pytest.mark.parametrize("path", ["x.log", "*/x.log", "sub/[a-c]?", "**", "gone/x"])
async def test_logs_below_a_permitted_directory_are_read(watching, path):
    await watching.watching().apply([logs(f"{watching.logs}/{path}")])
    assert len(watching.told) == 1


async def test_logs_elsewhere_are_refused_links_followed(watching):
    outside = watching.folder / "outside"
    outside.mkdir()
    (watching.logs / "link").symlink_to(outside)
    for path in (
        f"{watching.logs}/link/x",
        f"{outside}/*",
        f"{watching.logs}x/y",
        f"{watching.logs}*/y",
        "/*",
    ):
        problem = await refused(watching, logs(watching.logs / "x", path), code="policy.logs")
        assert f"{path} (logs: l)" in problem


@pytest.mark.parametrize(
    "keys",
    [{"tcp": "10.1.2.3:5432"}, {"http": "https://LocalHost/x"}, {"ping": "10.0.0.1"}, {"dns": "localhost"}],
)
async def test_hosts_that_the_machine_permits_are_probed(watching, keys):
    await watching.watching().apply([probe(**keys)])
    assert len(watching.told) == 1


@pytest.mark.parametrize(
    "keys",
    [
        {"tcp": "11.0.0.1:22"},
        {"http": "http://intranet/"},
        {"http": "http://localhost.evil.example/"},
        {"dns": "x.evil.example"},
        {"ping": "::1"},
        {"tcp": "[::1]:22"},
    ],
)
async def test_other_hosts_are_refused_by_name(watching, keys):
    assert "probes: p" in await refused(watching, probe(**keys), code="policy.probe")


async def test_commands_are_those_of_the_machine_and_for_no_other_use(watching):
    watching.commands = {
        "look": ("/bin/echo", "1"),
        "till": ("/bin/echo", "{phase}"),
        "test": ("/bin/echo", "{path}"),
    }
    await watching.watching().apply([collect(commands=[{"name": "c", "command": "look"}])])
    assert len(watching.told) == 1
    watching.told.clear()
    for name in ("till", "test", "rm"):
        problem = await refused(
            watching, collect(commands=[{"name": "c", "command": name}]), code="policy.command"
        )
        assert repr(name) in problem


async def test_a_form_that_this_agent_does_not_know_is_refused(watching):
    for body in ({"surprise": []}, {"interval": 0.0}, {"logs": [{"name": "l"}]}):
        good = collect()
        with pytest.raises(PolicyError) as caught:
            await watching.watching().apply([type(good)(good.ref, body)])
        assert caught.value.code == "policy.malformed"


def test_a_file_is_read_only_below_a_root_and_never_of_the_agents_own(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "logs")
    may_read = permit([str(tmp_path / "other"), "/var/log"], [str(tmp_path / "logs/state")])
    real = os.path.realpath(tmp_path)
    assert may_read(f"{real}/logs/x")
    assert may_read("/var/log/syslog")
    assert not may_read(f"{real}/logs/state/key.pem")
    assert not may_read(f"{real}/logsx")
    assert not may_read("/var/logs")
    assert permit(["/"], [])("/etc/passwd")


def test_without_a_file_a_machine_lets_its_own_logs_be_read_and_itself_be_probed():
    found = load_settings(None, env={}).collect
    assert found == CollectSettings(logs=("/var/log",), probes=("localhost", "127.0.0.1", "::1"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('logs = ["var/log"]', "config.path"),
        ('probes = ["a b"]', "config.probe"),
        ('probes = ["10.0.0.0/33"]', "config.probe"),
        ('probe = ["x"]', "config.unknown_key"),
    ],
)
def test_a_permission_that_permits_something_else_than_was_meant_is_refused(tmp_path, text, code):
    path = tmp_path / "agent.toml"
    path.write_text(f"[collect]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, env={})
    assert caught.value.code == code
