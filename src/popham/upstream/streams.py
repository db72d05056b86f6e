"""Streams of agents: frames that come by requests and over held links, on their way to the intake.

Rules:

1. What is said to an agent of its frames is true of what is durable: the intake's standing, after it kept them.
2. One append, or one question, of one stream of one agent is worked on at a time; the others wait in their order.
3. Under load frames are the first to be left out: whoever sends them is told when to come again, and keeps them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from popham.errors import (
    GrantError,
    LinkError,
    NotFoundError,
    PophamError,
    StateError,
    StreamError,
    WireError,
)
from popham.model.fleet import Admission
from popham.model.generation import STREAMS
from popham.net.route import PROTOBUF
from popham.net.route import STREAMS as PATH
from popham.net.seam import HeldLink, Refusal, Refused, Request, Response
from popham.opamp.codec import bad_request, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1.popham_pb2 import Append, Ready
from popham.streams.frame import OFFSET_LIMIT, Head, Stream
from popham.streams.standing import Standing
from popham.upstream.intake import APPEND_LIMIT, Intake, Sent
from popham.upstream.record import Record
from popham.upstream.shedding import Shedder, Work
from popham.upstream.standings import encode, render_standings

_log = logging.getLogger(__name__)
RETRY: Final = 30.0
"""Seconds after which an agent may come again, where nobody says how many."""
_ALONE: Final = frozenset({"instance_uid", "sequence_num", "capabilities", "custom_message"})
"""What a message of streams may hold."""
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


@dataclass(slots=True)
class _Turn:
    """Whose turn it is with one stream of one agent, and how many want it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Streams:
    """Takes frames of agents, and tells agents how far the intake is.

    Attributes:
        on_ready: Told of an agent on a link that this end opened, once it says that it is to be asked.
    """

    def __init__(self, intake: Intake | None, shedder: Shedder) -> None:
        """Hand frames on to ``intake``, None where nothing is taken; leave out under load what ``shedder`` says."""
        self._intake = intake
        self._shedder = shedder
        self._turns: dict[tuple[bytes, Stream], _Turn] = {}
        self._ready: dict[str, set[Stream]] = {}
        self.on_ready: Callable[[Record], None] = lambda _record: None

    def serves(self, record: Record) -> bool:
        """Return whether streams of this agent are taken here: it has some, and may bring them."""
        state = record.state
        return (
            self._intake is not None
            and record.admission is Admission.ACCEPTED
            and state is not None
            and state.generation >= STREAMS
        )

    # How far it is.

    async def standing(self, record: Record, stream: Stream, epoch: int = 0) -> Standing:
        """Return how far the intake is; where there is no room now, with the time to wait."""
        refusal = self.refusal(record, stream)
        return held_back(await self._need().standing(record, stream, epoch), refusal)

    async def standings(self, record: Record, streams: Iterable[Stream]) -> list[Standing]:
        """Return how far the intake is with streams; what is not known now is left out, and told once it is."""
        found = []
        for stream in streams:
            try:
                found.append(await self.standing(record, stream))
            except LinkError as error:
                _log.info("%s is not told yet how far its %s are: %s", record.name, stream, error)
                break
        return found

    def refusal(self, record: Record, stream: Stream) -> Refusal | None:
        """Return why nothing of a stream is taken now; None if it is welcome."""
        return self._shedder.refusal(Work.DATA) or self._need().refusal(record, stream)

    # What comes.

    @asynccontextmanager
    async def turn(self, record: Record, stream: Stream) -> AsyncIterator[None]:
        """Have a stream of an agent to oneself."""
        key = (record.key, stream)
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[key]

    async def take(self, record: Record, stream: Stream, frames: bytes, sent: Sent) -> Standing:
        """Hand frames on to the intake, for who has the turn; return how far it is then.

        Raises:
            WireError: ``wire.too_large``.
            PophamError: As :meth:`popham.upstream.intake.Intake.append`; but frames that contradict what is durable are
                refused by what is returned, and the agent begins a new epoch.
        """
        if len(frames) > APPEND_LIMIT:
            raise WireError("too_large", f"Frames have at most {APPEND_LIMIT} bytes at once", "Send fewer")
        intake = self._need()
        try:
            return await intake.append(record, stream, frames, sent)
        except StreamError as error:
            if error.code != "stream.overlap":
                raise
            _log.warning("%s of %s begin a new epoch: %s", stream, record.name, error)
            epoch = Head.decode(frames).epoch
            found = await intake.standing(record, stream, epoch)
            return replace(found, epoch=epoch, newest=max(found.newest, epoch), refused=True)

    async def answer(self, request: Request, record: Record | None) -> Response:
        """Answer a request of this agent: how far the intake is, or frames.

        Raises:
            Refused: There is no room now, or the agent is not known yet.
            NotFoundError: Nothing is taken here, or there is no such stream.
            PophamError: As :meth:`take`, and GrantError if it was not accepted yet.
        """
        stream = _stream(request.path.removeprefix(PATH))
        if record is None:
            # A 404 would say that there are no streams here.
            raise Refused(Refusal(status=503, retry_after=RETRY, body="This agent has to report first."))
        _require_accepted(record)
        if request.method == "GET":
            try:
                found = await self.standing(record, stream, _count(request.query, "epoch") or 0)
            except LinkError as error:
                raise Refused(_refuse(error)) from error
            return Response(body=encode(found), content_type=PROTOBUF)
        refusal = self.refusal(record, stream)
        if refusal is not None:
            raise Refused(refusal)
        sent = Sent(now=_time(request.query), waiting=_count(request.query, "waiting"))
        try:
            async with self.turn(record, stream):
                found = await self.take(record, stream, request.body, sent)
        except LinkError as error:
            raise Refused(_refuse(error)) from error
        return Response(body=encode(found), content_type=PROTOBUF)

    async def hear(
        self, record: Record, message: AgentToServer, link: HeldLink | None, *, full: bool
    ) -> bytes:
        """Answer what an agent says of its streams over a held link; what is refused says why.

        Args:
            record: The agent.
            message: What it says.
            link: That link; None if it came by none.
            full: Whether the agent is to be asked for its full state beside.

        Raises:
            StateError: Its frames could not be written.
        """
        try:
            said = _read(message)
            if link is None:
                raise WireError("stream", "frames come over held links, or by requests of their own")
            if isinstance(said, Append):
                return render_standings(record, [await self._append(record, said)], full=full)
            self._note_ready(record, said, link)
            return render_standings(record, (), full=full)
        except StateError:
            raise
        except LinkError as error:
            # How far it is, is not known now: frames come by a request then, which is told when to come again.
            _log.info("%s is not told over its link how far its streams are: %s", record.name, error)
            return render_standings(record, (), full=full)
        except PophamError as error:
            return bad_request(record.key, str(error))

    async def _append(self, record: Record, said: Append) -> Standing:
        stream = _stream(said.stream)
        _require_accepted(record)
        refusal = self.refusal(record, stream)
        if refusal is None:
            now = said.now if math.isfinite(said.now) and said.now > 0 else None
            try:
                async with self.turn(record, stream):
                    return await self.take(
                        record, stream, said.frames, Sent(now, min(said.waiting, OFFSET_LIMIT))
                    )
            except LinkError as error:
                refusal = _refuse(error)
            except StreamError as error:
                _log.warning("frames of %s of %s were refused: %s", stream, record.name, error)
                # Without credit they come by a request, later; what answers that says why.
                refusal = Refusal(status=400, retry_after=RETRY)
        return held_back(await self._need().standing(record, stream), refusal)

    # Who is to be asked.

    def _note_ready(self, record: Record, said: Ready, link: HeldLink) -> None:
        if not link.peer.uid:
            raise WireError("stream", "this agent opened the link, and sends by itself", "Upgrade the agent")
        self._need()
        _require_accepted(record)
        streams = {_stream(name) for name in said.streams}
        if streams:
            self._ready.setdefault(record.uid, set()).update(streams)
            self.on_ready(record)

    def is_ready(self, uid: str) -> bool:
        """Return whether an agent is to be asked for frames beside the link."""
        return uid in self._ready

    def take_ready(self, uid: str) -> tuple[Stream, ...]:
        """Return the streams that an agent is to be asked for, in order, and forget that."""
        found = self._ready.pop(uid, ())
        return tuple(stream for stream in Stream if stream in found)

    def _need(self) -> Intake:
        if self._intake is None:
            raise NotFoundError("route", "no streams are taken here")
        return self._intake


def held_back(standing: Standing, refusal: Refusal | None) -> Standing:
    """Return a standing with the time to wait, if there is no room now."""
    if refusal is None:
        return standing
    wait = RETRY if refusal.retry_after is None else refusal.retry_after
    return replace(standing, credit=0, retry_after=max(wait, standing.retry_after))


def _read(message: AgentToServer) -> Append | Ready:
    """Return what an agent says of streams; raises WireError if it is malformed, or says anything else beside."""
    if not {part.name for part, _ in message.ListFields()} <= _ALONE:
        raise WireError("stream", "a message of streams says something else beside", "Upgrade the agent")
    said = parse_custom(message.custom_message)
    if not isinstance(said, Append | Ready):
        raise WireError("stream", "a message of streams is none that travels up", "Upgrade the agent")
    return said


def _require_accepted(record: Record) -> None:
    if record.admission is not Admission.ACCEPTED:
        raise GrantError("not_permitted", "this agent was not accepted yet", "Wait until it is")


def _stream(name: str) -> Stream:
    try:
        return Stream(name)
    except ValueError:
        problem = f"there is no stream of this name here, but {', '.join(Stream)}"
        raise NotFoundError("stream", problem, "Upgrade this Manager, or the agent") from None


def _refuse(error: LinkError) -> Refusal:
    wait = RETRY if error.retry_after is None else error.retry_after
    return Refusal(status=503, retry_after=wait, body=str(error))


def _count(query: Mapping[str, str], name: str) -> int | None:
    """Return a number of a query; None for none. Raises WireError."""
    text = query.get(name, "")
    if text and not (_NUMBER.fullmatch(text) and int(text) <= OFFSET_LIMIT):
        raise WireError("stream", f"'{name}' is no number of records, or of an epoch", "Upgrade the agent")
    return int(text) if text else None


def _time(query: Mapping[str, str]) -> float | None:
    """Return the agent's clock as it says it; None if it does not. Raises WireError."""
    text = query.get("now", "")
    if text and not _SECONDS.fullmatch(text):
        raise WireError("stream", "'now' is no time in unix seconds", "Upgrade the agent")
    return float(text) if text else None
