"""The collector: when it looks, what another policy changes, what is kept of it all."""

import asyncio

import pytest

from popham.agent.collect.encoding import ERROR, INFO, WARN
from popham.agent.collect.tail.followed import Cause, Loss
from popham.net.probing import Found
from popham.streams.frame import Stream
from popham.testing.virtual import pass_time, run_virtual

from .collecting import Bench, want

METRICS = {"cpu": True}


def run(story, **rest):
    """Run a story with a collector, and end it."""
    bench = Bench(**rest)

    async def whole():
        bench.boot()
        try:
            await story(bench)
        finally:
            await bench.stop()

    run_virtual(whole(), bench.clock)
    assert bench.machine.closed
    return bench


def names(records):
    return [record.event_name for record in records]


# When.


def test_the_first_look_is_soon_and_the_others_are_at_the_agents_own_phase():
    async def story(bench):
        bench.collector.configure(want(interval="60s", summary=False, metrics=METRICS))
        await pass_time(200)
        assert bench.streams.times(Stream.METRICS) == pytest.approx([2.5, 15.0, 75.0, 135.0, 195.0])

    run(story, phase=0.25)


def test_agents_of_one_policy_are_spread_over_its_interval():
    beats = set()
    for number in range(20):

        async def story(bench):
            bench.collector.configure(want(interval="60s", summary=False, metrics=METRICS))
            await pass_time(121)
            beats.add(round(bench.streams.times(Stream.METRICS)[-1] % 60))

        run(story, phase=number / 20)
    assert len(beats) == 20
    assert max(beats) - min(beats) == 57


def test_a_beat_is_missed_while_a_look_is_under_way_and_never_queued():
    async def story(bench):
        bench.machine.takes = 25.0
        bench.collector.configure(
            want(interval="30s", probes=[{"name": "p", "tcp": "x:1", "interval": "10s"}])
        )
        await pass_time(100)
        # Begun at 5, 35, 65, 95: the beats between found the last look under way.
        assert bench.machine.asked["p"] == 4

    run(story)


def test_a_look_at_the_machine_that_hangs_brings_nothing_and_ends_nothing():
    async def story(bench):
        bench.machine.takes = 40.0
        bench.collector.configure(want(metrics=METRICS))
        await pass_time(300)
        assert bench.streams.points(Stream.METRICS) == []
        assert {name for name, _, _ in bench.streams.points(Stream.SUMMARY)} == {"popham.spool.records"}
        bench.machine.takes = 0.0
        await pass_time(61)
        assert bench.streams.points(Stream.METRICS)

    run(story)


def test_not_more_than_eight_looks_are_under_way_at_once():
    async def story(bench):
        bench.machine.takes = 1.0
        probes = [{"name": f"p{number}", "tcp": "x:1", "interval": "60s"} for number in range(30)]
        bench.collector.configure(want(probes=probes))
        await pass_time(20)
        assert bench.machine.most == 8
        assert all(bench.machine.asked[f"p{number}"] == 1 for number in range(30))

    run(story)


def test_wall_time_that_jumps_moves_no_beat():
    async def story(bench):
        bench.collector.configure(want(interval="60s", summary=False, metrics=METRICS))
        await pass_time(31)
        bench.clock.offset = -86_400.0
        await pass_time(120)
        assert bench.streams.times(Stream.METRICS) == pytest.approx([5.0, 30.0, 90.0, 150.0])

    run(story)


def test_f_o4_collect_looks_at_everything_now_and_returns_once_it_is_kept():
    async def story(bench):
        bench.machine.takes = 0.5
        bench.collector.configure(
            want(
                metrics=METRICS,
                logs=[{"name": "l", "paths": ["/var/log/x"]}],
                commands=[{"name": "c", "command": "look"}],
            )
        )
        await pass_time(6)
        before = bench.clock.elapsed
        await bench.collector.look_now()
        assert bench.clock.elapsed - before == pytest.approx(0.5)
        for stream in (Stream.SUMMARY, Stream.METRICS, Stream.LOGS):
            assert bench.streams.times(stream)[-1] == pytest.approx(bench.clock.elapsed)
        assert bench.files[0].collected == 1

    run(story)


def test_f_o4_nothing_is_looked_at_while_collection_is_paused():
    async def story(bench):
        bench.collector.configure(want(metrics=METRICS, logs=[{"name": "l", "paths": ["/var/log/x"]}]))
        await pass_time(31)
        bench.paused = True
        bench.collector.look_again()
        await pass_time(300)
        assert len(bench.streams.times(Stream.METRICS)) == 2
        assert bench.files[0].paused
        bench.paused = False
        bench.collector.look_again()
        await pass_time(60)
        assert len(bench.streams.times(Stream.METRICS)) == 3
        assert not bench.files[0].paused

    run(story)


# Another policy.


def test_what_another_policy_leaves_as_it_is_goes_on_as_it_was():
    async def story(bench):
        down = Found(up=False, seconds=1.0, why="cannot be reached")
        bench.machine.answers = {"a": down, "b": down}
        a, b = ({"name": name, "tcp": "x:1", "interval": "30s"} for name in "ab")
        logs = [{"name": "l", "paths": ["/var/log/x"]}]
        bench.collector.configure(want(probes=[a, b], logs=logs))
        await pass_time(40)
        before = bench.streams.times(Stream.METRICS)
        bench.collector.configure(
            want(probes=[a, b | {"timeout": "2s"}], logs=[*logs, {"name": "m", "paths": ["/var/log/y"]}])
        )
        await pass_time(1)
        # Nothing is asked anew but what changed; files go on in the same hands.
        assert bench.streams.times(Stream.METRICS) == before
        assert bench.files[0].read_now == ["l", "m"]
        await pass_time(60)
        assert (len(bench.files), len(bench.running)) == (1, 1)
        told = [record.body.string_value.split(":")[0] for record in bench.streams.records(Stream.EVENTS)]
        # That one is down is told once; the other is another probe now.
        assert sorted(told) == ["a", "b", "b"]

    run(story)


def test_a_policy_that_is_withdrawn_ends_all_of_it():
    async def story(bench):
        bench.machine.takes = 3.0
        probe = {"name": "p", "tcp": "x:1", "interval": "10s"}
        bench.collector.configure(want(probes=[probe], logs=[{"name": "l", "paths": ["/var/log/x"]}]))
        await pass_time(6)
        assert bench.machine.under_way == 2
        bench.collector.configure(None)
        await pass_time(600)
        # What was under way is dropped.
        assert bench.streams.kept == {}
        assert bench.running == []

    run(story)


# What is kept.


def test_a_summary_says_how_much_waits_in_each_stream():
    async def story(bench):
        bench.collector.configure(want(metrics=METRICS))
        await pass_time(31)
        waiting = {
            labels["popham.stream"]: value
            for name, value, labels in bench.streams.points(Stream.SUMMARY)
            if name == "popham.spool.records"
        }
        assert waiting == {"events": 0.0, "summary": 6.0 - 1.0, "metrics": 1.0, "logs": 0.0}

    run(story)


def test_a_probe_tells_each_change_and_measures_each_time():
    async def story(bench):
        bench.collector.configure(
            want(summary=False, probes=[{"name": "shop", "http": "http://x/", "interval": "10s"}])
        )
        await pass_time(21)
        assert bench.streams.records(Stream.EVENTS) == []
        bench.machine.answers["shop"] = Found(up=False, seconds=0.2, why="answered with status 500")
        await pass_time(20)
        bench.machine.answers["shop"] = Found(up=None, why="cannot be asked")
        await pass_time(10)
        del bench.machine.answers["shop"]
        await pass_time(10)
        events = bench.streams.records(Stream.EVENTS)
        assert [event.severity_number for event in events] == [ERROR, WARN, INFO]
        assert set(names(events)) == {"popham.probe"}
        assert events[0].body.string_value == "shop: http://x/ answered with status 500"
        labels = {one.key: one.value.string_value for one in events[0].attributes}
        assert labels == {
            "popham.source": "shop",
            "popham.probe.type": "http",
            "popham.probe.target": "http://x/",
            "popham.probe.state": "down",
        }
        ups = [value for name, value, _ in bench.streams.points(Stream.METRICS) if name == "popham.probe.up"]
        assert ups == [1.0, 1.0, 0.0, 0.0, 1.0]

    run(story)


def test_a_command_brings_its_lines_or_its_number_and_tells_when_it_fails():
    async def story(bench):
        bench.machine.printed = {"lines": (0, b"one\ntw\xff\n"), "number": (0, b" 4.5 \nmore\n")}
        commands = [
            {"name": "l", "command": "lines", "interval": "10s"},
            {"name": "n", "command": "number", "interval": "10s", "into": "metrics"},
        ]
        bench.collector.configure(want(summary=False, commands=commands))
        await pass_time(6)
        assert [one.body.string_value for one in bench.streams.records(Stream.LOGS)] == ["one", "tw\ufffd"]
        found = ("popham.command.value", 4.5, {"popham.source": "n"})
        assert bench.streams.points(Stream.METRICS) == [found] * len(bench.streams.points(Stream.METRICS))
        bench.machine.printed = {"lines": (3, b"no\n"), "number": (0, b"many\n")}
        await pass_time(20)
        events = bench.streams.records(Stream.EVENTS)
        assert sorted(one.body.string_value for one in events) == [
            "l: the command 'lines' ended with exit status 3",
            "n: the command 'number' printed no number on its first line",
        ]
        assert set(names(events)) == {"popham.command"}
        lines = len(bench.streams.records(Stream.LOGS))
        bench.machine.printed = {}
        await pass_time(10)
        assert [one.severity_number for one in bench.streams.records(Stream.EVENTS)[2:]] == [INFO, INFO]
        assert len(bench.streams.records(Stream.LOGS)) == lines + 1

    run(story)


@pytest.mark.parametrize("printed", [b"", b"nan\n", b"inf\n", b"1,5\n", b"1" * 65, b"0x10\n"])
def test_what_is_no_number_is_none(printed):
    async def story(bench):
        bench.machine.printed = {"number": (0, printed)}
        bench.collector.configure(
            want(summary=False, commands=[{"name": "n", "command": "number", "into": "metrics"}])
        )
        await pass_time(6)
        assert bench.streams.points(Stream.METRICS) == []
        assert len(bench.streams.records(Stream.EVENTS)) == 1

    run(story)


def test_what_of_a_file_was_gone_before_it_was_read_is_an_event():
    async def story(bench):
        bench.collector.configure(want(summary=False, logs=[{"name": "l", "paths": ["/var/log/x"]}]))
        await pass_time(1)
        bench.lost(Loss("l", "/var/log/x", 12, Cause.TRUNCATED))
        await pass_time(1)
        (event,) = bench.streams.records(Stream.EVENTS)
        assert event.event_name == "popham.log.lost"
        assert (
            event.body.string_value == "l: 12 bytes of /var/log/x were gone before they were read (truncated)"
        )

    run(story)


def test_f_d3_what_a_full_disk_does_not_take_is_counted_and_the_collector_goes_on():
    async def story(bench):
        bench.streams.full = {Stream.METRICS}
        bench.collector.configure(want(interval="10s", metrics=METRICS))
        await pass_time(60)
        assert sum(bench.streams.lost.values()) == 6
        assert {(stream, str(cause)) for stream, cause in bench.streams.lost} == {(Stream.METRICS, "disk")}
        bench.streams.full = set()
        await pass_time(11)
        assert bench.streams.points(Stream.METRICS)

    run(story)


def test_who_listens_hears_what_was_measured():
    async def story(bench):
        heard = []
        bench.collector.sampled.append(heard.extend)
        bench.collector.configure(want(metrics=METRICS, probes=[{"name": "p", "tcp": "x:1"}]))
        await pass_time(11)
        assert {sample.name for sample in heard} >= {"measured", "system.cpu.utilization", "popham.probe.up"}

    run(story)


def test_a_look_that_fails_by_a_fault_of_ours_ends_neither_the_agent_nor_the_others(caplog):
    async def story(bench):
        bench.machine.measure = lambda _wanted: 1 / 0
        bench.collector.configure(want(metrics=METRICS))
        await pass_time(61)
        assert len(bench.streams.times(Stream.SUMMARY)) >= 2
        assert "a look failed" in caplog.text

    run(story)


async def test_without_a_policy_nothing_waits_for_a_timer():
    bench = Bench()
    bench.boot()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not bench.task.done()
    await bench.stop()
