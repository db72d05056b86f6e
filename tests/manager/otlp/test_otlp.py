"""Plain OTLP of stock senders, from a socket to the intake's segments."""

import contextlib
import gzip
import json
import random
import uuid
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from tests.manager.intake.framing import Sender
from tests.manager.intake.rig import UID, Rig, entries, record, send
from tests.manager.otlp.requests import gauge, line, logs, metrics, raw_logs
from tests.upstream.conftest import Stock, otelcol

from popham.clock import SystemClock
from popham.errors import StreamError
from popham.manager.data.payload import read_logs, read_points
from popham.manager.otlp.otlp import WAITING, Otlp
from popham.manager.otlp.signals import RECORD
from popham.net.hot.listener import HotListener
from popham.net.seam import Limits, Request
from popham.store.memory import MemoryStore
from popham.streams.frame import UNSIGNED, Stream
from popham.testing.direct import DirectManager
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock
from popham.upstream.shedding import Load, Shedder

PROTOBUF, JSON = "application/x-protobuf", "application/json"
LIMIT = 512 * 1024


@pytest.fixture(scope="module")
def keys():
    return make_keys(VirtualClock())


@dataclass
class Door:
    """A Manager with an intake, and a token of the group lab."""

    manager: DirectManager
    rig: Rig
    intake: object
    otlp: Otlp
    stock: Stock
    url: str = ""

    async def post(self, path, body, *, form=PROTOBUF, token=None, **headers):
        """Send a request over HTTP; return status, headers and body of the answer."""
        token = self.stock.peer.bearer if token is None else token
        shown = {"Content-Type": form} | ({"Authorization": f"Bearer {token}"} if token else {}) | headers
        async with (
            ClientSession() as session,
            session.post(self.url + path, data=body, headers=shown) as answer,
        ):
            return answer.status, answer.headers, await answer.read()

    async def say(self, body, *, peer=None, path="/v1/logs", form=PROTOBUF):
        """Have a request answered without a socket."""
        headers = {"content-type": form}
        asked = Request(method="POST", path=path, peer=peer or self.stock.peer, headers=headers, body=body)
        return await self.manager.hub.other(asked)

    def rows(self, stream=Stream.LOGS):
        """Return the rows that readers make of what is durable."""
        read = read_logs if stream is Stream.LOGS else read_points
        return [row for entry in entries(self.intake, stream) for row in read(entry, lambda *_: None)]

    @property
    def own(self):
        """The uid of what is no agent's but the token's."""
        number = self.manager.book.identify(self.stock.peer).token
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:popham:token:{number}"))


@contextlib.asynccontextmanager
async def opened(keys, rig, **limits):
    async with rig.intake(**limits) as intake:
        otlp = Otlp(intake, rig.clock)
        manager = DirectManager(keys, otlp=otlp)
        await manager.start()
        await manager.publish(otelcol())
        stock = Stock(manager, await manager.stock_peer("lab"))
        yield Door(manager, rig, intake, otlp, stock)


@pytest.fixture
async def door(keys):
    async with opened(keys, Rig()) as found:
        yield found


@pytest.fixture
async def served(door):
    """Have it on a port of loopback."""
    listener = HotListener(
        door.manager.hub,
        context=None,
        limits=Limits(message=LIMIT),
        clock=SystemClock(),
        rng=random.Random(1),
    )
    await listener.start(["127.0.0.1"], 0)
    door.url = f"http://127.0.0.1:{listener.port}"
    yield door
    await listener.stop(retry_window=0.0)


# Over HTTP.


async def test_f_d9_what_a_stock_sender_sends_is_durable_when_it_is_answered(served):
    body = logs("one", "two").SerializeToString()
    status, headers, answer = await served.post("/v1/logs", body)
    assert (status, headers["Content-Type"]) == (200, PROTOBUF)
    assert ExportLogsServiceResponse.FromString(answer) == ExportLogsServiceResponse()
    served.rig.disk.crash()
    rows = served.rows()
    assert [(row.uid, row.offset, row.body, row.way) for row in rows] == [
        (served.own, 0, "one", "otlp"),
        (served.own, 1, "two", "otlp"),
    ]
    assert {entry.frame.signature for entry in entries(served.intake)} == {UNSIGNED}


async def test_f_d9_metrics_come_by_gzip(served):
    body = gzip.compress(metrics(gauge(points=4)).SerializeToString())
    status, _, answer = await served.post("/v1/metrics", body, **{"Content-Encoding": "gzip"})
    assert (status, ExportMetricsServiceResponse.FromString(answer)) == (200, ExportMetricsServiceResponse())
    assert [row.value for row in served.rows(Stream.METRICS)] == [0, 1, 2, 3]


async def test_f_d9_json_is_answered_by_json(served):
    request = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "one"}}, 7]}]}]}
    form = f"{JSON}; charset=utf-8"
    status, headers, answer = await served.post("/v1/logs", json.dumps(request).encode(), form=form)
    assert (status, headers["Content-Type"]) == (200, JSON)
    partial = {"rejectedLogRecords": "1", "errorMessage": "1 are malformed"}
    assert json.loads(answer) == {"partialSuccess": partial}
    assert [row.body for row in served.rows()] == ["one"]
    assert (await served.post("/v1/logs", b"{}", form=JSON))[2] == b"{}"


async def test_rel_12_what_is_rejected_is_said_and_its_neighbours_are_kept(served):
    sound = line("sound").SerializeToString()
    body = raw_logs(sound, b"\xff\xff", line("x" * RECORD).SerializeToString(), sound)
    status, _, answer = await served.post("/v1/logs", body)
    partial = ExportLogsServiceResponse.FromString(answer).partial_success
    assert (status, partial.rejected_log_records) == (200, 2)
    assert "1 are malformed; 1 are larger than" in partial.error_message
    assert [row.body for row in served.rows()] == ["sound", "sound"]
    assert served.otlp.rejected == {"malformed": 1, "too_large": 1}


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ({"body": b"\xff"}, 400, 3),
        ({"form": "text/plain"}, 415, 3),
        ({"path": "/v1/traces"}, 404, 5),
    ],
)
async def test_what_is_refused_for_ever_says_so_as_otlp_does(served, what, status, code):
    asked = {"path": "/v1/logs", "body": b"", **what}
    found, headers, answer = await served.post(asked.pop("path"), asked.pop("body"), **asked)
    assert (found, answer[:2], "Retry-After" in headers) == (status, bytes((8, code)), False)
    assert served.rows() == []


@pytest.mark.parametrize("token", ["", "pops_0000_nothing"])
async def test_sec_4_without_a_token_nothing_is_read(served, token):
    status, _, _ = await served.post("/v1/logs", b"\xff" * 1000, token=token)
    assert status == 401


async def test_sec_9_a_body_that_is_too_large_once_it_is_unpacked_is_refused_for_ever(served):
    bomb = bytes(50_000_000)
    large = random.Random(1).randbytes(LIMIT // 2) + bytes(LIMIT // 2 + 1)
    for body in (bomb, large):
        packed = gzip.compress(body, 1)
        status, headers, _ = await served.post("/v1/logs", packed, **{"Content-Encoding": "gzip"})
        assert (status, "Retry-After" in headers) == (413, False)


# Whose it is.


async def test_f_d9_a_resource_of_a_stock_agent_is_that_agents(door):
    await door.stock.begin()
    known = door.stock.record.uid
    for name in (known, known.upper(), known.replace("-", "")):
        assert (await door.say(logs("x", instance=name).SerializeToString())).status == 200
    assert {row.uid for row in door.rows()} == {known}


async def test_sec_11_nobody_writes_into_anothers_data(door):
    await door.stock.begin()
    ours = await door.manager.add_agent("ours", "lab")
    await ours.round()
    elsewhere = await door.manager.stock_peer("fleet")
    assert (await door.say(logs("a", instance=ours.uid).SerializeToString())).status == 200
    assert {row.uid for row in door.rows()} == {door.own}
    stolen = logs("b", instance=door.stock.record.uid).SerializeToString()
    assert (await door.say(stolen, peer=elsewhere)).status == 200
    assert (await door.say(stolen, peer=ours.peer())).status == 200
    found = [row.uid for row in door.rows()]
    assert found[2] == ours.uid
    assert len({*found}) == 3
    assert door.stock.record.uid not in found


async def test_an_agent_that_was_revoked_brings_nothing(door):
    ours = await door.manager.add_agent("ours", "lab")
    await ours.round()
    peer, known = ours.peer(), door.manager.book.record(ours.uid)
    known.admission = "revoked"
    assert (await door.say(logs("a").SerializeToString(), peer=peer)).status == 403
    assert door.rows() == []


# What is kept, and what is not.


async def test_f_d9_offsets_go_on_after_a_restart_beside_the_agents_own(keys):
    rig = Rig()
    ours = Sender(epoch=5)
    async with opened(keys, rig) as door:
        await send(door.intake, ours.frames(2))
        for text in ("one", "two"):
            await door.say(logs(text).SerializeToString())
        rig.disk.crash()
    async with opened(keys, rig) as door:
        await door.say(logs("three").SerializeToString())
        made = [row for row in door.rows() if row.way == "otlp"]
        assert [(row.offset, row.body) for row in made] == [(0, "one"), (1, "two"), (2, "three")]
        assert len({row.epoch for row in made}) == 1
        standing = await door.intake.standing(record(), Stream.LOGS)
        assert (standing.newest, standing.next) == (5, 2)
        assert door.intake.views()[3].stored == 5


async def test_f_d9_offsets_go_on_where_the_database_was_lost(keys):
    rig = Rig()
    async with opened(keys, rig) as door:
        await send(door.intake, Sender(epoch=5).frames(2))
        await door.say(logs("one", "two").SerializeToString())
    rig.store = MemoryStore()
    async with opened(keys, rig) as door:
        await door.say(logs("three").SerializeToString())
        made = [row for row in door.rows() if row.way == "otlp"]
        assert [row.offset for row in made] == [0, 1, 2]
        assert len({row.epoch for row in made}) == 1
        assert (await door.intake.standing(record(), Stream.LOGS)).next == 2


async def test_sec_10_what_is_refused_is_paid_for_too(keys):
    async with opened(keys, Rig(), bytes_per_second=100.0) as door:
        assert (await door.say(b"\xff" * 1000)).status == 400
        assert (await door.say(b"\xff" * 1000)).status == 503


async def test_sec_an_agent_cannot_say_that_the_manager_made_its_frames(door):
    with pytest.raises(StreamError, match=r"stream\.signature"):
        await send(door.intake, Sender(uid=UID, boot=b"otlp\0\0\0\0").frames(1))


@pytest.mark.parametrize("form", [PROTOBUF, JSON])
async def test_rel_6_whoever_sends_too_much_is_to_come_again(keys, form):
    body = b"{}" if form == JSON else b""
    async with opened(keys, Rig(), bytes_per_second=100.0) as door:
        assert (await door.say(logs("x" * 1000).SerializeToString())).status == 200
        answer = await door.say(body, form=form)
        assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (503, True)
        said = json.loads(answer.body)["code"] if form == JSON else answer.body[1]
        assert (said, answer.content_type) == (14, form)


async def test_rel_3_what_the_disk_does_not_take_is_not_answered_by_success(door):
    door.rig.disk.room = 10
    answer = await door.say(logs("one").SerializeToString())
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    assert door.rows() == []


async def test_rel_21_under_load_it_is_left_out_first(door):
    door.manager.hub._documents._otlp._shedder = Shedder(lambda: Load(lag=0.06))
    answer = await door.say(logs("one").SerializeToString())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")


async def test_no_more_wait_to_be_read_than_memory_bears(door):
    door.otlp._waiting = WAITING
    answer = await door.say(logs("one").SerializeToString())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


async def test_where_nothing_is_kept_nothing_is_taken(keys):
    manager = DirectManager(keys)
    await manager.start()
    door = Door(manager, None, None, None, Stock(manager, await manager.stock_peer("fleet")))
    assert (await door.say(b"")).status == 404
