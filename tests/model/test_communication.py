import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.communication import (
    HEARTBEAT_MAX,
    PRESETS,
    CommunicationSettings,
    Dialer,
    Mode,
    Preset,
    parse_duration,
    settings_from_definition,
    show_duration,
)

DEFAULT = CommunicationSettings()


def test_f_c1_the_default_is_push_dialled_by_the_agent_every_five_minutes():
    assert (DEFAULT.mode, DEFAULT.dialer, DEFAULT.heartbeat, DEFAULT.spread) == (
        "push",
        "agent",
        300.0,
        300.0,
    )
    assert DEFAULT.preset is Preset.PUSH


@pytest.mark.parametrize(("cell", "preset"), PRESETS.items(), ids=str)
def test_f_c1_a_preset_and_its_mode_and_dialer_say_the_same(cell, preset):
    mode, dialer = cell
    by_name = settings_from_definition({"preset": str(preset)}, DEFAULT)
    by_words = settings_from_definition({"mode": str(mode), "dialer": str(dialer)}, DEFAULT)
    assert by_name == by_words
    assert by_name.preset is preset


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("30m", 1800), ("24h", 86400), ("7d", 604800), ("1.5h", 5400)],
)
def test_f_c1_a_heartbeat_is_written_with_its_unit(text, seconds):
    assert settings_from_definition({"heartbeat": text}, DEFAULT).heartbeat == seconds


@pytest.mark.parametrize("value", ["0s", "0.5s", "8d", "169h"])
def test_f_c1_a_heartbeat_out_of_range_is_refused(value):
    with pytest.raises(DefinitionError, match="outside 1 s to 7 days") as caught:
        settings_from_definition({"heartbeat": value}, DEFAULT)
    assert caught.value.code == "definition.heartbeat"


@pytest.mark.parametrize("value", [300, 300.0, "300", "5 m", "m", "-5m", "", None, True, "1e3s", "٣m"])
def test_a_heartbeat_without_a_unit_is_refused(value):
    with pytest.raises(DefinitionError) as caught:
        settings_from_definition({"heartbeat": value}, DEFAULT)
    assert caught.value.code == "definition.duration"


@pytest.mark.parametrize(
    ("value", "seconds"), [("on", 300.0), (True, 300.0), ("off", 0.0), (False, 0.0), ("1m", 60.0)]
)
def test_the_spread_is_a_switch_or_a_duration(value, seconds):
    assert settings_from_definition({"spread": value}, DEFAULT).spread == seconds


@pytest.mark.parametrize(
    ("value", "code"),
    [(1, "duration"), (0, "duration"), (60.0, "duration"), ("6m", "spread"), ("maybe", "duration")],
)
def test_a_spread_without_a_unit_or_out_of_range_is_refused(value, code):
    with pytest.raises(DefinitionError) as caught:
        settings_from_definition({"spread": value}, DEFAULT)
    assert caught.value.code == f"definition.{code}"


def test_a_preset_beside_a_mode_is_refused():
    with pytest.raises(DefinitionError) as caught:
        settings_from_definition({"preset": "Push", "mode": "pull"}, DEFAULT)
    assert caught.value.code == "definition.preset"


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ({"mode": "pul"}, "pull"),
        ({"preset": "Pull by hartbeat"}, "Pull by heartbeat"),
        ({"dialer": "agnet"}, "agent"),
    ],
)
def test_a_wrong_word_names_the_nearest_right_one(spec, hint):
    with pytest.raises(DefinitionError) as caught:
        settings_from_definition(spec, DEFAULT)
    assert caught.value.code == "definition.word"
    assert hint in caught.value.hint


def test_an_unknown_setting_names_the_nearest_right_one():
    with pytest.raises(DefinitionError) as caught:
        settings_from_definition({"hartbeat": "5m"}, DEFAULT)
    assert (caught.value.code, caught.value.hint) == ("definition.unknown_key", "Did you mean 'heartbeat'?")


def test_another_dialer_brings_its_own_default_heartbeat():
    visited = settings_from_definition({"preset": "Pull by visit"}, DEFAULT)
    assert visited.heartbeat == 600.0
    assert settings_from_definition({"preset": "Pull by heartbeat"}, visited).heartbeat == 300.0
    assert settings_from_definition({"dialer": "manager", "heartbeat": "1h"}, DEFAULT).heartbeat == 3600.0


def test_what_is_not_named_stays():
    base = CommunicationSettings(mode=Mode.PULL, heartbeat=60.0, spread=10.0)
    assert settings_from_definition({}, base) == base
    assert settings_from_definition({"mode": "push"}, base).heartbeat == 60.0


def test_the_window_never_exceeds_the_heartbeat():
    assert CommunicationSettings(heartbeat=10.0).window == 10.0
    assert CommunicationSettings(heartbeat=86400.0).window == 300.0
    assert CommunicationSettings(spread=0.0).window == 0.0


SETTINGS = st.builds(
    CommunicationSettings,
    mode=st.sampled_from(Mode),
    dialer=st.sampled_from(Dialer),
    heartbeat=st.floats(1, HEARTBEAT_MAX) | st.integers(1, 604800),
    spread=st.floats(0, 300) | st.integers(0, 300),
)


@given(SETTINGS)
def test_settings_are_read_back_as_they_stand_in_a_bundle(settings):
    assert CommunicationSettings.from_dict(settings.as_dict()) == settings
    assert CommunicationSettings.from_dict(settings.as_dict()).as_dict() == settings.as_dict()


def test_what_a_newer_manager_adds_to_the_settings_is_ignored():
    assert CommunicationSettings.from_dict(DEFAULT.as_dict() | {"tomorrow": False}) == DEFAULT


@given(st.integers(1, 604800))
def test_a_duration_is_shown_as_it_may_be_written(seconds):
    assert parse_duration(show_duration(float(seconds)), "heartbeat") == seconds
