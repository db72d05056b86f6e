"""Files that are filled on the machine, and secrets in what is said of files."""

import pytest

from popham.errors import PolicyError

from .conftest import find_drift, make_policy

FACTS = {"host.name": "web-1", "os.type": "linux"}


def template(machine, text, **rest):
    return make_policy({"path": str(machine.root / "a"), "content_template": text, **rest})


async def test_a_template_is_filled_from_facts_and_labels_of_the_machine(machine):
    machine.labels = {"env": "prod"}
    wanted = [template(machine, "{{ facts.host_name }} is {{ labels.env }}\n")]
    applier = machine.applier(facts=lambda: FACTS)
    await applier.apply(wanted)
    assert machine.tree() == {"a": (b"web-1 is prod\n", 0o644)}
    assert await find_drift(applier) == []


async def test_a_fact_that_changed_is_no_drift_and_fills_the_file_anew_at_the_next_apply(machine):
    facts = dict(FACTS)
    applier, wanted = machine.applier(facts=lambda: facts), [template(machine, "{{ facts.host_name }}")]
    await applier.apply(wanted)
    facts["host.name"] = "web-2"
    assert await find_drift(applier) == []
    await applier.apply(wanted)
    assert (machine.root / "a").read_text() == "web-2"


async def test_an_unknown_fact_is_refused_with_its_name_and_the_known_ones(machine):
    applier = machine.applier(facts=lambda: FACTS)
    await applier.apply([make_policy((machine.root / "a", "old"))])
    with pytest.raises(PolicyError) as caught:
        await applier.apply([template(machine, "{{ facts.hostname }}")])
    assert caught.value.code == "policy.template"
    assert "no fact 'hostname'; it has: host_name, os_type" in caught.value.problem
    assert (machine.root / "a").read_text() == "old"


async def test_a_label_that_the_machine_lacks_is_refused_with_where_to_set_it(machine):
    with pytest.raises(PolicyError) as caught:
        await machine.applier().apply([template(machine, "{{ labels.env }}")])
    assert caught.value.code == "policy.template"
    assert f"[labels] in {machine.source}" in caught.value.hint


async def test_a_label_with_a_line_feed_cannot_add_a_line(machine):
    machine.labels = {"env": "x\nPermitRootLogin yes"}
    with pytest.raises(PolicyError, match="not one line") as caught:
        await machine.applier().apply([template(machine, "Banner {{ labels.env }}")])
    assert caught.value.code == "policy.template"


async def test_no_secret_stands_in_an_error_though_the_command_prints_it(machine):
    machine.commands = {"check": ("/bin/sh", "-c", "cat {path}; exit 1")}
    wanted = template(machine, "password = 'hunter2';\nabc\n", secret=True)
    policy = make_policy(dict(wanted.body["files"][0]), validate="check")
    with pytest.raises(PolicyError) as caught:
        await machine.applier().apply([policy])
    assert caught.value.code == "policy.validate"
    assert "hunter2" not in str(caught.value)
    assert "(secret) = '(secret)'" in caught.value.problem
