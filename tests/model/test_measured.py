"""The measured table, and what is refused as one."""

import json

import pytest

from popham.errors import ConfigError
from popham.model.measured import BUILT_IN, Measured


def test_f_o11_a_table_is_what_it_was_after_a_file():
    assert Measured.from_dict(json.loads(json.dumps(BUILT_IN.as_dict()))) == BUILT_IN


@pytest.mark.parametrize("wrong", [None, "many", -1, 0, float("nan"), True])
def test_a_number_that_is_none_makes_no_table(wrong):
    with pytest.raises(ConfigError) as found:
        Measured.from_dict(BUILT_IN.as_dict() | {"base_mb": wrong})
    assert found.value.code == "config.measured"


def test_a_kind_of_connection_that_is_missing_makes_no_table():
    with pytest.raises(ConfigError):
        Measured.from_dict(BUILT_IN.as_dict() | {"ways": {}})


def test_what_this_program_does_not_know_is_ignored():
    assert Measured.from_dict(BUILT_IN.as_dict() | {"visits_us": 3}) == BUILT_IN
