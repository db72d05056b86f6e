"""What is signed, damaged or mounted here to do harm: it is refused in a sentence, and the agent goes on."""

import json

import pytest

from popham.agent import file_events
from popham.agent.apply import Applied
from popham.agent.health import find_checks
from popham.agent.settings import OtelcolSettings
from popham.errors import PolicyError, StateError
from popham.model.bundle import PolicyRef

from .conftest import make_policy


def signed(kind, body):
    """Return a policy as a Manager could sign it that checks nothing."""
    encoded = json.dumps({"body": body}).encode()
    ref = PolicyRef(type=kind, name="web", revision=1, sha256="0" * 64, length=len(encoded))
    return Applied.read(ref, encoded)


@pytest.mark.parametrize("key", ["owner", "group"])
@pytest.mark.parametrize("kind", ["content", "directory"])
@pytest.mark.parametrize("account", ["a\0b", "\ud800", "99999999999999999999", "4294967295", "9" * 5000])
async def test_an_owner_that_is_no_account_is_refused(machine, key, kind, account):
    what = {"content": {"content": "x"}, "directory": {"directory": True}}[kind]
    entry = {"path": str(machine.root / "a"), key: account} | what
    with pytest.raises(PolicyError) as caught:
        await machine.applier().apply([signed("files", {"files": [entry]})])
    assert caught.value.code == "policy.account"
    assert machine.tree() == {}


@pytest.mark.parametrize("held", [{"a": "\ud800"}, {"\ud800": 1}])
@pytest.mark.parametrize("kind", ["otelcol", "custom"])
async def test_text_that_nobody_can_write_is_refused(machine, kind, held):
    machine.otelcol = OtelcolSettings(path=str(machine.root / "otelcol.yaml"))
    machine.commands["program"] = ("/bin/echo", "{phase}")
    body = {"otelcol": {"config": held}, "custom": {"command": "program", "data": held}}[kind]
    with pytest.raises(PolicyError) as caught:
        await machine.applier().apply([signed(kind, body)])
    assert caught.value.code == "policy.malformed"
    assert machine.tree() == {}


def test_no_check_runs_where_the_secrets_to_be_hidden_are_nested_too_deeply():
    held = {"token": "canary"}
    for _ in range(5000):
        held = {"a": held}
    ref = PolicyRef(type="otelcol", name="web", revision=1, sha256="0" * 64, length=1)
    assert find_checks([Applied(ref, {"config": held, "check": "look"})]) == {}


@pytest.mark.parametrize("name", ["placed.json", "journal.json"])
async def test_rel_16_a_record_that_is_no_text_any_more_is_named(machine, name):
    await machine.applier().apply([make_policy((machine.root / "a", "x"))])
    (machine.state / "apply" / name).write_bytes(b'{"change":"\xff\xfe","id":"\xff"}')
    with pytest.raises(StateError, match=name) as caught:
        await machine.applier().inspect(whole=True)
    assert caught.value.code == "state.corrupt"


@pytest.mark.parametrize("mark", ["\u2028", "\f", "\x85", "\x1c", "\r"])
def test_a_mount_point_with_the_end_of_a_line_in_its_name_hides_no_other(machine, monkeypatch, mark):
    held = machine.root.stat().st_dev
    number = f"{held >> 8 & 0xFFF}:{held & 0xFF}"
    mounts = machine.folder / "mountinfo"
    mounts.write_bytes(
        f"36 35 98:0 / /mnt/eve/{mark}x rw - fuse.sshfs eve rw\n"
        f"37 35 {number} / /root rw - nfs4 server rw\n".encode()
    )
    monkeypatch.setattr(file_events, "_MOUNTS", mounts)
    assert list(file_events._shared([machine.root])) == [True]
