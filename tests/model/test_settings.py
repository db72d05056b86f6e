"""All communication settings: as people write them, as they stand in a bundle, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.cell import Cell, Dialer, Mode
from popham.model.communication import CommunicationSettings, settings_from_definition
from popham.model.schedule import DAYS, Override, Period
from popham.model.servers import Server

DEFAULT = CommunicationSettings()
seconds = st.integers(1, 604800).map(float)
overrides = st.builds(
    Override,
    mode=st.none() | st.sampled_from(Mode),
    dialer=st.none() | st.sampled_from(Dialer),
    heartbeat=st.none() | seconds,
).filter(lambda one: one != Override())
periods = st.builds(
    Period,
    days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    begin=st.integers(0, 1440),
    end=st.integers(0, 1440),
    override=overrides,
)
servers = st.lists(
    st.builds(Server, st.integers(1, 100), st.integers(0, 99).map("https://m{}.example:4320".format)),
    max_size=4, unique_by=lambda one: one.url,
).map(lambda found: tuple(sorted(found)))  # fmt: skip
settings = st.builds(
    CommunicationSettings,
    mode=st.sampled_from(Mode),
    dialer=st.sampled_from(Dialer),
    heartbeat=seconds,
    spread=st.integers(0, 300).map(float),
    download=st.booleans(),
    upload=st.booleans(),
    critical=st.booleans(),
    accelerated=st.integers(0, 60).map(float),
    data=st.none() | st.builds(Cell, mode=st.sampled_from(Mode), dialer=st.sampled_from(Dialer)),
    times=st.lists(periods, max_size=3).map(tuple),
    metered=st.none() | overrides,
    servers=servers,
    hold=st.integers(0, 86400).map(float),
)


def write_override(found):
    named = {"mode": found.mode and str(found.mode), "dialer": found.dialer and str(found.dialer)}
    named["heartbeat"] = found.heartbeat and f"{int(found.heartbeat)}s"
    return {key: value for key, value in named.items() if value}


def write_minute(minute):
    return f"{minute // 60:02}:{minute % 60:02}"


def write(found):
    """Return settings as somebody would write them."""
    return {
        "mode": str(found.mode),
        "dialer": str(found.dialer),
        "heartbeat": f"{int(found.heartbeat)}s",
        "spread": f"{int(found.spread)}s",
        "accelerated": f"{int(found.accelerated)}s" if found.accelerated else "off",
        "hold": f"{int(found.hold)}s",
        **{name: getattr(found, name) for name in ("download", "upload", "critical")},
        "data": found.data and found.data.as_dict(),
        "metered": found.metered and write_override(found.metered),
        "servers": [one.as_dict() for one in found.servers] or None,
        "times": [
            {
                "from": write_minute(one.begin),
                "to": write_minute(one.end),
                "days": ",".join(DAYS[day] for day in one.days),
                **write_override(one.override),
            }
            for one in found.times
        ]
        or None,
    }


@given(settings)
def test_f_c1_all_settings_come_back_from_a_bundle(found):
    assert CommunicationSettings.from_dict(found.as_dict()) == found


@given(settings, settings)
def test_f_c1_all_settings_come_back_from_a_definition_whatever_held_before(found, base):
    assert settings_from_definition(write(found), base) == found


@given(settings)
def test_f_c1_what_a_definition_does_not_name_stays(found):
    assert settings_from_definition({}, found) == found


def test_f_c1_the_defaults_stand_in_a_bundle_as_v0_1_0_wrote_them():
    assert DEFAULT.as_dict() == {"mode": "push", "dialer": "agent", "heartbeat": 300.0, "spread": 300.0}


@given(settings, st.integers(0, 6), st.integers(0, 1439), st.booleans())
def test_f_c7_the_hour_moves_mode_dialer_and_heartbeat_only(found, weekday, minute, metered):
    held = found.at(weekday, minute, metered=metered)
    assert (held.mode, held.dialer) in {(mode, dialer) for mode in Mode for dialer in found.dialers}
    assert (held.servers, held.download, held.spread, held.hold) == (
        found.servers, found.download, found.spread, found.hold,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"heartbeat": "5x"}, "duration"), ({"heartbeat": "99999999999d"}, "duration"), ({"spread": "6m"}, "spread"), ({"accelerated": "61s"}, "accelerated"),
        ({"hold": "25h"}, "hold"), ({"servers": []}, "servers"), ({"download": "maybe"}, "flag"), ({"upload": []}, "flag"), ({"critical": {}}, "flag"), ({"download": None}, "flag"),
        ({"data": "pull"}, "form"), ({"data": {}}, "form"), ({"data": {"mode": "pull", "heartbeat": "1m"}}, "form"), ({"data": {"mode": []}}, "word"),
        ({"data": {"preset": "Push", "mode": "pull"}}, "preset"), ({"times": {}}, "schedule"), ({"metered": []}, "form"), ({"preset": None}, "word"), ({"mode": {}}, "word"),
    ],
)  # fmt: skip
def test_f_c1_bad_settings_are_refused_with_a_code_and_a_hint(spec, reason):
    with pytest.raises(DefinitionError) as caught:
        settings_from_definition(spec, DEFAULT)
    assert caught.value.code == f"definition.{reason}"
    assert caught.value.hint


def test_f_c1_switches_may_be_written_as_words():
    found = settings_from_definition({"download": "off", "upload": False, "accelerated": "off", "spread": "on"}, DEFAULT)  # fmt: skip
    assert (found.download, found.upload, found.accelerated, found.spread) == (False, False, 0.0, 300.0)


def test_f_c1_null_takes_away_what_may_be_missing():
    full = settings_from_definition(
        {"data": {"mode": "pull"}, "metered": {"mode": "pull"}, "servers": ["https://a.example"]}, DEFAULT
    )
    assert (
        settings_from_definition({"data": None, "metered": None, "servers": None, "times": None}, full)
        == DEFAULT
    )
