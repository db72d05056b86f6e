"""``popham op`` of so many agents that the Manager wants a yes."""

import pytest

MADE = {
    "name": "op3",
    "kind": "restart",
    "args": {},
    "state": "over",
    "counts": {"succeeded": 130},
    "targets": 130,
    "unknown": [],
    "ambiguous": [],
}


@pytest.mark.parametrize("words", [("restart",), ("rotate-key",), ("apply",), ("run", "look")])
def test_f_o4_a_yes_is_said_where_a_mistake_could_reach_everybody(popham, manager, words):
    manager.on("POST /operations", MADE)
    assert popham("op", *words, "--all", "--yes").exit_code == 0
    assert popham("op", *words, "--all").exit_code == 0
    assert [body.get("yes") for _, _, body in manager.requests] == [True, None]


def test_what_harms_nobody_needs_none(popham):
    assert popham("op", "check-in", "--all", "--yes").exit_code == 64
