from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import json
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.clock import SystemClock
from popham.errors import StateError
from popham.manager.backup import backup, restore
from popham.statedir import StateDir
from popham.store.rows import AdminRow, GroupRow
from popham.store.seam import Writing
from popham.store.snapshot import mark_database
from popham.store.sqlite import DATABASE, SqliteStore


class StandingClock:
    def now(self) -> float:
        return 1_800_000_000.5

    def monotonic(self) -> float:
        return 0.0


def fill(path: Path) -> StateDir:
    """Make the state directory of a Manager that is running."""
    state = StateDir.open(path, "manager", create=True)
    state.write("keys/director.pem", b"director's key")
    state.write("keys/1.root.json", b"{}")
    state.write("tls/listener.pem", b"certificate")
    state.write("manager.toml", b"[agents]\n")
    state.write("scratch.bin", b"is no part of a backup")
    return state


def set_both(value: str, tx: Writing) -> None:
    tx.set_meta("a", value)
    tx.set_meta("b", value)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A backup of a small Manager."""
    with fill(tmp_path / "state"):
        mark_database(tmp_path / "state" / DATABASE, "who", "it")
        backup(tmp_path / "state", tmp_path / "archive.tar.gz", clock=StandingClock())
    return tmp_path / "archive.tar.gz"


def refusal(call: Callable[[], None]) -> str:
    with pytest.raises(StateError) as caught:
        call()
    assert caught.value.hint
    return caught.value.code


def pack(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    """Write an archive as somebody else might."""
    with tarfile.open(path, mode="w:gz") as tar:
        for head, data in members:
            member = tarfile.TarInfo(head) if isinstance(head, str) else head
            if member.type == tarfile.REGTYPE:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def manifest(files: dict[str, bytes], **more: object) -> tuple[str, bytes]:
    entries = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()
    }
    return "manifest.json", json.dumps({"format": 1, "files": entries, **more}).encode()


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive, "r:gz") as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
    with tarfile.open(archive, "r:gz") as tar:
        return {name: tar.extractfile(name).read() for name in files if name != "manifest.json"}


def made_at(archive: Path) -> int:
    with tarfile.open(archive, "r:gz") as tar:
        return int(json.loads(tar.extractfile("manifest.json").read())["created"])


async def test_f_o19_keys_and_state_come_back_from_a_backup_of_a_running_manager(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar.gz"
    with fill(tmp_path / "state"):
        store = SqliteStore.open(tmp_path / "state" / DATABASE, clock=SystemClock())
        admin = AdminRow(id="a", name="me", role="admin", secret=b"x", created=1.0, expires=2.0)
        await store.write(lambda tx: (tx.put_admin(admin), tx.put_group(GroupRow(name="web", body="{}"))))
        ended = asyncio.Event()

        async def go_on_writing() -> int:
            number = 0
            while not ended.is_set():
                number += 1
                await store.write(functools.partial(set_both, str(number)))
            return number

        writing = asyncio.ensure_future(go_on_writing())
        await asyncio.to_thread(backup, tmp_path / "state", archive)
        ended.set()
        assert await writing > 0
        await store.aclose()
    assert archive.stat().st_mode & 0o777 == 0o600

    restore(archive, tmp_path / "new", clock=StandingClock())
    with StateDir.open(tmp_path / "new", "manager", create=False) as state:
        assert state.read("keys/director.pem", 100) == b"director's key"
        assert state.read("tls/listener.pem", 100) == b"certificate"
        assert state.read("manager.toml", 100) == b"[agents]\n"
        store = SqliteStore.open(state.path(DATABASE), clock=SystemClock())
        assert await store.read(lambda tx: tx.admins()) == [admin]
        assert await store.read(lambda tx: [row.name for row in tx.groups()]) == ["web"]
        assert await store.read(lambda tx: tx.meta("restored")) == f"1800000000.5 {made_at(archive)}"
        assert await store.read(lambda tx: tx.meta("a") == tx.meta("b"))
        await store.aclose()


def test_sec_46_what_is_restored_is_for_its_owner_only_and_nothing_more_than_the_manager_wrote(
    archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir(mode=0o755)
    restore(archive, tmp_path / "new")
    found = {
        path.relative_to(tmp_path / "new").as_posix(): path.stat().st_mode & 0o777
        for path in (tmp_path / "new").rglob("*")
    }
    assert found == {
        "FORMAT": 0o600,
        "lock": 0o600,
        DATABASE: 0o600,
        "keys": 0o700,
        "keys/director.pem": 0o600,
        "keys/1.root.json": 0o600,
        "tls": 0o700,
        "tls/listener.pem": 0o600,
        "manager.toml": 0o600,
    }
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_backup_replaces_an_older_one_of_the_same_name_only_when_it_is_whole(
    archive: Path, tmp_path: Path
) -> None:
    before = archive.read_bytes()
    (tmp_path / "state" / DATABASE).write_bytes(b"no database at all, but long enough to be looked at" * 100)
    assert refusal(lambda: backup(tmp_path / "state", archive)) == "state.damaged"
    assert archive.read_bytes() == before
    (tmp_path / "state" / DATABASE).unlink()
    assert refusal(lambda: backup(tmp_path / "state", archive)) == "state.unusable"
    assert archive.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.tar.gz", "state"]


def test_what_cannot_be_backed_up_is_said(archive: Path, tmp_path: Path) -> None:
    assert refusal(lambda: backup(tmp_path / "absent", tmp_path / "b")) == "state.missing"
    assert refusal(lambda: backup(tmp_path / "state", tmp_path / "no" / "b")) == "state.backup_target"
    assert refusal(lambda: backup(tmp_path / "state", tmp_path / "state")) == "state.backup_target"
    StateDir.open(tmp_path / "agent", "agent", create=True).close()
    assert refusal(lambda: backup(tmp_path / "agent", tmp_path / "b")) == "state.kind"
    assert archive.exists()


def test_a_database_that_is_elsewhere_is_not_saved_and_nobody_overlooks_it(tmp_path: Path) -> None:
    archive, clock = tmp_path / "archive", StandingClock()
    with fill(tmp_path / "state"):
        assert refusal(lambda: backup(tmp_path / "state", archive, elsewhere=True)) == "state.backup_database"
        assert contents(archive)["keys/director.pem"] == b"director's key"
        backup(tmp_path / "state", archive, elsewhere=True, keys_only=True)
        assert refusal(lambda: backup(tmp_path / "state", archive)) == "state.unusable"
    assert DATABASE not in contents(archive)
    restore(archive, tmp_path / "new", clock=clock)
    with StateDir.open(tmp_path / "new", "manager", create=False) as state:
        assert state.read("keys/director.pem", 100) == b"director's key"
        assert state.read("restored", 100) == f"1800000000.5 {made_at(archive)}".encode()
        assert not state.path(DATABASE).exists()


def test_a_directory_with_anything_in_it_is_left_alone(archive: Path, tmp_path: Path) -> None:
    assert refusal(lambda: restore(archive, tmp_path / "state")) == "state.not_empty"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".hidden").touch()
    assert refusal(lambda: restore(archive, tmp_path / "other")) == "state.not_empty"
    assert [path.name for path in (tmp_path / "other").iterdir()] == [".hidden"]
    assert refusal(lambda: restore(archive, archive)) == "state.unwritable"
    assert refusal(lambda: restore(tmp_path / "absent", tmp_path / "new")) == "state.backup_missing"


def test_a_newer_backup_or_database_is_refused(archive: Path, tmp_path: Path) -> None:
    files = contents(archive)
    newer = pack(tmp_path / "newer", [("manifest.json", b'{"format": 2}')])
    assert refusal(lambda: restore(newer, tmp_path / "new")) == "state.newer"
    files["FORMAT"] = b"popham-manager 2\n"
    newer = pack(tmp_path / "newer", [manifest(files), *files.items()])
    assert refusal(lambda: restore(newer, tmp_path / "new")) == "state.newer"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/tmp/evil",
        "keys/../../evil",
        "keys/.hidden",
        "keys/deep/evil",
        "keys",
        "lock",
        "evil.sh",
        ".bashrc",
        "popham.db-wal",
        "keys/a\nb",
        "",
    ],
)
def test_sec_6_a_name_that_no_manager_writes_is_refused(archive: Path, tmp_path: Path, name: str) -> None:
    files = contents(archive) | {name: b"evil"}
    hostile = pack(tmp_path / "hostile", [manifest(files), *files.items()])
    before = sorted(tmp_path.rglob("*"))
    assert refusal(lambda: restore(hostile, tmp_path / "a" / "new")) == "state.backup_damaged"
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", *before]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_sec_6_nothing_but_regular_files_is_restored(archive: Path, tmp_path: Path, kind: bytes) -> None:
    files = contents(archive)
    link = tarfile.TarInfo("keys/director.pem")
    link.type, link.linkname = kind, "../../../canary"
    (tmp_path / "canary").write_bytes(b"sings")
    members = [manifest(files), (link, b""), *files.items()]
    hostile = pack(tmp_path / "hostile", members)
    assert refusal(lambda: restore(hostile, tmp_path / "new")) == "state.backup_damaged"
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "canary").read_bytes() == b"sings"


def test_files_that_are_missing_doubled_changed_or_not_named_are_refused(
    archive: Path, tmp_path: Path
) -> None:
    files = contents(archive)
    head = manifest(files)
    others = {name: data for name, data in files.items() if name != "FORMAT"}
    cases = {
        "missing": [head, *others.items()],
        "doubled": [head, *files.items(), ("FORMAT", files["FORMAT"])],
        "changed": [head, *others.items(), ("FORMAT", b"popham-manager 9\n")],
        "longer": [head, *others.items(), ("FORMAT", files["FORMAT"] + b"\n")],
        "not named": [head, *files.items(), ("keys/other", b"")],
        "manifest last": [*files.items(), head],
        "no database": [manifest({"FORMAT": b"popham-manager 1\n"}), ("FORMAT", b"popham-manager 1\n")],
        "two manifests": [head, head, *files.items()],
        "large": [manifest(files | {"keys/x": b"0" * (4 * 1024 * 1024 + 1)})],
        "empty": [],
        "list": [("manifest.json", b"[]")],
        "no json": [("manifest.json", b"{")],
        "strange": [("manifest.json", b'{"format":1,"files":{"FORMAT":1,"popham.db":[]}}')],
    }
    for what, members in cases.items():
        hostile = pack(tmp_path / "hostile", list(members))
        assert (
            refusal(lambda hostile=hostile: restore(hostile, tmp_path / "new")) == "state.backup_damaged"
        ), what
        assert not (tmp_path / "new").exists()


def test_rel_16_a_flipped_bit_is_found_or_changes_nothing(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    rng = random.Random(16)
    genuine = contents(archive)
    places = [
        *range(40),
        *(rng.randrange(len(whole)) for _ in range(40)),
        *range(len(whole) - 16, len(whole)),
    ]
    found = 0
    for place in places:
        broken = bytearray(whole)
        broken[place] ^= 1 << rng.randrange(8)
        archive.write_bytes(broken)
        target = tmp_path / f"new-{place}"
        try:
            restore(archive, target)
        except StateError as error:
            found += 1
            assert error.code in {"state.backup_damaged", "state.newer"}, place  # noqa: PT017 - either may happen
            assert not target.exists()
        else:
            restored = {name: (target / name).read_bytes() for name in genuine if name != DATABASE}
            assert restored == {name: data for name, data in genuine.items() if name != DATABASE}
    assert found > len(places) * 0.8


@settings(max_examples=30, deadline=None)
@given(cut=st.floats(0, 0.999))
def test_rel_16_a_backup_that_was_cut_off_is_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: float
) -> None:
    tmp_path = tmp_path_factory.mktemp("cut")
    files = {"FORMAT": b"popham-manager 1\n", DATABASE: random.Random(1).randbytes(50_000)}
    whole = pack(tmp_path / "whole", [manifest(files), *files.items()]).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: int(len(whole) * cut)])
    assert refusal(lambda: restore(tmp_path / "cut", tmp_path / "new")) == "state.backup_damaged"
    assert not (tmp_path / "new").exists()


async def test_rel_1_the_state_of_a_killed_manager_can_be_backed_up_before_it_starts_again(
    tmp_path: Path,
) -> None:
    with fill(tmp_path / "state") as state:
        store = SqliteStore.open(state.path(DATABASE), clock=SystemClock())
        await store.write(functools.partial(set_both, "last words"))
        fill(tmp_path / "killed").close()
        for name in (DATABASE, f"{DATABASE}-wal"):
            shutil.copy(tmp_path / "state" / name, tmp_path / "killed" / name)
        await store.aclose()
    backup(tmp_path / "killed", tmp_path / "archive")
    restore(tmp_path / "archive", tmp_path / "new")
    store = SqliteStore.open(tmp_path / "new" / DATABASE, clock=SystemClock())
    assert await store.read(lambda tx: tx.meta("a")) == "last words"
    await store.aclose()
