"""``popham bench``: the table that plans reckon with."""

import json
from dataclasses import replace

import pytest

from popham.manager.costs import read_measured
from popham.model.measured import BUILT_IN, FILE
from popham.testing import calibration


@pytest.fixture
def state(tmp_path):
    path = tmp_path / "manager"
    path.mkdir()
    (path / "FORMAT").write_text("popham-manager 1\n")
    return path


@pytest.fixture
def measured(monkeypatch):
    """What a measurement would find; the real one runs in tests/system."""
    found = replace(BUILT_IN, base_mb=77.0, source="popham bench --calibrate on this machine")
    monkeypatch.setattr(calibration, "calibrate", lambda say: (say("a Manager without agents"), found)[1])
    return found


def test_f_o11_the_built_in_table_is_shown_with_its_source(popham, state):
    found = popham("bench", "--state", str(state))
    assert found.exit_code == 0
    assert "mutual TLS" in found.stdout
    assert "Source: built in, measured on 2 cores" in found.stdout


def test_f_o11_a_calibration_is_written_for_the_manager_and_shown(popham, state, measured):
    found = popham("bench", "--calibrate", "--state", str(state))
    assert (found.exit_code, read_measured(state)) == (0, measured)
    assert "A Manager without agents: 77 MB" in found.stdout
    assert "measuring: a Manager without agents" in found.stderr
    assert json.loads(popham("bench", "--state", str(state), "-o", "json").stdout) == measured.as_dict()


def test_a_dry_run_writes_nothing(popham, state, measured):
    assert popham("bench", "--calibrate", "--dry-run", "--state", str(state)).exit_code == 0
    assert not (state / FILE).exists()


def test_a_directory_that_is_none_of_a_manager_is_refused_before_a_minute_is_spent(
    popham, tmp_path, measured
):
    found = popham("bench", "--calibrate", "--state", str(tmp_path))
    assert found.exit_code == 1
    assert "state.missing" in found.stderr
    assert "measuring" not in found.stderr


def test_a_table_that_is_none_is_one_sentence(popham, state):
    (state / FILE).write_text("[]")
    found = popham("bench", "--state", str(state))
    assert found.exit_code == 78
    assert "(config.measured). Make it again: popham bench --calibrate." in found.stderr
