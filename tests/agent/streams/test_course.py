"""When the records of one stream are due, and which of them upstream lacks."""

import math
from types import SimpleNamespace

import pytest

from popham.agent.streams.course import LINGER, Course
from popham.agent.streams.spools import View
from popham.link.backoff import Backoff
from popham.streams.frame import Stream
from popham.streams.spool import Continue
from popham.streams.standing import Range, Standing


def begun(stream, **rest):
    return Course(stream, Backoff(lambda: 0.5), **rest)


def view(end, first=0, epoch=1):
    return View(epoch=epoch, first=first, next=end, waiting=end - first, bytes=0, oldest=None, lost={})


def due(course, end, now=10.0, *, pulls=False, critical=True):
    return course.wait(view(end), now, pulls=pulls, critical=critical)


def test_push_sends_what_there_is_and_nothing_where_there_is_nothing():
    course = begun(Stream.LOGS)
    assert due(course, 5) <= 0
    assert due(course, 0) == math.inf
    course.first = 5
    assert due(course, 5) == math.inf


def test_push_lets_records_wait_a_moment_for_each_other_but_never_events():
    logs, events = begun(Stream.LOGS), begun(Stream.EVENTS)
    for course in (logs, events):
        course.appended(10.0)
        course.appended(10.05)
    assert due(logs, 2) == pytest.approx(LINGER)
    assert due(events, 2) <= 0


def test_pull_sends_what_was_there_when_it_was_let_go():
    course = begun(Stream.LOGS)
    assert due(course, 5, pulls=True) == math.inf
    course.released = 5
    assert due(course, 9, pulls=True) <= 0
    course.first = 5
    assert due(course, 9, pulls=True) == math.inf


def test_f_c5_events_wait_for_no_heartbeat_unless_that_was_ordered():
    course = begun(Stream.EVENTS)
    assert due(course, 1, pulls=True) <= 0
    assert due(course, 1, pulls=True, critical=False) == math.inf


def said(**rest):
    return Standing(stream=Stream.EVENTS, epoch=1, newest=1, next=3, **rest)


def test_a_time_to_wait_that_upstream_names_holds_for_all():
    course = begun(Stream.EVENTS)
    course.note(said(retry_after=4.0), 10.0)
    assert due(course, 9) == 4.0
    course.note(said(), 11.0)
    assert due(course, 9, now=11.0) <= 0


def frame(first, end):
    return SimpleNamespace(head=SimpleNamespace(first=first, end=end))


def test_what_upstream_has_beyond_is_not_sent_again():
    course = begun(Stream.LOGS)
    course.ranges = (Range(4, 8),)
    frames = [frame(0, 4), frame(4, 6), frame(6, 8), frame(8, 9)]
    assert course.lacking(frames) == [frames[0], frames[3]]


def test_a_new_epoch_has_ranges_of_its_own():
    course = begun(Stream.LOGS, first=20)
    course.note(Standing(stream=Stream.LOGS, epoch=1, newest=1, next=20, ranges=(Range(30, 40),)), 1.0)
    course.go_on(Continue(0, forked=True), view(9, epoch=2))
    assert (course.mark, course.ranges) == ((2, 0), ())
