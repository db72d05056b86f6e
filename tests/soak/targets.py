"""Everything that reads bytes of a stranger, as functions that take any bytes.

A target returns; an error that it does not expect is a finding.  The first byte of some inputs says where the
rest is cut into pieces.
"""

import asyncio
import random
from types import SimpleNamespace

from popham.clock import SystemClock
from popham.errors import PophamError
from popham.model.bundle import Bundle
from popham.net.hot.connection import HotConnection
from popham.net.hot.door import Door
from popham.net.hot.frames import CLOSE, FrameError, FrameReader
from popham.net.hot.stamp import Stamp
from popham.net.hot.wheel import Wheel
from popham.net.rate import RoundRate
from popham.net.seam import Limits
from popham.opamp import codec
from popham.trust.dsse import Envelope
from popham.trust.identity import check_csr
from popham.trust.join import JoinString

UID = "01890a5d-ac96-774b-bcce-b302099a8057"
TYPES = {"application/vnd.popham.bundle.v1+json", "application/vnd.popham.assignment.v1+json"}
LIMIT = 4096


def _pieces(data):
    """Cut the rest into pieces as long as the first byte says; 0 leaves it whole."""
    step, rest = data[0], data[1:]
    return [rest[at : at + step] for at in range(0, len(rest), step)] if step else [rest]


def read_frames(data):
    """Messages are the same wherever their stream is cut, and none is over the limit."""
    if not data:
        return
    found = [_messages(pieces) for pieces in (_pieces(data), [data[1:]])]
    if found[0] != found[1]:
        raise AssertionError(f"it matters where the stream is cut: {found}")


def _messages(pieces):
    reader, found = FrameReader(LIMIT), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (one := reader.next()) is not None:
                found.append(one)
                if len(one[1]) > LIMIT:
                    raise AssertionError("a message is over the limit")
                if one[0] == CLOSE:
                    return found, 0
    except FrameError as error:
        return found, error.code
    return found, 0


class _Wire(asyncio.Transport):
    """A transport that throws away what is written."""

    closed = ended = False

    def __init__(self, protocol):
        super().__init__()
        self.protocol = protocol

    def set_protocol(self, protocol):
        self.protocol = protocol

    def get_extra_info(self, name, default=None):
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data):
        """Throw it away."""

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self.closed

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.ended = True

    def close(self):
        self.closed = True

    abort = close


class _Asked(asyncio.Protocol):
    """A service that remembers, and what stands for aiohttp."""

    def __init__(self):
        self.asked = []

    def admit(self, peer, *, held, uid):
        return None

    def round(self, peer, body):
        self.asked.append(body)
        return b"answer"

    def opened(self, link):
        return self

    def message(self, data):
        self.asked.append(data)
        return data

    def closed(self, code):
        """Nobody asks."""

    def data_received(self, data):
        """Whatever comes now is aiohttp's matter."""


def _converse(pieces):
    service = _Asked()
    handle = SimpleNamespace(cancel=lambda: None)
    loop = SimpleNamespace(time=lambda: 1.0, call_later=lambda *_: handle, call_soon=lambda *_: handle)
    rng = random.Random(1)
    door = Door(
        service=service,
        limits=Limits(message=LIMIT),
        loop=loop,
        wheel=Wheel(loop),
        rate=RoundRate(0.0, clock=SystemClock(), rng=rng),
        rng=rng,
        unadmitted=10,
        hand_over=lambda: service,
        elsewhere=lambda: 0,
        stamp=Stamp(SystemClock()),
    )
    protocol = HotConnection(door)
    wire = _Wire(protocol)
    protocol.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            wire.protocol.data_received(piece)
    wire.protocol.connection_lost(None)
    if wire.protocol is not service and (len(door.wheel) or door.open or door.fresh or door.links):
        raise AssertionError("something is kept of a connection that is gone")
    return service.asked


def read_requests(data):
    """Requests and messages are the same wherever their stream is cut, as far as both go."""
    if not data:
        return
    one, other = _converse(_pieces(data)), _converse([data[1:]])
    if any(mine != yours for mine, yours in zip(one, other, strict=False)):
        raise AssertionError(f"it matters where the stream is cut: {one}, {other}")


def _allow(read, *args, **options):
    """Call; return None where it refuses on purpose."""
    try:
        return read(*args, **options)
    except PophamError:
        return None


def read_opamp(data):
    """A message is read or refused; the short way of reading a heartbeat agrees with the long one."""
    bare = _allow(codec.decode_frame, data)
    if bare is not None and codec.encode_frame(bare) not in {data, b"\0" + bare}:
        _allow(codec.decode_frame, codec.encode_frame(bare))
    message = _allow(codec.parse_agent, data, limit=LIMIT)
    short = codec.read_heartbeat(data) if hasattr(codec, "read_heartbeat") else None
    if short is not None and message is not None:
        long = (message.instance_uid, message.sequence_num, message.capabilities)
        if long != short:
            raise AssertionError(f"a heartbeat is read in two ways: {short}, {long}")
    for read in (message, _allow(codec.parse_upstream, data, limit=LIMIT)):
        if read is not None and read.HasField("custom_message"):
            _allow(codec.parse_custom, read.custom_message)


def read_envelope(data):
    """An envelope is read or refused; what was read is read again the same."""
    envelope = _allow(Envelope.parse, data, types=TYPES)
    if envelope is not None and Envelope.parse(envelope.encode(), types=TYPES) != envelope:
        raise AssertionError("an envelope changes when it is written and read")


def read_bundle(data):
    """A bundle is read or refused."""
    bundle = _allow(Bundle.from_payload, data)
    if bundle is not None:
        bundle.blobs()


def read_join_string(data):
    """A join string is read or refused; what was read is written the same."""
    text = data.decode("utf-8", "surrogateescape")
    join = _allow(JoinString.parse, text)
    if join is not None and join.encode() != text.strip():
        raise AssertionError("a join string has two forms")


def read_csr(data):
    """A CSR is read or refused."""
    _allow(check_csr, data, UID)


TARGETS = {
    "frames": read_frames,
    "requests": read_requests,
    "opamp": read_opamp,
    "envelope": read_envelope,
    "bundle": read_bundle,
    "join_string": read_join_string,
    "csr": read_csr,
}
"""By name, which is also the name of its folder in ``corpus/``."""
