"""Thresholds on the agent: when something becomes a warning, an error, and is over again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from popham.agent.collect import thresholds as module
from popham.agent.collect.sample import Sample, SampleKind
from popham.agent.collect.thresholds import ABSENT, Key, Level, Thresholds, fits, resource_of

from .collecting import want

ITEM = "system.filesystem.utilization"
STRICT = {"warning": {"above": 0.8}, "error": {"above": 0.9}}
NIGHT = {"when": [{"from": "22:00", "to": "06:00", "days": "fri"}]}


def watch(*specs, held=(), minute=0, weekday=0):
    """Return thresholds that hold, in a machine that is always at one time of day."""
    found = Thresholds(held, local=lambda _at: (weekday, minute), now=0.0)
    found.configure(wanted(*specs), at=0.0)
    return found


def wanted(*specs):
    """Return thresholds of a policy; of the filesystem, where nothing else is said."""
    return want(
        thresholds=[{"name": f"t{n}", "item": ITEM, **spec} for n, spec in enumerate(specs)]
    ).thresholds


def look(thresholds, value, now, mount="/var", *, keep=True):
    """Measure once; return what is told by it: (resource, level, reason)."""
    attributes = {"system.filesystem.mountpoint": mount} if mount else {}
    sample = Sample(name=ITEM, unit="1", value=value, at=now, attributes=attributes)
    thresholds.evaluate([sample], now=now, at=now)
    changes = list(thresholds.changes())
    if keep:
        thresholds.kept(changes)
    return [(change.key.resource, change.level.word, change.reason) for change in changes]


def told(thresholds, values, start=0.0):
    """Measure every minute; return the levels that were told, None where nothing was."""
    found = []
    for number, value in enumerate(values):
        changes = look(thresholds, value, start + 60.0 * number)
        found.append(changes[0][1] if changes else None)
    return found


def test_f_d10_a_threshold_tells_warning_error_and_recovered_once_each():
    values = [0.5, 0.85, 0.85, 0.95, 0.95, 0.85, 0.1, 0.1]
    assert told(watch(STRICT), values) == [
        None, "warning", None, "error", None, "warning", "recovered", None,
    ]  # fmt: skip
    below = {"warning": {"below": 0.2}, "error": {"below": 0.1}}
    assert told(watch(below), [0.5, 0.15, 0.05, 0.5]) == [None, "warning", "error", "recovered"]


def test_f_d10_n_of_m_samples_must_be_so_and_it_is_over_once_fewer_are():
    values = [0.95, 0.1, 0.95, 0.95, 0.1, 0.1]
    assert told(watch({**STRICT, "samples": "2 of 3"}), values) == [
        None, None, "error", None, None, "recovered",
    ]  # fmt: skip


def test_f_d10_what_flaps_within_the_hysteresis_is_told_once():
    values = [0.95, 0.89, 0.91, 0.89, 0.84]
    assert told(watch({"error": {"above": 0.9}, "hysteresis": 0.05}), values) == [
        "error", None, None, None, "recovered",
    ]  # fmt: skip


def test_f_d10_a_threshold_holds_at_its_times_of_day_and_what_was_raised_is_over_when_they_end():
    spec = {"error": {"above": 0.9}, **NIGHT}
    assert told(watch(spec, weekday=4, minute=12 * 60), [0.95]) == [None]
    assert told(watch(spec, weekday=4, minute=23 * 60), [0.95]) == ["error"]
    assert told(watch(spec, weekday=5, minute=60), [0.95]) == ["error"]
    key = Key("t0", ITEM, "/var")
    late = watch(spec, held=[(key, Level.ERROR, 60.0)], weekday=5, minute=6 * 60)
    assert look(late, 0.95, 1.0) == [("/var", "recovered", "time")]


def test_f_d10_a_resource_is_meant_by_a_wildcard_over_its_attributes():
    mount = {
        "system.filesystem.mountpoint": "/var/log",
        "system.device": "/dev/sda1",
        "system.filesystem.type": "ext4",
    }
    state = "system.filesystem.state"
    assert resource_of({**mount, state: "used"}) == "/var/log"
    assert fits("*", {})
    assert fits("/var*", {**mount, state: "used"})
    assert fits("/dev/sda?", mount)
    assert not fits("/srv*", mount)
    # What is free is no use of it: a rule for all would find an empty disk full.
    assert not fits("*", {**mount, state: "free"})
    assert fits("* free", {"system.device": "x", state: "free"})
    assert not fits("*", {"cpu.mode": "idle"})
    assert fits("iowait", {"cpu.mode": "iowait"})


def test_a_restart_tells_no_false_recovered_and_nothing_twice():
    spec = {"error": {"above": 0.9}, "samples": "2 of 3"}
    held = [(Key("t0", ITEM, "/var"), Level.ERROR, 60.0)]
    # The samples before the start may have been so: it is over when that makes no difference.
    assert told(watch(spec, held=held), [0.1, 0.1, 0.1]) == [None, "recovered", None]
    assert told(watch(spec, held=held), [0.95, 0.95, 0.95]) == [None, None, None]


def test_what_was_not_kept_is_told_again_and_what_turned_back_is_not_told_at_all():
    thresholds = watch({"error": {"above": 0.9}})
    assert look(thresholds, 0.95, 0.0, keep=False) == [("/var", "error", "")]
    assert look(thresholds, 0.95, 1.0, keep=False) == [("/var", "error", "")]
    assert thresholds.raised() == []
    assert look(thresholds, 0.1, 2.0) == []


def test_a_withdrawn_threshold_that_was_raised_says_recovered():
    thresholds = watch({"error": {"above": 0.9}})
    look(thresholds, 0.95, 0.0)
    thresholds.configure((), at=5.0)
    (change,) = thresholds.changes()
    assert (change.level, change.reason, change.at) == (Level.RECOVERED, "withdrawn", 5.0)
    # It comes back before that was kept: nothing happened.
    thresholds.configure(wanted({"error": {"above": 0.9}}), at=6.0)
    assert list(thresholds.changes()) == []
    thresholds.configure((), at=7.0)
    thresholds.kept(thresholds.changes())
    assert thresholds.raised() == [] == list(thresholds.changes())


def test_what_is_measured_no_more_is_over_after_a_while_but_not_for_a_pause():
    thresholds = watch({"error": {"above": 0.9}})
    look(thresholds, 0.95, 0.0)
    look(thresholds, 0.95, 60.0)
    assert look(thresholds, 0.1, 61.0 + 10 * ABSENT, mount="/") == []
    for minute in range(1, 15):
        assert look(thresholds, 0.1, 61.0 + 10 * ABSENT + 60.0 * minute, mount="/") == []
    assert look(thresholds, 0.1, 62.0 + 11 * ABSENT, mount="/") == [("/var", "recovered", "absent")]


def test_of_two_looks_the_more_exact_one_counts_and_sums_and_no_numbers_do_not():
    thresholds = watch({"error": {"above": 0.9}})
    mount = {"system.filesystem.mountpoint": "/"}
    exact = mount | {"system.device": "x", "system.filesystem.state": "used"}

    def measure(value, attributes, now, **more):
        sample = Sample(name=ITEM, unit="1", value=value, at=now, attributes=attributes, **more)
        thresholds.evaluate([sample], now=now, at=now)
        changes = list(thresholds.changes())
        thresholds.kept(changes)
        return [change.level for change in changes]

    assert measure(0.95, exact, 1.0) == [Level.ERROR]
    assert measure(0.1, mount, 2.0) == []
    assert measure(float("nan"), exact, 3.0) == []
    assert measure(0.1, exact, 4.0, kind=SampleKind.SUM) == []
    assert measure(0.1, exact, 5.0) == [Level.RECOVERED]


def test_states_are_bounded_and_what_is_beyond_them_is_counted(monkeypatch):
    monkeypatch.setattr(module, "STATES_MAX", 3)
    thresholds = watch({"error": {"above": 0.9}})
    for number in range(5):
        look(thresholds, 0.95, float(number), mount=f"/{number}")
    assert len(thresholds.raised()) == 3
    assert thresholds.beyond == 2
    assert look(thresholds, 0.1, 9.0, mount="/0") == [("/0", "recovered", "")]


VALUES = st.lists(st.floats(0, 1), max_size=40)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.integers(1, 4), st.integers(0, 4), st.lists(st.booleans(), min_size=40, max_size=40))
def test_what_is_told_is_each_level_once_whatever_is_not_kept_and_how_often_it_restarts(
    values, needed, more, starts
):
    spec = {**STRICT, "samples": f"{needed} of {needed + more}"}
    thresholds, last = watch(spec), "recovered"
    levels = []
    for number, value in enumerate(values):
        if starts[number]:
            thresholds = watch(spec, held=thresholds.raised())
        levels.append(Level.ERROR if value > 0.9 else Level.WARNING if value > 0.8 else Level.RECOVERED)
        for _, level, _ in look(thresholds, value, 60.0 * number, keep=number % 3 > 0):
            if number % 3:
                assert level != last
                last = level
    if len(values) >= needed + more and not any(starts[: len(values)]) and len(values) % 3 != 1:
        newest = levels[-(needed + more) :]
        expected = max(
            (at for at in Level if sum(one >= at for one in newest) >= needed), default=Level.RECOVERED
        )
        assert last == expected.word
