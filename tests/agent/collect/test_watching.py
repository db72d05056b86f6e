"""Thresholds in the collector: events that are durable before a state is, and states that outlive the process."""

import pytest

from popham.agent.collect.collection import FILE
from popham.agent.collect.encoding import ERROR, INFO, Encoder
from popham.agent.collect.sample import Sample
from popham.agent.collect.watching import Watching
from popham.agent.storage import MemoryStorage
from popham.streams.frame import Stream
from popham.testing.virtual import pass_time, run_virtual

from .collecting import Bench, want

FULL = {"name": "busy", "item": "system.cpu.utilization", "error": {"above": 0.4}, "text": "See page 7."}


def make(bench, storage):
    return Watching(bench.streams, storage=storage, clock=bench.clock, encoder=Encoder({}))


def cpu(value, clock):
    return [Sample(name="system.cpu.utilization", unit="1", value=value, at=clock.now())]


def run(story):
    bench = Bench()

    async def whole():
        await story(bench, MemoryStorage())

    run_virtual(whole(), bench.clock)


def events(bench):
    return bench.streams.records(Stream.EVENTS)


def test_f_c5_a_change_is_an_event_at_the_look_that_found_it():
    async def story(bench, storage):
        watching = make(bench, storage)
        wanted = want(interval="60s", thresholds=[FULL])
        await watching.configure(wanted.thresholds)
        bench.boot().sampled.append(watching.evaluate)
        bench.collector.configure(wanted)
        await pass_time(200)
        (event,) = events(bench)
        assert (event.event_name, event.severity_number) == ("popham.threshold", ERROR)
        assert event.body.string_value == "system.cpu.utilization is 0.5, above 0.4"
        assert {one.key: one.value.string_value for one in event.attributes} == {
            "popham.threshold": "busy",
            "popham.item": "system.cpu.utilization",
            "popham.state": "error",
            "popham.value": "0.5",
            "popham.bound": "above 0.4",
            "popham.text": "See page 7.",
        }
        assert bench.streams.times(Stream.EVENTS) == [bench.streams.times(Stream.SUMMARY)[0]]
        await bench.stop()

    run(story)


def test_f_d10_states_outlive_the_process_and_a_threshold_that_was_withdrawn_meanwhile_recovers():
    async def story(bench, storage):
        first = make(bench, storage)
        await first.configure(want(thresholds=[FULL]).thresholds)
        await first.evaluate(cpu(0.9, bench.clock))
        assert FILE in storage.files
        second = make(bench, storage)
        await second.configure(want(thresholds=[FULL]).thresholds)
        await second.evaluate(cpu(0.9, bench.clock))
        assert len(events(bench)) == 1
        await make(bench, storage).configure(())
        assert [one.severity_number for one in events(bench)] == [ERROR, INFO]
        assert events(bench)[1].body.string_value.endswith("recovered: its threshold was withdrawn")
        assert FILE not in storage.files

    run(story)


def test_what_the_disk_did_not_take_is_told_with_the_next_sample(caplog):
    async def story(bench, storage):
        watching = make(bench, storage)
        await watching.configure(want(thresholds=[FULL]).thresholds)
        bench.streams.full.add(Stream.EVENTS)
        for _ in range(3):
            await watching.evaluate(cpu(0.9, bench.clock))
        assert FILE not in storage.files
        bench.streams.full.clear()
        await watching.evaluate(cpu(0.9, bench.clock))
        assert len(events(bench)) == 1
        assert FILE in storage.files

    run(story)
    assert caplog.text.count("are told later") == 1


@pytest.mark.parametrize("held", [b"nonsense", b'[["t","i","r",9,1.0]]'])
def test_a_file_that_nobody_can_read_is_a_warning_and_no_end(held, caplog):
    async def story(bench, storage):
        storage.files[FILE] = held
        await make(bench, storage).configure(())
        assert events(bench) == []

    run(story)
    assert "are not known any more" in caplog.text
