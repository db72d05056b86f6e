"""What a machine may change of its files and what not: locked ones are put back, others are its own."""

import pytest

from popham.errors import DefinitionError
from popham.model.policy import check_policy

from .conftest import find_drift, make_policy


def entry(machine, content="hello", **rest):
    return {"path": str(machine.root / "motd"), "content": content, "locked": False, **rest}


async def test_f_y4_a_locked_file_is_put_back_and_another_is_the_machines_own(machine):
    locked, free = machine.root / "locked", machine.root / "motd"
    applier, wanted = machine.applier(), [make_policy((locked, "hello"), entry(machine))]
    await applier.apply(wanted)
    for file in (locked, free):
        file.write_text("mine")
        file.chmod(0o600)
    assert await find_drift(applier) == [str(locked)]
    await applier.apply(wanted)
    assert machine.tree() == {"locked": (b"hello", 0o644), "motd": (b"mine", 0o600)}
    assert await find_drift(applier) == []


async def test_f_y4_an_unlocked_file_that_is_missing_is_put_back(machine):
    applier, wanted = machine.applier(), [make_policy(entry(machine))]
    await applier.apply(wanted)
    (machine.root / "motd").unlink()
    assert await find_drift(applier) == [str(machine.root / "motd")]
    await applier.apply(wanted)
    assert machine.tree() == {"motd": (b"hello", 0o644)}


@pytest.mark.parametrize("other", [{"content": "other"}, {"mode": "0640"}])
async def test_f_y4_an_unlocked_file_is_placed_again_when_its_entry_changes(machine, other):
    applier = machine.applier()
    await applier.apply([make_policy(entry(machine))])
    (machine.root / "motd").write_text("mine")
    changed = [make_policy(entry(machine, **other))]
    await applier.apply(changed)
    mode, content = int(other.get("mode", "0644"), 8), other.get("content", "hello").encode()
    assert machine.tree() == {"motd": (content, mode)}
    (machine.root / "motd").write_text("mine again")
    await machine.applier().apply(changed)
    assert (machine.root / "motd").read_text() == "mine again"


async def test_f_y4_a_change_elsewhere_in_the_policy_leaves_an_unlocked_file_alone(machine):
    machine.commands = {"reload": machine.noting("reload")}
    applier, other = machine.applier(), machine.root / "other"
    await applier.apply([make_policy(entry(machine), (other, "1"))])
    (machine.root / "motd").write_text("mine")
    await applier.apply([make_policy(entry(machine), (other, "2"), reload="reload", name="second")])
    assert machine.tree() == {"motd": (b"mine", 0o644), "other": (b"2", 0o644)}


async def test_f_y4_a_file_that_becomes_locked_is_put_back_and_one_that_becomes_unlocked_stays(machine):
    applier, file = machine.applier(), machine.root / "motd"
    await applier.apply([make_policy((file, "hello"))])
    await applier.apply([make_policy(entry(machine))])
    file.write_text("mine")
    assert await find_drift(applier) == []
    await applier.apply([make_policy(entry(machine))])
    assert file.read_text() == "mine"
    await applier.apply([make_policy((file, "hello"))])
    assert file.read_text() == "hello"


async def test_what_was_there_before_is_replaced_at_first_and_a_local_change_stays_when_the_policy_goes(
    machine,
):
    file = machine.root / "motd"
    file.write_text("packaged")
    applier = machine.applier()
    await applier.apply([make_policy(entry(machine))])
    assert file.read_text() == "hello"
    file.write_text("mine")
    await applier.apply([])
    assert file.read_text() == "mine"
    assert applier.left() == (str(file),)


async def test_a_link_that_the_machine_put_in_the_place_of_its_own_file_stays(machine):
    applier, file = machine.applier(), machine.root / "motd"
    await applier.apply([make_policy(entry(machine))])
    file.unlink()
    file.symlink_to("elsewhere")
    await applier.apply([make_policy(entry(machine))])
    assert file.is_symlink()
    assert await find_drift(applier) == []


def test_locked_stands_in_the_normal_form_only_where_it_is_false():
    file = {"path": "/etc/popham.d/motd", "content": "hi"}
    for said, kept in (({}, {}), ({"locked": True}, {}), ({"locked": False}, {"locked": False})):
        assert check_policy("files", {"files": [file | said]})["files"] == [file | {"mode": "0644"} | kept]


@pytest.mark.parametrize(
    "wrong",
    [{"content": "", "locked": "no"}, {"content": "", "locked": None}, {"directory": True, "locked": False}],
)
def test_locked_is_true_or_false_and_said_of_content_only(wrong):
    with pytest.raises(DefinitionError, match="locked"):
        check_policy("files", {"files": [{"path": "/etc/popham.d/motd"} | wrong]})
