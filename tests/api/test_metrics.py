"""What Prometheus reads."""

import math

from prometheus_client.parser import text_string_to_metric_families

from popham.manager.data.views import KeptView
from popham.manager.intake.views import IntakeView, ReaderView
from popham.manager.measures import Measures

KEPT = KeptView(records=80, files=6, bytes=700, oldest="2026-01-01", aside={}, dropped={})
INTAKE = IntakeView(
    name="logs",
    queued=20,
    queued_bytes=400,
    oldest=1.5,
    appended=3.0,
    refused={"quota": 3},
    stored=12,
    lost={},
    damaged=0,
    segments=2,
    bytes=5000,
    readers=(ReaderView(name="files", bytes=99, records=7, seconds=4.0),),
    kept=KEPT,
)

NAMES = {
    "popham_build_info",
    "popham_agents",
    "popham_opamp_messages",
    "popham_loop_lag_seconds",
    "popham_loop_late_seconds",
    "popham_turned_away",
    "popham_links",
    "popham_links_dialled",
    "popham_visited_agents",
    "popham_visits",
    "popham_operation_targets",
    "popham_operation_results",
    "popham_links_admitted_per_second",
    "popham_shed",
    "popham_store_waiting",
    "popham_ingest_records",
    "popham_ingest_dropped",
    "popham_ingest_refused",
    "popham_ingest_queue_records",
    "popham_ingest_queue_bytes",
    "popham_ingest_queue_seconds",
    "popham_segments",
    "popham_segments_bytes",
    "popham_segments_damaged",
    "popham_reader_lag_seconds",
    "popham_reader_lag_bytes",
    "popham_files",
    "popham_files_bytes",
    "popham_files_records",
}


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


async def test_f_o13_metrics_have_the_names_that_are_documented(rig):
    rig.service._measures = lambda: Measures(
        agents={("on time", "held", "in sync"): 3, ("missing", "none", "pending"): 1},
        messages={("up", "http"): 7, ("down", "websocket"): 2},
        lag={0.5: 0.001, 0.99: 0.02},
        lag_buckets=((0.05, 98), (math.inf, 100)),
        lag_total=1.5,
        turned_away=7,
        links=3,
        link_rate=400.0,
        left_out={"content": 5},
        visited=12,
        visits={"made": 40, "failed": 2},
        dialled=1,
        ordered={"queued": 4},
        results={"succeeded": 6, "failed": 1},
        intake=(INTAKE,),
        ingested={"logs": 12},
        dropped={"age": 2, "malformed": 1},
    )
    answer = await rig.client("viewer").get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = families(answer.text)
    assert set(found) == NAMES
    assert "popham_build_info{" in answer.text
    assert "popham_opamp_messages_total{" in answer.text
    labels = ("presence", "link", "sync")
    agents = {tuple(map(s.labels.get, labels)): s.value for s in found["popham_agents"].samples}
    assert agents == {("on time", "held", "in sync"): 3.0, ("missing", "none", "pending"): 1.0}
    late = {s.labels.get("le", s.name[-3:]): s.value for s in found["popham_loop_late_seconds"].samples}
    assert late == {"0.05": 98.0, "+Inf": 100.0, "unt": 100.0, "sum": 1.5}
    visits = {one.labels["outcome"]: one.value for one in found["popham_visits"].samples}
    assert visits == {"made": 40.0, "failed": 2.0}
    ordered = {one.labels["state"]: one.value for one in found["popham_operation_targets"].samples}
    results = {one.labels["state"]: one.value for one in found["popham_operation_results"].samples}
    assert (ordered, results) == ({"queued": 4.0}, {"succeeded": 6.0, "failed": 1.0})
    (links,) = found["popham_links"].samples
    assert links.value == 3


async def test_f_o13_records_are_counted_by_signal_and_no_agent_is_named(rig):
    rig.service._measures = lambda: Measures(intake=(INTAKE,), ingested={"logs": 12}, dropped={"age": 2})
    found = families((await rig.client("viewer").get("/metrics")).text)
    values = {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for name, family in found.items()
        if name.startswith(("popham_ingest", "popham_segments", "popham_reader", "popham_files"))
        for sample in family.samples
    }
    assert values == {
        ("popham_ingest_records_total", "logs"): 12,
        ("popham_ingest_dropped_total", "age"): 2,
        ("popham_ingest_refused_total", "quota", "logs"): 3,
        ("popham_ingest_queue_records", "logs"): 20,
        ("popham_ingest_queue_bytes", "logs"): 400,
        ("popham_ingest_queue_seconds", "logs"): 1.5,
        ("popham_segments", "logs"): 2,
        ("popham_segments_bytes", "logs"): 5000,
        ("popham_segments_damaged", "logs"): 0,
        ("popham_reader_lag_seconds", "files", "logs"): 4,
        ("popham_reader_lag_bytes", "files", "logs"): 99,
        ("popham_files", "logs"): 6,
        ("popham_files_bytes", "logs"): 700,
        ("popham_files_records", "logs"): 80,
    }


async def test_rel_24_the_loop_s_lag_is_exported(rig):
    rig.service._measures = lambda: Measures(lag={0.99: 0.25})
    answer = await rig.client("viewer").get("/metrics")
    (sample,) = families(answer.text)["popham_loop_lag_seconds"].samples
    assert (sample.labels, sample.value) == ({"quantile": "0.99"}, 0.25)


async def test_sec_4_metrics_are_for_readers_only(rig):
    assert (await rig.client("none").get("/metrics")).status_code == 401


async def test_no_metric_names_an_agent(rig):
    answer = await rig.client("admin").get("/metrics")
    assert "web-1" not in answer.text
    assert "uid" not in answer.text
