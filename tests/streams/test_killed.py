"""A process that appends is killed at any moment; real files, real processes."""

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
    disk.replace(folder / "g", b"whole")
    disk.rename(folder / "g", "h")
    disk.remove(folder / "nobody")
    assert disk.names(folder) == ["f", "h"]
    assert disk.read(folder / "h", 0, 99) == b"whole"
