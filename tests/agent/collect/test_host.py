"""Metrics of the machine: of one that is made up, and once of this one."""

import time
from types import SimpleNamespace

import psutil
import pytest

from popham.agent.collect.host import Host
from popham.agent.collect.sample import SampleKind
from popham.agent.collect.wanted import Choice, ProcessSort, WantedMetrics

EVERYTHING = WantedMetrics(cpu=True, load=True, memory=True, filesystem=True, disk=True, network=True)


class Process:
    def __init__(self, pid, name, seconds, size, began):
        self.pid, self.info = pid, {"name": name}
        self.seconds, self.size, self.began = seconds, size, began

    def oneshot(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def cpu_times(self):
        if self.seconds is None:
            raise psutil.NoSuchProcess(self.pid)
        return SimpleNamespace(user=self.seconds, system=0.0)

    def memory_info(self):
        return SimpleNamespace(rss=self.size)

    def create_time(self):
        return self.began


class Machine:
    """What psutil would say of a machine with four processors."""

    Error = psutil.Error

    def __init__(self):
        self.now = 1_000_000.0
        self.times = {"user": 100.0, "nice": 0.0, "system": 50.0, "idle": 800.0, "iowait": 10.0}
        self.moved = {"eth0": 1000, "lo": 500}
        self.mounts = [
            ("/dev/a", "/", "ext4", 50),
            ("/dev/b", "/data", "xfs", 90),
            ("/dev/c", "/snap/x", "squashfs", 100),
        ]
        self.mounts += [("/dev/a", "/again", "ext4", 50)]
        self.processes = []
        self.broken = set()

    def monotonic(self):
        return self.now

    def cpu_times(self):
        return SimpleNamespace(**self.times, irq=0.0, softirq=0.0, steal=0.0, guest=20.0, guest_nice=0.0)

    def cpu_count(self):
        return 4

    def boot_time(self):
        return 900_000.0

    def getloadavg(self):
        return 0.5, 1.0, 1.5

    def virtual_memory(self):
        return SimpleNamespace(total=1000, available=600, free=300, cached=200, buffers=100)

    def swap_memory(self):
        return SimpleNamespace(total=0, used=0, free=0)

    def disk_partitions(self, **which):
        assert which == {"all": False}
        return [SimpleNamespace(device=d, mountpoint=m, fstype=f) for d, m, f, _ in self.mounts]

    def disk_usage(self, mount):
        if mount in self.broken:
            raise OSError(5, "Input/output error")
        used = next(share for _, known, _, share in self.mounts if known == mount)
        return SimpleNamespace(total=110, used=used, free=100 - used)

    def disk_io_counters(self, *, perdisk):
        return {
            "sda": SimpleNamespace(read_bytes=1, write_bytes=2, read_count=3, write_count=4, busy_time=5000)
        }

    def net_io_counters(self, *, pernic):
        names = ("packets_recv", "packets_sent", "dropin", "dropout", "errin", "errout")
        return {
            name: SimpleNamespace(bytes_recv=moved, bytes_sent=2 * moved, **dict.fromkeys(names, 7))
            for name, moved in self.moved.items()
        }

    def process_iter(self, attributes):
        return self.processes


def look(samples):
    """Return (name, attributes) → value."""
    return {(one.name, *one.attributes.values()): one.value for one in samples}


@pytest.fixture
def machine():
    made_up = Machine()
    made_up.host = Host(lambda: made_up.now, made_up, made_up.monotonic)
    return made_up


def test_the_summary_is_the_key_metrics(machine):
    machine.host.summarize()
    machine.now += 10
    machine.times |= {"user": 103.0, "idle": 807.0}
    machine.moved = {"eth0": 3000, "lo": 9000}
    assert look(machine.host.summarize()) == {
        ("system.cpu.utilization",): pytest.approx(0.3),
        ("system.memory.utilization",): pytest.approx(0.4),
        # The fullest, but for what is full by its nature; of one device once.
        ("system.filesystem.utilization", "/data"): 0.9,
        ("system.cpu.load_average.1m",): 0.5,
        ("popham.network.rate", "receive"): 200.0,
        ("popham.network.rate", "transmit"): 400.0,
    }


def test_a_first_look_says_nothing_of_what_is_a_rate(machine):
    names = {one.name for one in (*machine.host.summarize(), *machine.host.measure(EVERYTHING))}
    assert "system.cpu.time" in names
    assert not names & {"system.cpu.utilization", "popham.network.rate"}


def test_metrics_and_summary_have_rates_of_their_own(machine):
    machine.host.measure(EVERYTHING)
    machine.host.summarize()
    machine.times |= {"user": 104.0}
    machine.now += 10
    machine.host.summarize()
    machine.times |= {"idle": 804.0}
    shares = look(machine.host.measure(EVERYTHING))
    assert shares["system.cpu.utilization", "user"] == pytest.approx(0.5)
    assert shares["system.cpu.utilization", "idle"] == pytest.approx(0.5)


def test_sums_say_since_when_they_are_sums(machine):
    found = machine.host.measure(EVERYTHING)
    sums = [one for one in found if one.kind is SampleKind.SUM]
    assert {one.start for one in sums} == {900_000.0}
    assert {one.name for one in sums} >= {"system.cpu.time", "system.disk.io", "system.network.io"}
    values = look(found)
    # Guests are counted once.
    assert values["system.cpu.time", "user"] == 80.0
    assert values["system.disk.io_time", "sda"] == 5.0
    assert values["system.memory.usage", "used"] == 400.0
    assert values["system.filesystem.usage", "/dev/b", "/data", "xfs", "reserved"] == 10.0


def test_devices_are_chosen(machine):
    wanted = WantedMetrics(network=Choice(exclude=("lo",)), filesystem=Choice(include=("/d*",)))
    found = machine.host.measure(wanted)
    assert {one.attributes["network.interface.name"] for one in found if "network" in one.name} == {"eth0"}
    mounts = {one.attributes["system.filesystem.mountpoint"] for one in found if "filesystem" in one.name}
    assert mounts == {"/data"}


def test_what_the_system_does_not_tell_is_left_out_and_the_rest_is_there(machine):
    machine.broken = {"/data"}
    del machine.times["iowait"]
    machine.virtual_memory = lambda: (_ for _ in ()).throw(OSError(2, "no /proc/meminfo"))
    found = look(machine.host.summarize())
    assert found["system.filesystem.utilization", "/"] == 0.5
    assert ("system.memory.utilization",) not in found
    assert ("system.cpu.load_average.1m",) in found


def test_an_interface_that_goes_away_makes_no_negative_rate(machine):
    machine.host.summarize()
    machine.now += 10
    machine.moved = {"lo": 1}
    assert look(machine.host.summarize())["popham.network.rate", "receive"] == 0.0


def test_processes_of_one_sort_are_counted_together(machine):
    wanted = WantedMetrics(
        processes=(ProcessSort(name="shop", match="java*"), ProcessSort(name="none", match="x"))
    )
    old = Process(1, "java", 100.0, 500, 900_001.0)
    machine.processes = [old, Process(2, "bash", 5.0, 9, 900_001.0), Process(3, "java", None, 9, 900_001.0)]
    first = look(machine.host.measure(wanted))
    assert ("process.cpu.utilization", "shop") not in first
    machine.now += 10
    old.seconds = 102.0
    # One that began meanwhile spent all of its time since then, one that is found only now did not.
    began, found = Process(4, "java17", 6.0, 700, machine.now - 5), Process(5, "java", 99.0, 1, 900_002.0)
    machine.processes = [old, began, found]
    assert look(machine.host.measure(wanted)) == {
        ("system.process.count", "shop"): 3.0,
        ("process.memory.usage", "shop"): 1201.0,
        ("process.cpu.utilization", "shop"): pytest.approx((2 + 6) / 40),
        ("system.process.count", "none"): 0.0,
        ("process.memory.usage", "none"): 0.0,
        ("process.cpu.utilization", "none"): 0.0,
    }


def test_this_machine_tells_all_of_it():
    host = Host(time.time)
    summary = {one.name for one in host.summarize()}
    assert summary >= {"system.memory.utilization", "system.cpu.load_average.1m"}
    found = host.measure(EVERYTHING)
    assert {one.name for one in found} >= {"system.cpu.time", "system.memory.usage", "system.network.io"}
    for one in found:
        assert one.value >= 0
        assert one.start <= one.at
        if one.name.endswith("utilization"):
            assert one.value <= 1
