"""A process that appends is killed at any moment; real files, real processes."""

import resource

import pytest

from popham.streams.disk import SystemDisk

from .killing import kill_often


def test_f_d1_rel_1_no_record_that_was_durable_is_lost_uncounted_by_kill_9(tmp_path):
    durable, lost = kill_often(tmp_path / "spool", 20, seed=7)
    assert durable > 500
    assert lost > 0


def test_the_disk_of_this_machine_does_as_its_seam_says(tmp_path):
    disk, folder = SystemDisk(), tmp_path / "a" / "b"
    assert disk.names(folder) == []
    assert disk.free(folder) > 0
    disk.make_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    path = folder / "f"
    disk.append(path, [b"one", memoryview(b"two")], 0)
    disk.append(path, [b"three"], 3)
    disk.sync(path)
    assert (disk.size(path), disk.read(path, 1, 4), disk.read(path, 99, 4)) == (8, b"neth", b"")
    disk.truncate(path, 3)
    disk.append(path, [b"!"], 1)
    assert disk.read(path, 0, 99) == b"o!", "what stood behind is gone"
    disk.replace(folder / "g", b"whole")
    disk.remove(folder / "nobody")
    assert disk.names(folder) == ["f", "g"]
    assert disk.read(folder / "g", 0, 99) == b"whole"


def test_rel_3_a_write_that_the_disk_of_this_machine_takes_in_part_leaves_nothing(tmp_path):
    disk, path = SystemDisk(), tmp_path / "f"
    disk.append(path, [b"one"], 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            disk.append(path, [b"x" * 2000], 3)
        with pytest.raises(OSError, match="too large"):
            disk.replace(path, b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert disk.names(tmp_path) == ["f"]
    assert disk.read(path, 0, 9) == b"one"
