"""The newest of every agent: in its row, and in memory."""

import json
import random

from tests.manager.summary.feeding import CPU, MOUNTED, NOW, UIDS

from popham.manager.summary.items import LOAD, MEMORY, NETWORK, KeyMetrics, Point, resource_of
from popham.manager.summary.newest import FORGOTTEN, VALUES_MAX, Newest, brief_of, items_of, merge

UID = UIDS[1]


def point(item, value, at, resource=""):
    return Point(item, resource, round(at * 1e9), value, "1")


def test_f_o1_the_newest_value_of_each_item_counts_in_whatever_order_frames_come():
    points = [point(item, at, NOW + at) for item in (CPU, MEMORY) for at in range(20)]
    for seed in range(5):
        random.Random(seed).shuffle(points)
        row = None
        for first in range(0, len(points), 7):
            row = merge(row, UID, points[first : first + 7], NOW + 30)
        held = items_of(row)
        assert {item: held[item][""]["value"] for item in held} == {CPU: 19, MEMORY: 19}
        assert (row.at, row.received) == (NOW + 19, NOW + 30)


def test_a_row_forgets_what_came_no_more_and_is_bounded():
    row = merge(None, UID, [point(CPU, 0.5, NOW)], NOW)
    row = merge(row, UID, [point(MEMORY, 0.5, NOW + FORGOTTEN + 1)], NOW)
    assert list(items_of(row)) == [MEMORY]
    many = [point("x", number, NOW + number / 1000, str(number)) for number in range(VALUES_MAX + 5)]
    row = merge(None, UID, many, NOW)
    assert json.loads(row.body)["left_out"] == 5
    assert len(items_of(row)["x"]) == VALUES_MAX
    assert "0" not in items_of(row)["x"]


def test_f_o1_key_metrics_are_those_that_were_sampled_last():
    newest = Newest()
    points = [
        *(point(CPU, 0.25, NOW), point(MEMORY, 0.5, NOW), point(LOAD, 1.5, NOW)),
        *(point(NETWORK, 1000.0, NOW, "receive"), point(NETWORK, 500.0, NOW, "transmit")),
        # It was the fullest a minute ago.
        *(point(MOUNTED, 0.99, NOW - 60, "/var"), point(MOUNTED, 0.7, NOW, "/home")),
    ]
    newest.note([brief_of(merge(None, UID, points, NOW + 1))])
    found = newest.of(UID)
    assert (found.at, found.received) == (NOW, NOW + 1)
    assert found.metrics == KeyMetrics(
        cpu=0.25, memory=0.5, filesystem=0.7, load=1.5, network=1500.0, mount="/home"
    )


def test_what_is_not_sampled_any_more_is_not_known():
    newest = Newest()
    points = [point(CPU, 0.25, NOW - 3600), point(MEMORY, 0.5, NOW)]
    newest.note([brief_of(merge(None, UID, points, NOW))])
    assert newest.of(UID).metrics == KeyMetrics(memory=0.5)
    assert newest.of(UIDS[2]) is None


def test_rel_4_what_was_dated_by_a_clock_of_ours_that_ran_ahead_stands_in_nobodys_way():
    newest, ahead = Newest(), 10 * 365 * 86_400
    row = merge(None, UID, [point(CPU, 0.9, NOW + ahead), point(MEMORY, 0.9, NOW + ahead)], NOW + ahead)
    newest.note([brief_of(row)])
    row = merge(row, UID, [point(CPU, 0.1, NOW)], NOW)
    newest.note([brief_of(row)])
    assert (row.at, row.received, items_of(row).keys()) == (NOW, NOW, {CPU})
    assert newest.of(UID).metrics == KeyMetrics(cpu=0.1)


def test_a_resource_is_named_by_the_values_of_its_attributes():
    assert resource_of("{}") == ""
    assert resource_of('{"system.filesystem.mountpoint":"/var"}') == "/var"
    assert resource_of('{"b":"receive","a":"eth0"}') == "eth0 receive"
