"""Check commands: named by a policy, permitted by the machine, and told of without secrets."""

import asyncio

import pytest

from popham.agent.health import find_checks
from popham.agent.programs import Programs
from popham.agent.settings import AgentSettings
from popham.errors import DefinitionError, PolicyError
from popham.model.policy import check_policy

from .conftest import make_policy, make_typed

SPECS = {
    "files": {"files": [{"path": "/etc/popham.d/motd", "content": "hello"}]},
    "otelcol": {"config": {"service": {}}},
    "custom": {"command": "till", "data": None},
}


def look(machine, script, secrets=()):
    settings = AgentSettings(commands={"answers": ("/bin/sh", "-c", script)}, command_timeout=1.0)

    async def story():
        await Programs(settings, machine.folder, None).look("answers", secrets)

    asyncio.run(story())


def test_a_check_that_ends_well_says_nothing(machine):
    look(machine, "echo fine; exit 0")


def test_rel_11_of_a_failed_check_the_last_line_is_told_without_secrets(machine):
    with pytest.raises(PolicyError) as caught:
        look(machine, "echo first; echo 'no shop for hunter2'; exit 3", ("hunter2",))
    assert caught.value.code == "policy.check"
    assert (
        caught.value.problem == "the check command 'answers' ended with exit status 3: no shop for (secret)"
    )


def test_a_check_that_takes_too_long_failed(machine):
    with pytest.raises(PolicyError, match="was ended after 1 s"):
        look(machine, "sleep 20")


def test_a_check_that_the_machine_no_longer_permits_failed(machine):
    async def story():
        await Programs(AgentSettings(), machine.folder, None).look("answers", ())

    with pytest.raises(PolicyError) as caught:
        asyncio.run(story())
    assert caught.value.code == "policy.command"


@pytest.mark.parametrize("kind", SPECS)
def test_every_type_may_name_a_check_and_none_that_is_no_name(kind):
    body = check_policy(kind, SPECS[kind] | {"check": "shop-answers"})
    assert body["check"] == "shop-answers"
    assert "check" not in check_policy(kind, SPECS[kind] | {"check": None})
    with pytest.raises(DefinitionError) as caught:
        check_policy(kind, SPECS[kind] | {"check": "/bin/true"})
    assert caught.value.code == "definition.command"


def test_a_check_that_this_machine_does_not_permit_refuses_the_set(machine):
    policy = make_policy((machine.root / "motd", "hello"), check="answers")
    with pytest.raises(PolicyError) as caught:
        asyncio.run(machine.applier().apply([policy]))
    assert caught.value.code == "policy.command"
    assert machine.tree() == {}


def test_a_check_does_not_run_when_files_are_placed(machine):
    machine.commands = {"answers": machine.noting("answers", "false")}
    asyncio.run(machine.applier().apply([make_policy((machine.root / "motd", "hello"), check="answers")]))
    assert set(machine.tree()) == {"motd"}
    assert machine.noted() == []


def test_checks_are_found_once_and_know_every_secret_of_the_set(machine):
    files = [{"path": str(machine.root / "key"), "content": "hunter2", "secret": True}]
    policies = [
        make_typed("files", {"files": files, "check": "answers"}, "a"),
        make_policy((machine.root / "b", "x"), name="b", check="answers"),
        make_policy((machine.root / "c", "x"), name="c"),
    ]
    assert find_checks(policies) == {"answers": ["hunter2"]}
