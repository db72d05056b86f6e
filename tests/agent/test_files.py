"""What this machine permits: no Manager can place a file or run a program beyond it (SEC-6)."""

import asyncio
import contextlib
import os
import socket
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.agent.apply import Applied, at_once
from popham.errors import PolicyError

from .conftest import Machine, make_policy

REF = make_policy(("/x", "")).ref


def signed(path, **rest):
    """Return a policy as a Manager gone bad might sign it: nothing was checked."""
    return Applied(REF, {"files": [{"path": path, "content": "owned", **rest}]})


async def refused(machine, policy, code):
    with pytest.raises(PolicyError) as caught:
        await machine.applier().apply([policy])
    assert caught.value.code == code
    assert not machine.tree(machine.state)
    return caught.value


async def test_a_path_outside_the_roots_names_the_key_and_file_to_change(machine):
    error = await refused(machine, signed(str(machine.folder / "etc/passwd")), "policy.root")
    assert str(machine.root) in error.problem
    assert "roots under [files]" in error.hint
    assert str(machine.source) in error.hint


async def test_without_configuration_nothing_may_be_placed(machine):
    machine.roots = ()
    error = await refused(machine, signed(str(machine.root / "a")), "policy.root")
    assert error.hint == f"Set roots under [files] in {machine.source} on this machine"


async def test_a_root_that_is_not_there_is_not_made(machine):
    machine.roots = (str(machine.folder / "missing"),)
    await refused(machine, signed(str(machine.folder / "missing/a")), "policy.root")
    assert not (machine.folder / "missing").exists()


@pytest.mark.parametrize("name", ["root-beside", "rootless"])
async def test_a_directory_whose_name_begins_like_a_root_is_outside(machine, name):
    (machine.folder / name).mkdir()
    await refused(machine, signed(str(machine.folder / name / "a")), "policy.root")


async def test_a_link_in_the_parents_that_leads_out_is_refused(machine):
    (machine.folder / "outside").mkdir()
    (machine.root / "link").symlink_to(machine.folder / "outside")
    await refused(machine, signed(str(machine.root / "link/a")), "policy.symlink")
    await refused(machine, signed(str(machine.root / "link/deep/a")), "policy.symlink")
    assert machine.tree(machine.folder / "outside") == {}


async def test_a_link_in_the_parents_that_stays_inside_is_followed(machine):
    (machine.root / "real").mkdir()
    (machine.root / "link").symlink_to("real")
    await machine.applier().apply([signed(str(machine.root / "link/a"))])
    assert (machine.root / "real/a").read_text() == "owned"


async def test_a_circle_of_links_is_refused(machine):
    (machine.root / "x").symlink_to("y")
    (machine.root / "y").symlink_to("x")
    await refused(machine, signed(str(machine.root / "x/a")), "policy.kind")


async def test_a_root_that_is_itself_a_link_is_allowed(machine):
    (machine.folder / "alias").symlink_to(machine.root)
    machine.roots = (str(machine.folder / "alias"),)
    await machine.applier().apply([signed(str(machine.folder / "alias/a"))])
    assert (machine.root / "a").read_text() == "owned"


async def test_a_link_at_the_target_is_refused_and_what_it_points_to_stays(machine):
    (machine.folder / "canary").write_text("alive")
    (machine.root / "a").symlink_to(machine.folder / "canary")
    await refused(machine, signed(str(machine.root / "a")), "policy.symlink")
    assert (machine.folder / "canary").read_text() == "alive"


async def test_directories_pipes_and_sockets_at_the_target_are_refused(machine):
    (machine.root / "dir").mkdir()
    os.mkfifo(machine.root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(machine.root / "socket"))
        for name in ("dir", "pipe", "socket"):
            await refused(machine, signed(str(machine.root / name)), "policy.kind")


async def test_a_file_among_the_parents_is_refused(machine):
    (machine.root / "file").write_text("")
    await refused(machine, signed(str(machine.root / "file/a")), "policy.kind")


async def test_what_decides_over_the_agent_is_out_of_reach_even_under_a_root(machine):
    (machine.folder / "check").write_text("#!/bin/sh\n")
    (machine.folder / "check").chmod(0o755)
    machine.commands = {"check": (str(machine.folder / "check"),)}
    machine.roots = (str(machine.folder),)
    for name in (
        "agent.toml",
        "agent.toml.d/more.toml",
        "state/identity.json",
        "state/apply/placed.json",
        "check",
    ):
        await refused(machine, signed(str(machine.folder / name)), "policy.protected")


async def test_sec_6_what_a_command_is_told_to_run_is_out_of_reach(machine):
    script, till = machine.root / "x/check.py", machine.root / "x/till-apply"
    machine.commands = {
        "check": ("/usr/bin/python3", "-u", str(script), str(machine.root)),
        "till": ("/usr/bin/env", f"{machine.root}/x/till-{{phase}}"),
        "data": ("/usr/bin/true", "-c", f"{machine.root}/x/data"),
    }
    for path in (script, till):
        error = await refused(machine, signed(str(path)), "policy.protected")
        assert "what a command of this machine runs" in error.problem
    await refused(machine, signed(str(machine.root / "x"), content=None, directory=True), "policy.protected")
    script.parent.mkdir()
    script.symlink_to(machine.root / "real.py")
    await refused(machine, signed(str(machine.root / "real.py")), "policy.protected")
    await machine.applier().apply([signed(str(machine.root / "x/data"))])


async def test_the_set_user_bit_is_refused(machine):
    for mode in ("4755", "2755", "6755"):
        await refused(machine, signed(str(machine.root / "a"), mode=mode), "policy.mode")


async def test_an_unknown_account_is_refused(machine):
    await refused(machine, signed(str(machine.root / "a"), owner="nobody-knows"), "policy.account")
    await refused(machine, signed(str(machine.root / "a"), group="nobody-knows"), "policy.account")


async def test_a_command_the_machine_does_not_name_is_refused(machine):
    policy = Applied(REF, signed(str(machine.root / "a")).body | {"reload": "rm"})
    error = await refused(machine, policy, "policy.command")
    assert error.hint.startswith(f"Add rm under [commands] in {machine.source}")


async def test_a_policy_cannot_bring_a_command_line(machine):
    for line in ("/bin/sh -c id", "check; id", "/bin/sh"):
        policy = Applied(REF, signed(str(machine.root / "a")).body | {"validate": line})
        await refused(machine, policy, "policy.command")


async def test_a_command_whose_program_is_missing_is_refused_before_anything_is_written(machine):
    machine.commands = {"check": ("/nonexistent/check",)}
    policy = Applied(REF, signed(str(machine.root / "new/a")).body | {"validate": "check"})
    await refused(machine, policy, "policy.command")
    assert not (machine.root / "new").exists()


async def test_a_reload_that_speaks_of_staged_files_is_refused(machine):
    machine.commands = {"reload": ("/bin/cat", "{path}")}
    policy = Applied(REF, signed(str(machine.root / "a")).body | {"reload": "reload"})
    await refused(machine, policy, "policy.command")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"files": "a"},
        {"files": [{"path": 7, "content": ""}]},
        {"files": [{"path": "/a"}]},
        {"files": [], "validate": ["/bin/sh"]},
    ],
    ids=str,
)
async def test_a_malformed_body_is_refused(machine, body):
    await refused(machine, Applied(REF, body), "policy.malformed")


async def test_a_field_of_a_newer_manager_is_ignored(machine):
    await machine.applier().apply([signed(str(machine.root / "a"), colour="blue")])
    assert (machine.root / "a").read_text() == "owned"


async def test_content_that_is_no_text_is_refused(machine):
    policy = Applied(REF, {"files": [{"path": str(machine.root / "a"), "content": "\ud800"}]})
    await refused(machine, policy, "policy.malformed")


async def test_names_of_staged_files_are_the_agents_own(machine):
    await refused(machine, signed(str(machine.root / ".popham-1-0.new")), "policy.path")


NAMES = st.one_of(
    st.sampled_from(
        [
            "..",
            ".",
            "",
            "~",
            "link",
            "loop",
            "dangling",
            "dir",
            "file",
            "pipe",
            "canary",
            "x" * 255,
            "x" * 256,
        ]
    ),
    st.sampled_from(
        ["\0", "a\0b", "a\nb", "\u202etxt", "\uff41", "é", "e\u0301", "\ud800", "-rf", "*", "$(id)", "%s"]
    ),
    st.text(string.ascii_letters + "./ \\", max_size=8),
    st.text(max_size=8),
)
PATHS = st.builds(
    lambda start, names, slash: (start, slash.join(names)),
    st.sampled_from(["root", "outside", "nothing"]),
    st.lists(NAMES, min_size=1, max_size=5),
    st.sampled_from(["/", "//", "/./", "/../"]),
)


def canary_tree(folder):
    """Return a machine with traps under its root, and the tree that must never change."""
    machine = Machine(folder)
    outside = folder / "outside"
    (outside / "dir").mkdir(parents=True)
    (outside / "canary").write_text("alive")
    (outside / "dir/file").write_text("alive")
    (machine.root / "link").symlink_to(outside)
    (machine.root / "loop").symlink_to("loop")
    (machine.root / "dangling").symlink_to(outside / "nothing")
    (machine.root / "canary").symlink_to(outside / "canary")
    (machine.root / "dir").mkdir()
    (machine.root / "file").write_text("own")
    os.mkfifo(machine.root / "pipe")
    return machine, outside


@settings(max_examples=150, deadline=None)
@given(PATHS)
def test_sec_6_no_path_leads_out_of_the_roots(path):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        machine, outside = canary_tree(folder)
        start = {"root": str(machine.root), "outside": str(outside), "nothing": ""}[path[0]]
        before = machine.tree(outside), sorted(p.name for p in folder.iterdir())
        with contextlib.suppress(PolicyError):
            asyncio.run(machine.applier(offload=at_once).apply([signed(f"{start}/{path[1]}")]))
        after = machine.tree(outside), sorted(p.name for p in folder.iterdir() if p.name != "state")
        assert after == before
        assert all("popham" not in found for found in machine.tree())


@settings(max_examples=80, deadline=None)
@given(PATHS)
def test_sec_6_no_directory_is_made_or_changed_outside_the_roots(path):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        machine, outside = canary_tree(folder)
        start = {"root": str(machine.root), "outside": str(outside), "nothing": ""}[path[0]]
        body = {"files": [{"path": f"{start}/{path[1]}", "directory": True, "mode": "0770"}]}
        before = outside_of(machine, outside)
        with contextlib.suppress(PolicyError):
            asyncio.run(machine.applier(offload=at_once).apply([Applied(REF, body)]))
        assert outside_of(machine, outside) == before


def outside_of(machine, outside):
    """Return every directory that is not below the root, with its mode."""
    found = [*outside.rglob("*"), *machine.folder.iterdir(), machine.folder.parent / "etc"]
    return {str(path): path.stat().st_mode for path in found if path.is_dir() and path != machine.state}
