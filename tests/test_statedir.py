from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham import posix
from popham.errors import StateError
from popham.statedir import LOCK, StateDir, read_format, replace_file


def code_of(path: Path, kind: str = "agent", *, create: bool = False) -> str:
    with pytest.raises(StateError) as caught:
        StateDir.open(path, kind, create=create)
    assert caught.value.hint
    return caught.value.code


def test_a_new_directory_says_whose_it_is(tmp_path: Path) -> None:
    with StateDir.open(tmp_path / "deep" / "state", "agent", create=True) as state:
        assert state.read("FORMAT", 64) == b"popham-agent 1\n"
    assert read_format(tmp_path / "deep" / "state", "agent") == 1


def test_sec_46_directory_and_files_are_for_their_owner_only(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir(mode=0o755)
    with StateDir.open(root, "manager", create=True) as state:
        state.write("keys/director.pem", b"secret")
        state.write("tls/listener.pem", b"public", mode=0o644)
        for path in (root, root / "keys", root / "tls"):
            assert path.stat().st_mode & 0o777 == 0o700
        for path in (root / "FORMAT", root / "lock", root / "keys" / "director.pem"):
            assert path.stat().st_mode & 0o777 == 0o600
        assert (root / "tls" / "listener.pem").stat().st_mode & 0o777 == 0o644
        root.chmod(0o755)
    with StateDir.open(root, "manager", create=False):
        assert root.stat().st_mode & 0o777 == 0o700


def test_a_second_process_is_refused_and_told_which_process_is_in_the_way(tmp_path: Path) -> None:
    with StateDir.open(tmp_path, "agent", create=True):
        with pytest.raises(StateError) as caught:
            StateDir.open(tmp_path, "agent", create=False)
        assert caught.value.code == "state.locked"
        assert f"process {os.getpid()}" in caught.value.problem
    StateDir.open(tmp_path, "agent", create=False).close()


def test_the_lock_ends_with_the_process_that_held_it_however_it_ends(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib; from popham.statedir import StateDir\n"
        "StateDir.open(pathlib.Path(sys.argv[1]), 'agent', create=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -9
    StateDir.open(tmp_path, "agent", create=False).close()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("popham-agent 3\n", "state.newer"),
        ("popham-manager 1\n", "state.kind"),
        ("popham-manager 7\n", "state.kind"),
        ("popham-agent 0\n", "state.format"),
        ("popham-agent -1\n", "state.format"),
        ("", "state.format"),
        ("popham-agent 1\nmore", "state.format"),
    ],
)
def test_a_format_that_is_not_ours_is_refused_and_nothing_is_changed(
    tmp_path: Path, text: str, code: str
) -> None:
    (tmp_path / "FORMAT").write_text(text)
    assert code_of(tmp_path) == code
    assert code_of(tmp_path, create=True) == code
    assert (tmp_path / "FORMAT").read_text() == text


def test_a_directory_that_is_no_state_directory_is_left_alone(tmp_path: Path) -> None:
    assert code_of(tmp_path / "absent") == "state.missing"
    assert not (tmp_path / "absent").exists()
    (tmp_path / "holiday.jpg").write_bytes(b"sea")
    assert code_of(tmp_path) == "state.missing"
    assert code_of(tmp_path, create=True) == "state.not_empty"
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]
    assert code_of(tmp_path / "holiday.jpg", create=True) == "state.format"
    assert code_of(tmp_path / "holiday.jpg") == "state.format"


def test_creating_begins_again_where_a_crash_stopped_it(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / ".tmp-x").touch()
    (tmp_path / ".tmp-z").mkdir()
    (tmp_path / ".tmp-z" / "key.pem").touch()
    with StateDir.open(tmp_path, "agent", create=True) as state:
        state.write("keys/a", b"")
        (tmp_path / "keys" / ".tmp-y").touch()
    with StateDir.open(tmp_path, "agent", create=False):
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["FORMAT", "a", "keys", "lock"]


def test_a_file_is_read_within_its_limit_only(tmp_path: Path) -> None:
    with StateDir.open(tmp_path, "agent", create=True) as state:
        assert state.read("bundle", 10) is None
        state.write("bundle", b"0123456789")
        assert state.read("bundle", 10) == b"0123456789"
        with pytest.raises(StateError, match="more than 9 bytes"):
            state.read("bundle", 9)
        state.remove("bundle")
        state.remove("bundle")
        assert state.read("bundle", 10) is None


def test_rel_2_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    replace_file(target, b"old")

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        replace_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_rel_2_data_is_on_disk_before_its_name_and_the_name_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        calls.append("directory" if os.fstat(descriptor).st_mode & 0o040000 else "file")
        fsync(descriptor)

    def note_replace(path: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    replace_file(tmp_path / "file", b"data")
    assert calls == ["file", "rename", "directory"]


part = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["..", ".", "", "/etc/passwd", "a\0b", "-x", ".tmp-1", "a" * 129, "é", "a\n", "~", "a\\b"]
    ),
)


@given(st.lists(part, min_size=1, max_size=4))
def test_sec_6_no_name_leaves_the_directory(names: list[str]) -> None:
    state = StateDir(Path("/var/lib/canary"), "agent", lock=-1)
    if all(
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", step) for name in names for step in name.split("/")
    ):
        assert Path("/var/lib/canary") in Path(os.path.normpath(state.path(*names))).parents
    else:
        with pytest.raises(StateError, match=r"state\.name"):
            state.path(*names)


def test_an_unknown_owner_is_named() -> None:
    with pytest.raises(LookupError, match="no user 'nobody-here'"):
        posix.account_numbers("nobody-here", None)
    with pytest.raises(LookupError, match="no group 'nobody-here'"):
        posix.account_numbers(None, "nobody-here")


def test_an_owner_is_a_name_or_a_number_and_a_link_is_not_followed(tmp_path: Path) -> None:
    status = tmp_path.stat()
    assert posix.account_numbers("root", None) == (0, None)
    assert posix.account_numbers(None, str(status.st_gid)) == (None, status.st_gid)
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    posix.set_owner_like(tmp_path / "link", tmp_path)
    assert (tmp_path / "link").lstat().st_uid == status.st_uid


def test_who_looks_whether_a_directory_is_in_use_keeps_nobody_from_using_it(tmp_path, monkeypatch):
    StateDir.open(tmp_path / "state", "agent", create=True).close()
    looking = os.open(tmp_path / "state" / LOCK, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    waited = []

    def wait(seconds):
        waited.append(seconds)
        os.close(looking)

    monkeypatch.setattr(posix.time, "sleep", wait)
    with StateDir.open(tmp_path / "state", "agent", create=False):
        assert posix.lock_holder(tmp_path / "state" / LOCK) == str(os.getpid())
    assert len(waited) == 1
    assert posix.lock_holder(tmp_path / "state" / LOCK) is None


def test_a_proxy_has_a_state_of_its_own_kind(tmp_path: Path) -> None:
    with StateDir.open(tmp_path / "state", "proxy", create=True) as state:
        assert state.read("FORMAT", 64) == b"popham-proxy 1\n"
    assert code_of(tmp_path / "state") == "state.kind"
    with pytest.raises(StateError, match="popham proxy enroll"):
        StateDir.open(tmp_path / "none", "proxy", create=False)
