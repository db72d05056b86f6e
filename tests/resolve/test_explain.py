from popham.model.communication import CommunicationSettings, Mode, settings_from_definition
from popham.model.fleet import Group, Tree
from popham.resolve.explain import Step, explain, show_communication

TREE = Tree(
    [
        Group(
            name="fleet", inherits=False, policies={"files": "base"}, communication=CommunicationSettings()
        ),
        Group(name="branches", parent="fleet", exceptions={"files": False}, policies={"files": "motd"}),
        Group(name="paris", parent="branches"),
    ]
)


def test_every_group_of_the_lineage_says_what_it_contributes():
    assert explain(TREE, "paris", "files") == (
        Step(group="paris", inherits=True, value="", holds=False),
        Step(group="branches", inherits=False, value="motd", holds=True),
        Step(group="fleet", inherits=False, value="base", holds=False),
    )


def test_no_policy_is_a_value_too():
    assert explain(TREE, "fleet", "otelcol") == (
        Step(group="fleet", inherits=False, value="none", holds=True),
    )


def test_communication_settings_are_shown_in_words():
    assert explain(TREE, "branches", "communication")[-1].value == "Push, heartbeat 5m, spread 5m"
    pull = CommunicationSettings(mode=Mode.PULL, heartbeat=90.0, spread=0.0)
    assert show_communication(pull) == "Pull by heartbeat, heartbeat 90s, spread off"


def test_all_settings_are_shown_in_words():
    found = settings_from_definition(
        {
            "preset": "Pull by heartbeat", "download": "off", "upload": "off", "critical": "off", "accelerated": "off", "hold": "10m",
            "data": {"mode": "push"}, "metered": {"heartbeat": "6h"}, "servers": ["https://a.example"],
            "times": [{"from": "08:00", "to": "18:00", "days": "mon-fri", "mode": "push"}],
        },
        CommunicationSettings(),
    )  # fmt: skip
    assert show_communication(found) == (
        "Pull by heartbeat, heartbeat 5m, spread 5m, download off, upload off, critical off, accelerated off, data: Push, "
        "mon,tue,wed,thu,fri 08:00-18:00: push, metered: heartbeat 6h, servers https://a.example (1), hold 10m"
    )


def test_f_g3_it_is_told_from_whom_the_locations_come():
    steps = explain(TREE, "paris", "locations")
    assert [(step.group, step.value, step.holds) for step in steps] == [
        ("paris", "", False),
        ("branches", "", False),
        ("fleet", "default", True),
    ]


def test_settings_in_words_name_what_is_not_usual():
    settings = CommunicationSettings(
        mode=Mode.PULL, heartbeat=86400.0, download=False, spread=0.0, accelerated=0.0
    )
    assert (
        show_communication(settings)
        == "Pull by heartbeat, heartbeat 1d, spread off, download off, accelerated off"
    )
