"""Policies of type ``otelcol``: written where the machine says, validated, reloaded, and back on failure."""

import json

import pytest

from popham.agent.settings import OtelcolSettings, load_settings
from popham.agent.types.otelcol import write_config
from popham.errors import ConfigError, PolicyError

from .conftest import find_drift, make_policy, make_typed

CONFIG = {"receivers": {"otlp": {}}, "service": {"pipelines": {}}}


@pytest.fixture
def collector(machine):
    """Return a machine with a Collector that refuses what says so."""
    (machine.folder / "etc").mkdir()
    program = machine.folder / "otelcol"
    program.write_text(f"""#!/bin/sh
echo "$1:$2" >> {machine.log}
if grep -q broken "$3"; then cat "$3"; exit 1; fi
""")
    program.chmod(0o755)
    machine.file = machine.folder / "etc/config.yaml"
    machine.commands = {"reload": machine.noting("reload", f"! grep -q stumble {machine.file}")}
    machine.otelcol = OtelcolSettings(path=str(machine.file), collector=str(program), reload="reload")
    return machine


def otelcol(name="col", **more):
    return make_typed("otelcol", {"config": CONFIG | more}, name)


async def test_the_configuration_is_validated_written_and_the_collector_told(collector):
    applier = collector.applier()
    assert "otelcol" in applier.supported
    await applier.apply([otelcol()])
    assert json.loads(collector.file.read_text()) == CONFIG
    assert collector.file.stat().st_mode & 0o777 == 0o640
    assert collector.noted() == ["validate:--config", "reload"]
    await applier.apply([otelcol()])
    assert len(collector.noted()) == 2


async def test_what_the_collector_refuses_is_never_placed(collector):
    await collector.applier().apply([otelcol()])
    with pytest.raises(PolicyError) as caught:
        await collector.applier().apply([otelcol(extensions={"broken": {"password": "hunter2"}})])
    assert caught.value.code == "policy.validate"
    assert "the Collector's own" in caught.value.problem
    assert "broken" in caught.value.problem
    assert "hunter2" not in str(caught.value)
    assert json.loads(collector.file.read_text()) == CONFIG


async def test_a_failed_reload_brings_the_former_configuration_back(collector):
    collector.file.write_text("as packaged\n")
    with pytest.raises(PolicyError) as caught:
        await collector.applier().apply([otelcol(x="stumble")])
    assert caught.value.code == "policy.reload"
    assert collector.file.read_text() == "as packaged\n"
    assert collector.noted() == ["validate:--config", "reload", "reload"]


async def test_f_y4_a_withdrawn_policy_gives_the_packaged_configuration_back(collector):
    collector.file.write_text("as packaged\n")
    await collector.applier().apply([otelcol()])
    await collector.applier().apply([])
    assert collector.file.read_text() == "as packaged\n"


async def test_f_y4_a_local_change_is_seen_and_put_back(collector):
    applier = collector.applier()
    await applier.apply([otelcol()])
    collector.file.write_text("mine")
    assert await find_drift(applier) == [str(collector.file)]
    await applier.apply([otelcol()])
    assert await find_drift(applier) == []


async def test_a_named_command_validates_as_well(collector):
    collector.commands["check"] = ("/bin/grep", "-q", "receivers", "{path}")
    collector.otelcol = OtelcolSettings(path=str(collector.file), validate="check")
    await collector.applier().apply([otelcol()])
    collector.commands["check"] = ("/bin/false", "{path}")
    with pytest.raises(PolicyError, match="the validate command 'check'"):
        await collector.applier().apply([otelcol(x=1)])


async def test_without_a_path_the_type_is_not_applied_here(machine):
    assert "otelcol" not in machine.applier().supported
    await machine.applier().apply([otelcol()])
    assert machine.tree() == {}


async def test_the_path_is_no_root_for_files(collector):
    with pytest.raises(PolicyError) as caught:
        await collector.applier().apply([make_policy((collector.file, "x"))])
    assert caught.value.code == "policy.root"


async def test_a_files_policy_cannot_want_the_same_file(collector):
    collector.roots = (str(collector.folder / "etc"),)
    with pytest.raises(PolicyError) as caught:
        await collector.applier().apply([make_policy((collector.file, "x")), otelcol()])
    assert caught.value.code == "policy.twice"


async def test_the_collectors_program_is_out_of_reach(collector):
    collector.roots = (str(collector.folder),)
    with pytest.raises(PolicyError) as caught:
        await collector.applier().apply([make_policy((collector.folder / "otelcol", "x"))])
    assert caught.value.code == "policy.protected"


async def test_a_missing_directory_or_collector_is_named(collector):
    collector.otelcol = OtelcolSettings(path=str(collector.folder / "none/x"))
    with pytest.raises(PolicyError, match="is not a directory") as caught:
        await collector.applier().apply([otelcol()])
    assert caught.value.code == "policy.root"
    collector.otelcol = OtelcolSettings(path=str(collector.file), collector="/nonexistent/otelcol")
    with pytest.raises(PolicyError, match="is no program") as caught:
        await collector.applier().apply([otelcol()])
    assert caught.value.code == "policy.command"


def test_characters_that_yaml_wants_escaped_are():
    text = write_config({"a": "\x7f\x85\u2028\ufeffé\U0001f600\t"}).decode()
    assert "\\u007f\\u0085\\u2028\\ufeffé\U0001f600\\t" in text
    assert json.loads(text) == {"a": "\x7f\x85\u2028\ufeffé\U0001f600\t"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('path = "config.yaml"', "config.path"),
        ('collector = "otelcol"', "config.path"),
        ('validate = "none"', "config.command"),
        ('reload = "none"', "config.command"),
        ('mode = "4755"', "config.value"),
        ('paht = "/x"', "config.unknown_key"),
    ],
)
def test_a_wrong_table_of_the_machine_is_refused(tmp_path, text, code):
    (tmp_path / "agent.toml").write_text(f"[otelcol]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "agent.toml", env={})
    assert caught.value.code == code
