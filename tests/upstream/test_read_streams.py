"""Streams of agents that are visited: read in a visit, and beside a held link."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from popham.downstream.standings import from_wire
from popham.errors import LinkError, StateError, StreamError, VisitError
from popham.model.cell import Cell, Dialer, Mode
from popham.model.communication import CommunicationSettings
from popham.model.fleet import Admission
from popham.model.status import StateRecord
from popham.net.seam import Peer, Refusal
from popham.net.signing import Operation
from popham.opamp.codec import parse_custom, parse_upstream
from popham.streams.frame import Stream
from popham.streams.standing import Standing
from popham.testing.direct import DirectLink
from popham.testing.virtual import VirtualClock
from popham.upstream import reading_streams
from popham.upstream.beside import Beside
from popham.upstream.calling import Calling
from popham.upstream.record import Record, Within
from popham.upstream.shedding import Load, Shedder
from popham.upstream.sighting import Seen, Sight
from popham.upstream.streams import Streams
from popham.upstream.visits import Signer

from .lab import DIRECTOR, IDENTITIES, UIDS, told
from .taking import Taking, chain

UID, KEY = UIDS[0], bytes.fromhex(UIDS[0].replace("-", ""))
EVENTS, SUMMARY, METRICS, LOGS = Stream


class Scene:
    """One agent of a lab, an upstream that calls it, and somebody who takes its frames."""

    def __init__(self, lab, *, load=Load):
        self.lab, self.world, self.taking = lab, lab.worlds[0], Taking()
        self.record = Record(uid=UID, key=KEY, name="a", group="lab", public_key=IDENTITIES[0].public.der)
        self.record.admission = Admission.ACCEPTED
        self.settings = CommunicationSettings(mode=Mode.PULL, dialer=Dialer.MANAGER, heartbeat=600.0)
        self.streams = Streams(self.taking, Shedder(load))
        book = SimpleNamespace(
            record=lambda _uid: self.record, name_of_key=lambda _keyid: "", wanted=lambda _group: self
        )
        book.forgets = False
        signer = Signer(DIRECTOR.crypto, DIRECTOR.keyid)
        self.calling = Calling(
            lab.hub, book, signer, b"", lab.clock, lambda _record: {}, streams=self.streams
        )
        place = SimpleNamespace(host="a")
        self.seen = Seen(SimpleNamespace(uid=UID, name="a", place=place), Sight(0.0), lab.dials[0])
        self.said(generation=4)

    def settings_for(self, uid, candidate):
        return Within("default", {"default": self.settings})

    def said(self, **what):
        state = {"mode": "pull", "dialer": "manager", "promise": 600.0, "agent_version": "0.7.0", **what}
        found = StateRecord(uid=UID, revision=1, group="lab", tenant="default", location="default", **state)
        self.record.note_state(found, b"x")

    async def visit(self):
        await self.calling.visit(self.seen)

    def asked(self):
        """Return which streams were asked for, in order."""
        found = [one.query.partition("&")[0] for one in self.lab.dials[0].seen if "stream=" in one.query]
        self.lab.dials[0].seen.clear()
        return [Stream(one.removeprefix("stream=")) for one in found]


def tell(story, **what):
    async def told_of(lab):
        await story(Scene(lab, **what))

    told(told_of)


def test_f_d4_a_visit_reads_events_first_then_the_summary_then_the_rest_until_nothing_waits():
    async def story(scene):
        for stream in (LOGS, EVENTS, METRICS):
            scene.world.streams[stream] = chain(KEY, stream)
        await scene.visit()
        assert list(dict.fromkeys(stream for stream, _ in scene.taking.frames)) == [EVENTS, METRICS, LOGS]
        assert len(scene.taking.frames) == 9
        # One more of each, which tells the agent how far it got.
        asked = [EVENTS, EVENTS, SUMMARY, METRICS, METRICS, LOGS, LOGS]
        assert list(dict.fromkeys(scene.asked())) == list(dict.fromkeys(asked))
        assert [one.next for one in scene.world.standings] == [0, 30, 0, 0, 30, 0, 30]
        assert {one.waiting for one in scene.taking.sent} == {None}
        await scene.visit()
        assert scene.asked()[-4:] == list(Stream)
        assert len(scene.taking.frames) == 9

    tell(story)


def test_an_agent_in_which_nothing_waits_is_asked_one_question():
    async def story(scene):
        scene.world.waits = False
        await scene.visit()
        await scene.visit()
        assert scene.asked() == [EVENTS, EVENTS]

    tell(story)


def test_f_d12_the_agents_clock_is_taken_from_its_signed_answer():
    async def story(scene):
        scene.world.streams[LOGS] = chain(KEY)
        scene.lab.services[0]._clock = skewed = VirtualClock()
        skewed.elapsed = 86400.25
        await scene.visit()
        (sent,) = scene.taking.sent
        assert sent.now == int(skewed.now()) + 0.5, "whole seconds, and half of one"

    tell(story)


def test_frames_of_a_newer_epoch_are_read_on_from_there():
    async def story(scene):
        scene.taking.standings[UID, LOGS] = Standing(stream=LOGS, epoch=1, newest=1, next=500, last=b"x" * 16)
        scene.world.streams[LOGS] = chain(KEY, epoch=2)
        await scene.visit()
        assert [(one.epoch, one.next) for one in scene.world.standings if one.stream is LOGS] == [
            (1, 500),
            (2, 30),
        ]

    tell(story)


def test_a_visit_is_bounded_in_bytes_and_the_next_one_goes_on(monkeypatch):
    async def story(scene):
        monkeypatch.setattr(reading_streams, "PASS_BYTES", 600_000)
        scene.world.streams[EVENTS] = chain(KEY, EVENTS, size=400_000, number=5)
        scene.world.streams[LOGS] = chain(KEY)
        await scene.visit()
        assert [first for _, first in scene.taking.frames] == [0, 10], "whole frames"
        await scene.visit()
        await scene.visit()
        assert [stream for stream, _ in scene.taking.frames] == [EVENTS] * 5 + [LOGS] * 3

    tell(story)


def test_a_visit_is_bounded_in_time_and_is_one_all_the_same():
    async def story(scene):
        scene.world.streams[EVENTS] = chain(KEY, EVENTS, size=400_000, number=50)
        post = scene.lab.dials[0].post

        async def slowly(asked):
            await asyncio.sleep(9.0)
            return await post(asked)

        scene.lab.dials[0].post = slowly
        await scene.visit()
        assert len(scene.taking.frames) == 8, "four requests of two frames"

    tell(story)


@pytest.mark.parametrize(
    ("settings", "read"),
    [
        ({}, True),
        ({"upload": False}, False),
        ({"data": Cell(mode=Mode.PULL, dialer=Dialer.AGENT)}, False),
        ({"data": Cell(mode=Mode.PUSH, dialer=Dialer.MANAGER)}, True),
        ({"dialer": Dialer.AGENT, "data": Cell(mode=Mode.PULL, dialer=Dialer.MANAGER)}, True),
    ],
)
def test_f_l7_a_visit_reads_streams_where_the_settings_say_so(settings, read):
    async def story(scene):
        scene.settings = replace(scene.settings, **settings)
        await scene.visit()
        assert scene.asked() == (list(Stream) if read else [])

    tell(story)


def test_f_c6_who_came_another_way_is_asked_for_its_streams_and_nothing_else():
    async def story(scene):
        scene.seen.only_reads = True
        await scene.visit()
        assert scene.asked()[1:] == list(Stream), "the first brought the nonce"
        assert scene.world.bodies == []

    tell(story)


def test_an_agent_of_before_or_one_that_was_not_accepted_is_not_asked():
    async def story(scene):
        scene.said(generation=3)
        await scene.visit()
        scene.said(generation=4)
        scene.record.admission = Admission.NEW
        await scene.visit()
        assert scene.asked() == []

    tell(story)


@pytest.mark.parametrize("refusal", [VisitError("operation", "not that"), VisitError("signature", "what?")])
def test_whose_service_does_not_know_the_question_is_not_asked_again_until_it_is_another_version(refusal):
    async def story(scene):
        scene.world.streams[EVENTS] = refusal
        await scene.visit()
        assert scene.asked() == [EVENTS]
        await scene.visit()
        assert scene.asked() == []
        scene.world.streams[EVENTS] = chain(KEY, EVENTS)
        scene.said(generation=4, agent_version="0.7.1")
        await scene.visit()
        assert len(scene.taking.frames) == 3

    tell(story)


def test_an_agent_that_cannot_read_its_frames_is_visited_all_the_same_and_asked_again():
    async def story(scene):
        scene.world.streams[EVENTS] = OSError("the disk is broken")
        await scene.visit()
        await scene.visit()
        assert scene.asked() == [EVENTS, EVENTS]

    tell(story)


def test_an_agent_that_goes_away_meanwhile_was_not_visited():
    async def story(scene):
        scene.world.streams[EVENTS] = chain(KEY, EVENTS)
        scene.lab.dials[0].fates = iter(["arrives", "arrives", "request lost"])
        with pytest.raises(VisitError):
            await scene.visit()
        assert scene.streams._turns == {}

    tell(story)


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        (StreamError("overlap", "x"), [EVENTS, EVENTS, SUMMARY, METRICS, LOGS]),
        (StreamError("damaged", "x"), [EVENTS, SUMMARY, METRICS, LOGS]),
        (StateError("disk", "full"), [EVENTS, SUMMARY, METRICS, LOGS]),
        (LinkError("busy", "full", retry_after=4.0), [EVENTS]),
    ],
)
def test_frames_that_are_not_taken_spoil_no_visit(fault, asked):
    async def story(scene):
        scene.world.streams[EVENTS] = chain(KEY, EVENTS)
        scene.taking.fault = fault
        await scene.visit()
        assert scene.asked() == asked

    tell(story)


def test_rel_21_without_room_nothing_is_asked_for():
    async def story(scene):
        scene.world.streams[SUMMARY] = chain(KEY, SUMMARY)
        scene.taking.full[SUMMARY] = Refusal(status=503, retry_after=1.0)
        await scene.visit()
        assert scene.asked() == [EVENTS]

    tell(story)

    async def loaded(scene):
        await scene.visit()
        assert scene.asked() == []

    tell(loaded, load=lambda: Load(0.09))


def test_an_agent_that_gives_the_same_again_is_not_asked_for_ever():
    async def story(scene):
        scene.taking.standings[UID, EVENTS] = Standing(stream=EVENTS, epoch=1, newest=1)
        scene.world.streams[EVENTS] = chain(KEY, EVENTS, first=5)  # nothing of it comes next
        await scene.visit()
        assert scene.asked() == list(Stream)

    tell(story)


def test_sec_an_answer_that_has_more_than_was_asked_for_is_not_taken():
    async def story(scene):
        async def much(stream, standing, limit):
            return bytes(limit + 1)

        scene.world.stream = much
        await scene.visit()
        assert scene.taking.sent == []
        assert scene.asked() == list(Stream)

    tell(story)


# Beside a held link.


def link_of(scene):
    """Have a link held to the agent, and return what is said over it."""
    link = DirectLink(Peer(address="a", uid=UID))
    scene.record.link = scene.seen.link = link
    return link


def ready(scene, *streams):
    scene.streams._ready.setdefault(UID, set()).update(streams)


def heard(link):
    """Return stream → (next, wait) of the standings in the last message of a link."""
    said = parse_custom(parse_upstream(link.sent[-1]).custom_message)
    found = [from_wire(one) for one in said.standings]
    return {one.stream: (one.next, one.retry_after) for one in found}


def test_beside_a_link_that_we_opened_what_is_ready_is_read_and_then_the_agent_is_told_how_far_we_are():
    async def story(scene):
        link, tasks = link_of(scene), []
        scene.settings = replace(scene.settings, upload=False)  # as it was told before, perhaps
        for stream in Stream:
            scene.world.streams[stream] = chain(KEY, stream)
        beside = Beside(scene.calling.read, lambda _uid: None, tasks.append, 90.0)
        ready(scene, LOGS, EVENTS)
        beside.begin(scene.seen)
        beside.begin(scene.seen)
        (task,) = tasks
        await task
        assert scene.asked()[-4:] == [EVENTS, EVENTS, LOGS, LOGS]
        assert heard(link) == {EVENTS: (30, 0.0), LOGS: (30, 0.0)}
        assert all(one.headers["Popham-Operation"] == Operation.STREAM for one in scene.lab.dials[0].seen)

    tell(story)


def test_what_is_ready_meanwhile_is_read_in_another_pass():
    async def story(scene):
        link_of(scene)
        scene.world.streams[EVENTS] = chain(KEY, EVENTS)
        ready(scene, LOGS)
        reading = asyncio.ensure_future(scene.calling.read(scene.seen))
        await asyncio.sleep(0)
        ready(scene, EVENTS)
        assert await reading is True
        assert await scene.calling.read(scene.seen) is False
        assert [stream for stream, _ in scene.taking.frames] == [EVENTS] * 3

    tell(story)


@pytest.mark.parametrize("fault", [StreamError("damaged", "x"), LinkError("busy", "full", retry_after=4.0)])
def test_an_agent_whose_frames_were_not_taken_is_told_to_wait(fault):
    async def story(scene):
        link = link_of(scene)
        scene.world.streams[EVENTS] = chain(KEY, EVENTS)
        scene.taking.fault = fault
        ready(scene, EVENTS)
        await scene.calling.read(scene.seen)
        assert heard(link) == {EVENTS: (0, 30.0)}

    tell(story)


def test_an_agent_that_could_not_be_asked_beside_its_link_is_told_to_say_so_again_later():
    async def story(scene):
        link = link_of(scene)
        scene.lab.dials[0].fates = iter(["request lost"])
        ready(scene, EVENTS)
        with pytest.raises(VisitError):
            await scene.calling.read(scene.seen)
        assert heard(link) == {EVENTS: (0, 30.0)}
        scene.record.link = None
        ready(scene, EVENTS)
        await scene.calling.read(scene.seen)
        assert len(link.sent) == 1

    tell(story)
