"""Policies of type ``custom``: checked before anything changes, applied after, and back on failure."""

import json

import pytest

from popham.errors import PolicyError
from popham.model.schema import check_schema

from .conftest import find_drift, make_policy, make_typed


class Crashed(BaseException):
    """Stands for the end of the process: nothing of ours handles it."""


@pytest.fixture
def till(machine):
    """Return a machine with a program that keeps what it was handed, and refuses what says so."""
    machine.held = machine.folder / "held"
    program = machine.folder / "till"
    program.write_text(f"""#!/bin/sh
data=$(cat)
echo "$1 $data" | tr ' ' ':' >> {machine.log}
case "$1:$data" in
  check:*bad*) echo "not me: $data"; exit 3;;
  apply:*half*) echo "$data" > {machine.held}; exit 4;;
  apply:*) echo "$data" > {machine.held};;
  remove:*stay*) exit 5;;
  remove:*) rm -f {machine.held};;
esac
""")
    program.chmod(0o755)
    machine.commands = {"till": (str(program), "{phase}"), "reload": machine.noting("reload")}
    return machine


def custom(data, name="till", command="till", **rest):
    return make_typed("custom", {"command": command, "data": data, **rest}, name)


def held(machine):
    return json.loads(machine.held.read_text()) if machine.held.exists() else None


async def refused(machine, *policies, code):
    with pytest.raises(PolicyError) as caught:
        await machine.applier().apply(policies)
    assert caught.value.code == code, caught.value
    assert caught.value.hint
    return caught.value


async def test_a_program_reads_the_data_twice_to_check_and_to_apply(till):
    wanted = [custom({"currency": "EUR"})]
    await till.applier().apply(wanted)
    assert held(till) == {"currency": "EUR"}
    await till.applier().apply(wanted)
    assert till.noted() == ['check:{"currency":"EUR"}', 'apply:{"currency":"EUR"}']
    assert await find_drift(till.applier()) == []


async def test_the_check_comes_before_anything_is_changed_by_any_policy(till):
    files = make_policy((till.root / "a", "1"), name="files", reload="reload")
    error = await refused(till, files, custom("bad"), code="policy.validate")
    assert "the command 'till' (check) ended with exit status 3" in error.problem
    assert "not me" in error.problem
    assert till.tree() == {}
    assert held(till) is None
    assert till.noted() == ['check:"bad"']


async def test_a_failed_apply_gives_files_and_program_back_what_they_had(till):
    good = [make_policy((till.root / "a", "old"), name="files"), custom("good")]
    await till.applier().apply(good)
    new = [make_policy((till.root / "a", "new"), name="files"), custom("half")]
    await refused(till, *new, code="policy.apply")
    assert held(till) == "good"
    assert till.tree() == {"a": (b"old", 0o644)}
    assert till.noted()[-1] == 'apply:"good"'


async def test_a_failed_first_apply_is_taken_back(till):
    await refused(till, custom("half"), code="policy.apply")
    assert held(till) is None
    assert till.noted()[-1] == 'remove:"half"'


async def test_f_y4_a_withdrawn_policy_is_taken_back_with_the_data_it_had(till):
    await till.applier().apply([custom({"a": 1})])
    await till.applier().apply([])
    assert held(till) is None
    assert till.noted()[-1] == 'remove:{"a":1}'
    await till.applier().apply([])
    assert len(till.noted()) == 3
    assert list((till.state / "apply/handed").iterdir()) == []


async def test_another_policy_for_the_same_program_replaces_the_first(till):
    await till.applier().apply([custom(1, name="one")])
    await till.applier().apply([custom(2, name="two")])
    assert held(till) == 2
    assert not any(word.startswith("remove") for word in till.noted())
    await refused(till, custom(1, name="one"), custom(2, name="two"), code="policy.twice")


async def test_what_could_not_be_taken_back_is_tried_again_with_the_next_set(till):
    error = await refused(till, custom("half-stay"), code="policy.apply")
    assert "The former files are back, but: the command 'till' (remove)" in error.hint
    assert held(till) == "half-stay"
    await till.applier().apply([custom("good")])
    assert held(till) == "good"
    await till.applier().apply([])
    assert held(till) is None


async def test_a_crash_at_any_step_leaves_the_program_with_the_old_or_the_new_data(till):
    steps = []
    old = [make_policy((till.root / "a", "old"), name="files"), custom("old")]
    new = [make_policy((till.root / "a", "new"), name="files"), custom("new")]
    await till.applier().apply(old)
    await till.applier(failpoint=steps.append).apply(new)
    assert steps.index("reloaded") < steps.index("handed:0") < steps.index("committed")
    committed = False
    for step in steps:
        await till.applier().apply(old)

        def fail(here, at=step):
            if here == at:
                raise Crashed

        with pytest.raises(Crashed):
            await till.applier(failpoint=fail).apply(new)
        await till.applier().recover()
        committed = committed or step == "committed"
        expected = "new" if committed else "old"
        assert (held(till), till.tree()) == (expected, {"a": (expected.encode(), 0o644)}), step


async def test_only_a_command_that_is_meant_for_it_is_run(till):
    await refused(till, custom(1, command="reload"), code="policy.command")
    await refused(till, custom(1, command="other"), code="policy.command")
    await refused(till, make_policy((till.root / "a", "1"), reload="till"), code="policy.command")
    await refused(till, make_policy((till.root / "a", "1"), validate="till"), code="policy.command")
    assert till.noted() == []


async def test_a_program_that_takes_too_long_is_ended(till):
    till.commands["till"] = ("/bin/sh", "-c", "exec sleep 60 # {phase}")
    till.command_timeout = 0.2
    error = await refused(till, custom(1), code="policy.validate")
    assert "after 0.2 s" in error.problem


async def test_a_program_that_does_not_read_its_data_is_no_trouble(till):
    till.commands["till"] = ("/bin/true", "{phase}")
    await till.applier().apply([custom("x" * 1_000_000)])


async def test_data_is_compared_with_its_schema_on_the_machine_too(till):
    schema = {"type": "object"}
    check_schema(schema)
    policy = custom({"a": 1}, schema=schema)
    forged = type(policy)(policy.ref, policy.body | {"data": []})
    await refused(till, forged, code="policy.malformed")
    await refused(till, type(policy)(policy.ref, policy.body | {"schema": {"x": 1}}), code="policy.malformed")


async def test_marked_data_stands_in_no_error(till):
    schema = {"properties": {"pin": {"writeOnly": True}}}
    error = await refused(
        till, custom({"pin": "p1n-0815", "x": "bad"}, schema=schema), code="policy.validate"
    )
    assert "p1n-0815" not in str(error)
    assert '{"pin":"(secret)","x":"bad"}' in error.problem
