"""Metrics of the machine, under OpenTelemetry's names; what the system does not tell is left out.

Every call may wait for the kernel, so it belongs in a thread; psutil is loaded with this module.

Source: OpenTelemetry semantic conventions 1.41, system and process metrics; the averages of load and the counters of
disk operations as its Collector's hostmetrics receiver names them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import psutil

from popham.agent.collect.sample import Sample, SampleKind
from popham.agent.collect.wanted import Choice, ProcessSort, WantedMetrics
from popham.model.criteria import is_like

DEVICES_MAX: Final = 256
"""Devices, mounts and interfaces of which metrics are made, of each; the others are left out."""
_FULL: Final = frozenset({"squashfs", "erofs", "iso9660", "udf", "cramfs", "romfs"})
"""Filesystems that are full by their nature."""
_SHORTEST: Final = 0.05
"""Seconds of processor time, or of time, between two looks that say something of a rate."""


class Host:
    """Looks at the machine; what is a rate is one since the last look of the same kind.

    Args:
        now: Wall time, in unix seconds.
        ps: psutil, or what stands for it.
        monotonic: Time that only rises, in seconds.
    """

    def __init__(
        self, now: Callable[[], float], ps: Any = psutil, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._ps = ps
        self._monotonic = monotonic
        self._times: dict[str, Mapping[str, float]] = {}
        self._moved: tuple[float, float, float] | None = None
        self._processes: dict[tuple[int, float], float] | None = None
        self._processes_at = 0.0

    def summarize(self) -> list[Sample]:
        """Return the key metrics."""
        return list(self._gather(self._summary, self._now()))

    def measure(self, wanted: WantedMetrics) -> list[Sample]:
        """Return the metrics that a policy wants."""
        at = self._now()
        makers: list[Callable[[float], Iterator[Sample]]] = []
        makers += [self._cpu] if wanted.cpu else []
        makers += [self._load] if wanted.load else []
        makers += [self._memory] if wanted.memory else []
        for metrics, make in (
            ("filesystem", self._filesystem),
            ("disk", self._disk),
            ("network", self._network),
        ):
            choice = wanted.choice(metrics)
            if choice is not None:
                makers.append(_bind(make, choice))
        if wanted.processes:
            makers.append(lambda at: self._process(at, wanted.processes))
        return [sample for make in makers for sample in self._gather(make, at)]

    def _gather(self, make: Callable[[float], Iterator[Sample]], at: float) -> Iterator[Sample]:
        """Yield what ``make`` does, until the system tells no more."""
        try:
            yield from make(at)
        except (OSError, RuntimeError, self._ps.Error):
            return

    # The summary.

    def _summary(self, at: float) -> Iterator[Sample]:
        for make in (
            self._cpu_summary,
            self._memory_summary,
            self._fullest,
            self._load_summary,
            self._traffic,
        ):
            yield from self._gather(make, at)

    def _cpu_summary(self, at: float) -> Iterator[Sample]:
        shares = self._shares("summary", self._cpu_times())
        if shares:
            busy = 1.0 - shares.get("idle", 0.0) - shares.get("iowait", 0.0)
            yield _gauge("system.cpu.utilization", "1", min(max(busy, 0.0), 1.0), at)

    def _memory_summary(self, at: float) -> Iterator[Sample]:
        memory = self._ps.virtual_memory()
        yield _gauge("system.memory.utilization", "1", 1.0 - memory.available / memory.total, at)

    def _fullest(self, at: float) -> Iterator[Sample]:
        found: list[tuple[float, str]] = []
        for part, usage in self._mounts(Choice()):
            room = usage.used + usage.free
            if part.fstype not in _FULL and room:
                found.append((usage.used / room, part.mountpoint))
        if found:
            share, mount = max(found)
            attributes = {"system.filesystem.mountpoint": mount}
            yield _gauge("system.filesystem.utilization", "1", share, at, attributes)

    def _load_summary(self, at: float) -> Iterator[Sample]:
        yield _gauge("system.cpu.load_average.1m", "{thread}", self._ps.getloadavg()[0], at)

    def _traffic(self, at: float) -> Iterator[Sample]:
        held = [counts for name, counts in self._ps.net_io_counters(pernic=True).items() if name != "lo"]
        now = self._monotonic()
        moved = (now, sum(one.bytes_recv for one in held), sum(one.bytes_sent for one in held))
        former, self._moved = self._moved, moved
        if former is None or now - former[0] < _SHORTEST:
            return
        for place, direction in ((1, "receive"), (2, "transmit")):
            # An interface that went away takes its counters with it.
            rate = max(moved[place] - former[place], 0) / (now - former[0])
            yield _gauge("popham.network.rate", "By/s", rate, at, {"network.io.direction": direction})

    # Processors, memory.

    def _cpu_times(self) -> dict[str, float]:
        """Return seconds of all processors by what they did; the kernel counts guests among user and nice."""
        times = self._ps.cpu_times()
        found = {
            "user": times.user - getattr(times, "guest", 0.0),
            "nice": getattr(times, "nice", 0.0) - getattr(times, "guest_nice", 0.0),
            "system": times.system,
            "idle": times.idle,
            "iowait": getattr(times, "iowait", 0.0),
            "interrupt": getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0),
            "steal": getattr(times, "steal", 0.0),
        }
        return {mode: max(seconds, 0.0) for mode, seconds in found.items()}

    def _shares(self, asker: str, times: Mapping[str, float]) -> dict[str, float]:
        """Return the share of each mode since the last look of this asker; nothing at the first."""
        former = self._times.get(asker)
        spent = {mode: max(times[mode] - former[mode], 0.0) for mode in times} if former else {}
        total = sum(spent.values())
        if former is None or total >= _SHORTEST:
            self._times[asker] = times
        return {mode: seconds / total for mode, seconds in spent.items()} if total >= _SHORTEST else {}

    def _cpu(self, at: float) -> Iterator[Sample]:
        times = self._cpu_times()
        start = self._ps.boot_time()
        for mode, seconds in times.items():
            yield _sum("system.cpu.time", "s", seconds, at, start, {"cpu.mode": mode})
        for mode, share in self._shares("metrics", times).items():
            yield _gauge("system.cpu.utilization", "1", share, at, {"cpu.mode": mode})
        yield _gauge("system.cpu.logical.count", "{cpu}", self._ps.cpu_count() or 1, at)

    def _load(self, at: float) -> Iterator[Sample]:
        for minutes, load in zip((1, 5, 15), self._ps.getloadavg(), strict=True):
            yield _gauge(f"system.cpu.load_average.{minutes}m", "{thread}", load, at)

    def _memory(self, at: float) -> Iterator[Sample]:
        memory = self._ps.virtual_memory()
        held = {
            "free": memory.free,
            "cached": getattr(memory, "cached", 0),
            "buffers": getattr(memory, "buffers", 0),
        }
        held["used"] = max(memory.total - sum(held.values()), 0)
        yield _gauge("system.memory.limit", "By", memory.total, at)
        for state, size in held.items():
            attributes = {"system.memory.state": state}
            yield _gauge("system.memory.usage", "By", size, at, attributes)
            yield _gauge("system.memory.utilization", "1", size / memory.total, at, attributes)
        swap = self._ps.swap_memory()
        for state, size in (("used", swap.used), ("free", swap.free)):
            if swap.total:
                attributes = {"system.paging.state": state}
                yield _gauge("system.paging.usage", "By", size, at, attributes)
                yield _gauge("system.paging.utilization", "1", size / swap.total, at, attributes)

    # Devices.

    def _mounts(self, choice: Choice) -> Iterator[tuple[Any, Any]]:
        """Yield chosen mounts and what they hold, each device once."""
        seen: set[str] = set()
        for part in self._ps.disk_partitions(all=False):
            if part.device in seen or not is_chosen(part.mountpoint, choice) or len(seen) >= DEVICES_MAX:
                continue
            seen.add(part.device)
            try:
                yield part, self._ps.disk_usage(part.mountpoint)
            except OSError:
                continue

    def _filesystem(self, at: float, choice: Choice) -> Iterator[Sample]:
        for part, usage in self._mounts(choice):
            attributes = {
                "system.device": part.device,
                "system.filesystem.mountpoint": part.mountpoint,
                "system.filesystem.type": part.fstype,
            }
            reserved = max(usage.total - usage.used - usage.free, 0)
            yield _gauge("system.filesystem.limit", "By", usage.total, at, attributes)
            for state, size in (("used", usage.used), ("free", usage.free), ("reserved", reserved)):
                stated = attributes | {"system.filesystem.state": state}
                yield _gauge("system.filesystem.usage", "By", size, at, stated)
                if usage.total:
                    yield _gauge("system.filesystem.utilization", "1", size / usage.total, at, stated)

    def _disk(self, at: float, choice: Choice) -> Iterator[Sample]:
        start = self._ps.boot_time()
        for name, counts in _chosen(self._ps.disk_io_counters(perdisk=True) or {}, choice):
            for direction in ("read", "write"):
                attributes = {"system.device": name, "disk.io.direction": direction}
                moved = getattr(counts, f"{direction}_bytes")
                yield _sum("system.disk.io", "By", moved, at, start, attributes)
                done = getattr(counts, f"{direction}_count")
                yield _sum("system.disk.operations", "{operation}", done, at, start, attributes)
            busy = getattr(counts, "busy_time", None)
            if busy is not None:
                yield _sum("system.disk.io_time", "s", busy / 1000, at, start, {"system.device": name})

    def _network(self, at: float, choice: Choice) -> Iterator[Sample]:
        start = self._ps.boot_time()
        for name, counts in _chosen(self._ps.net_io_counters(pernic=True), choice):
            for direction, way, short in (("receive", "recv", "in"), ("transmit", "sent", "out")):
                attributes = {"network.interface.name": name, "network.io.direction": direction}
                for metric, unit, value in (
                    ("system.network.io", "By", f"bytes_{way}"),
                    ("system.network.packet.count", "{packet}", f"packets_{way}"),
                    ("system.network.packet.dropped", "{packet}", f"drop{short}"),
                    ("system.network.errors", "{error}", f"err{short}"),
                ):
                    yield _sum(metric, unit, getattr(counts, value), at, start, attributes)

    # Processes.

    def _process(self, at: float, sorts: Sequence[ProcessSort]) -> Iterator[Sample]:
        now, former = self._monotonic(), self._processes
        elapsed = now - self._processes_at
        spent: dict[tuple[int, float], float] = {}
        held: dict[str, list[tuple[int, float]]] = {sort.name: [] for sort in sorts}
        for names, key, seconds, size in self._find_processes(sorts):
            spent[key] = seconds
            # What began since the last look spent all of its time since then.
            first = 0.0 if key[1] > at - elapsed else seconds
            for name in names:
                held[name].append((size, seconds - former.get(key, first) if former is not None else 0.0))
        self._processes, self._processes_at = spent, now
        room = elapsed * (self._ps.cpu_count() or 1)
        for name, ones in held.items():
            attributes = {"popham.source": name}
            yield _gauge("system.process.count", "{process}", len(ones), at, attributes)
            yield _gauge("process.memory.usage", "By", sum(size for size, _ in ones), at, attributes)
            if former is not None and elapsed >= _SHORTEST:
                share = sum(seconds for _, seconds in ones) / room
                yield _gauge("process.cpu.utilization", "1", min(max(share, 0.0), 1.0), at, attributes)

    def _find_processes(
        self, sorts: Sequence[ProcessSort]
    ) -> Iterator[tuple[list[str], tuple[int, float], float, int]]:
        """Yield of each process that is wanted its sorts, who it is, its processor time and its memory."""
        for process in self._ps.process_iter(["name"]):
            name = process.info["name"] or ""
            names = [sort.name for sort in sorts if is_like(name, sort.match)]
            if not names:
                continue
            try:
                with process.oneshot():
                    times, size = process.cpu_times(), process.memory_info().rss
                    key = process.pid, process.create_time()
            except self._ps.Error:
                continue
            yield names, key, times.user + times.system, size


def is_chosen(name: str, choice: Choice) -> bool:
    """Return whether a device, mount or interface is one of those that are wanted."""
    included = not choice.include or any(is_like(name, pattern) for pattern in choice.include)
    return included and not any(is_like(name, pattern) for pattern in choice.exclude)


def _chosen(counts: Mapping[str, Any], choice: Choice) -> list[tuple[str, Any]]:
    return [(name, held) for name, held in sorted(counts.items()) if is_chosen(name, choice)][:DEVICES_MAX]


def _bind(
    make: Callable[[float, Choice], Iterator[Sample]], choice: Choice
) -> Callable[[float], Iterator[Sample]]:
    return lambda at: make(at, choice)


def _gauge(
    name: str, unit: str, value: float, at: float, attributes: Mapping[str, str] | None = None
) -> Sample:
    return Sample(name=name, unit=unit, value=float(value), at=at, attributes=attributes or {})


def _sum(
    name: str, unit: str, value: float, at: float, start: float, attributes: Mapping[str, str]
) -> Sample:
    return Sample(
        name=name,
        unit=unit,
        value=float(value),
        at=at,
        attributes=attributes,
        kind=SampleKind.SUM,
        start=min(start, at),
    )
