"""Services that the Manager asks itself: in virtual time, and once on loopback."""

import asyncio
import contextlib
import gc
from collections import Counter, defaultdict

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.manager.conftest import ADMIN

from popham.clock import SystemClock
from popham.errors import LinkError, NotFoundError, StateError
from popham.manager.app import open_manager
from popham.manager.data.service import Of
from popham.manager.founding import Founding, found
from popham.manager.itself import MANAGER
from popham.manager.probing import AT_ONCE, SOON, Probing, read_probes
from popham.manager.settings import Listen, ManagerSettings, load_settings
from popham.net.probing import Found
from popham.store.refusal import overloaded
from popham.store.sqlite import SqliteStore
from popham.streams.frame import Frame, Stream
from popham.streams.packing import unpack
from popham.testing.virtual import VirtualClock, pass_time, run_virtual

UP, DOWN, UNABLE = Found(up=True, seconds=0.5), Found(up=False, seconds=5.0, why="is silent"), Found(up=None)


class World:
    """Services, and who keeps and tells what is found of them.

    Attributes:
        answers: Target → what is found, one after the other; the last stays.
        takes: Seconds that each answer takes.
    """

    def __init__(self):
        self.clock = VirtualClock()
        self.answers, self.takes = defaultdict(lambda: [UP]), 0.0
        self.asked, self.kept, self.told = defaultdict(list), [], []
        self.under_way = self.most = 0
        self.names, self.closed = None, False
        self.keeping = self.telling = None
        self.loading = []

    async def ask(self, question):
        self.asked[question.target].append(self.clock.elapsed)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.takes)
        self.under_way -= 1
        held = self.answers[question.target]
        return held.pop(0) if len(held) > 1 else held[0]

    async def aclose(self):
        self.closed = True

    async def take(self, source, stream, frames):
        if self.keeping:
            raise self.keeping
        ((_, frame),) = frames
        self.kept.append((source, stream, Frame.decode(bytes(frame))))

    async def load(self, names):
        if self.loading:
            raise self.loading.pop()
        self.names = names

    async def note(self, name, text, *, down):
        if self.telling:
            raise self.telling
        self.told.append((round(self.clock.elapsed), name, down, text))

    def changes(self):
        """Return when something was told to be other than before; a service is up at first."""
        found, down = [], Counter()
        for at, name, is_down, _ in self.told:
            if down[name] != is_down:
                found.append((at, name, is_down))
            down[name] = is_down
        return found

    async def run(self, seconds, *specs):
        probing = Probing(read_probes(specs), self, self, self, self.clock)
        running = asyncio.ensure_future(probing.run())
        try:
            await pass_time(seconds)
            if running.done():
                await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def live(seconds, *specs, **rest):
    """Have a world ask for so long."""
    world = World()
    for name, value in rest.items():
        setattr(world, name, value)
    run_virtual(world.run(seconds, *specs), world.clock)
    return world


def tcp(name, **rest):
    return {"name": name, "tcp": f"{name}:1", **rest}


def points(frame):
    request = ExportMetricsServiceRequest.FromString(unpack(frame))
    (scope,) = request.resource_metrics[0].scope_metrics
    for metric in scope.metrics:
        (point,) = metric.gauge.data_points
        labels = {one.key: one.value.string_value for one in point.attributes}
        yield metric.name, metric.unit, point.as_double, labels


def test_what_is_found_is_kept_as_metrics_of_the_managers_own():
    world = live(1, tcp("shop"))
    ((source, stream, frame),) = world.kept
    assert (source, stream, frame.head.uid, frame.head.count) == (
        MANAGER.bytes,
        Stream.METRICS,
        MANAGER.bytes,
        2,
    )
    labels = {"popham.source": "shop", "popham.probe.type": "tcp", "popham.probe.target": "shop:1"}
    assert list(points(frame)) == [
        ("popham.probe.up", "1", 1.0, labels),
        ("popham.probe.duration", "s", 0.5, labels),
    ]
    assert world.closed


def test_a_service_is_down_after_two_failures_in_a_row_and_up_with_the_first_success():
    answers = {"shop:1": [UP, DOWN, UP, DOWN, UNABLE, DOWN, DOWN, UP, UP]}
    world = live(601, tcp("shop"), answers=answers)
    assert world.changes() == [(300, "shop", True), (420, "shop", False)]
    assert next(text for _, _, down, text in world.told if down) == "shop: shop:1 is silent"
    assert len(world.kept) == len(world.asked["shop:1"]) - 1


def test_each_has_its_own_interval_and_all_begin_soon_and_apart():
    world = live(59, tcp("a", interval="20s"), tcp("b", interval=7))
    assert world.names == ["a", "b"]
    assert world.asked["a:1"] == [0.0, 20.0, 40.0]
    assert world.asked["b:1"][:2] == [3.5, 10.5]
    many = live(SOON, *(tcp(f"p{n}") for n in range(64)))
    assert len({times[0] for times in many.asked.values()}) == 64


def test_rel_25_so_many_are_asked_at_once_and_a_turn_that_comes_too_early_is_missed():
    world = live(300, *(tcp(f"p{n}", interval=1) for n in range(64)), takes=5.0)
    assert world.most == AT_ONCE
    # Sixteen at a time, each for five seconds: every one has its turn, and none more than others.
    counts = Counter(len(times) for times in world.asked.values())
    assert max(counts) - min(counts) <= 1
    slow = live(19, tcp("slow", interval=2), takes=3.0)
    assert slow.asked["slow:1"] == [0.0, 4.0, 8.0, 12.0, 16.0]


def test_what_there_is_no_room_for_is_left_out_and_probes_go_on():
    world = live(121, tcp("shop"), keeping=LinkError("busy", "The disk is full.", retry_after=1.0))
    assert (len(world.asked["shop:1"]), world.kept) == (3, [])
    world = live(121, tcp("shop"), telling=overloaded("there is too much to do"))
    assert len(world.asked["shop:1"]) == 3
    assert live(59, tcp("shop"), loading=[overloaded("there is too much to do")]).asked["shop:1"] == [1.0]


def test_a_database_that_fails_ends_it_and_no_probes_are_no_failure():
    with pytest.raises(StateError, match="broken"):
        live(1, tcp("shop"), telling=StateError("broken", "the database is broken"))
    assert live(100_000).names == []


def test_it_says_once_that_a_service_cannot_be_asked(caplog):
    unable = Found(up=None, why="cannot be asked")
    live(301, tcp("shop"), answers={"shop:1": [unable, unable, UP, unable]})
    assert [record.getMessage() for record in caplog.records] == [
        "the probe shop: shop:1 cannot be asked",
    ] * 2


def test_a_probe_is_read_as_in_a_policy(tmp_path):
    file = tmp_path / "manager.toml"
    file.write_text(
        '[[probes]]\nname = "shop"\nhttp = "http://shop.example:80/health"\ninterval = "30s"\ntimeout = 2\n'
        'expect = {status = 204, contains = "ok"}\n[[probes]]\nname = "web"\ndns = "web.example"\n'
    )
    settings, _ = load_settings(file, state=None, env={}, overrides={})
    shop, web = read_probes(settings.probes)
    asked = shop.question
    assert (shop.name, shop.interval, asked.kind, asked.host, asked.timeout) == (
        "shop",
        30.0,
        "http",
        "shop.example",
        2.0,
    )
    assert (asked.status, asked.contains) == (204, "ok")
    assert (web.interval, web.question.kind, web.question.timeout) == (60.0, "dns", 5.0)


@pytest.fixture
async def state(tmp_path):
    """A Manager's state directory."""
    asked = Founding(
        state=tmp_path / "manager",
        names=("localhost",),
        urls=("https://localhost:4320",),
        agents="127.0.0.1:0",
        people="127.0.0.1:0",
    )
    await found(
        asked, clock=SystemClock(), open_store=lambda path: SqliteStore.open(path, clock=SystemClock())
    )
    return str(tmp_path / "manager")


@contextlib.asynccontextmanager
async def running(settings):
    ready, stopping = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(60), open_manager(settings, SystemClock()) as manager:
        task = asyncio.ensure_future(manager.run(ready, stopping))
        try:
            yield manager.service
        finally:
            stopping.set()
            await task
            # What it froze at its start would outlive this process's modules.
            gc.unfreeze()


async def until(look):
    """Return what a look returns, once it is something."""
    async with asyncio.timeout(30):
        while not (seen := await look()):  # noqa: ASYNC110  # nobody tells when a row can be read
            await asyncio.sleep(0.05)
    return seen


async def series(service):
    try:
        of = Of(since=SystemClock().now() - 3600.0)
        page = await service.metric(ADMIN, of, name="popham.probe.up", step=60.0)
    except NotFoundError:
        return None
    shown = {
        one.attributes["popham.source"]: (one.agent, [value for value in one.values if value is not None][-1])
        for one in page.items
    }
    return shown if len(shown) == 2 else None


async def test_services_on_loopback_are_metrics_and_alerts_of_the_manager(state):
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gone = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    dead = gone.sockets[0].getsockname()[1]
    gone.close()
    await gone.wait_closed()
    settings = ManagerSettings(
        state=state,
        listen=Listen(agents="127.0.0.1:0", people="127.0.0.1:0"),
        probes=(
            {"name": "up", "tcp": f"127.0.0.1:{port}"},
            {"name": "dead", "tcp": f"127.0.0.1:{dead}", "interval": 1},
        ),
    )
    async with running(settings) as service:
        shown = await until(lambda: series(service))
        page = await until(lambda: opened(service))
    server.close()
    assert shown == {"up": ("manager", 1.0), "dead": ("manager", 0.0)}
    (alert,) = page
    assert (alert.agent, alert.item, alert.resource, alert.state) == ("manager", "probe", "dead", "error")
    assert alert.text == f"dead: 127.0.0.1:{dead} cannot be reached: Connection refused"


async def opened(service):
    return (await service.alerts(ADMIN)).items
