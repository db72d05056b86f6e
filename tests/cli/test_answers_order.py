"""``popham why``: the order in which it says things."""

import pytest

WHY = {
    "name": "web-1",
    "uid": "u",
    "presence": "on time",
    "link": "none",
    "sync": "failed",
    "step": "popham check-in web-1",
    "here": "in location home because file /x",
    "since": 1_800_000_000.0,
}
REST = ["presence: on time, link: none, sync: failed"]


@pytest.mark.parametrize(
    ("sentence", "lines"),
    [
        ("has serial 3", ["web-1: has serial 3; in location home because file /x.", *REST]),
        (
            "refused: it is a directory (policy.kind). Remove it",
            [
                "web-1: refused: it is a directory (policy.kind). Remove it.",
                *REST,
                "location: home because file /x",
            ],
        ),
    ],
)
def test_f_y19_a_location_does_not_stand_behind_a_hint_and_it_is_said_since_when(
    popham, manager, sentence, lines
):
    manager.on("GET /agents/web-1/why", WHY | {"sentence": sentence})
    assert popham("why", "agent", "web-1").stdout.splitlines() == [
        *lines,
        "since: 2027-01-15T08:00:00Z",
        "next: popham check-in web-1",
    ]
