"""What the hot path keeps of a request's head, and how it reads it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import ssl
from asyncio import Transport

from popham.errors import WireError
from popham.net.http import accepts_gzip, uid_of
from popham.net.route import OPAMP, PROTOBUF, RELAY
from popham.net.seam import Peer

_RELAY = RELAY.encode()
_HERE = frozenset({OPAMP.encode(), _RELAY})
_PROTOBUF = PROTOBUF.encode()
_END = b"\r\n\r\n"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Source: RFC 6455 section 1.3."""
_KEPT = frozenset(
    {
        b"accept-encoding",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"opamp-instance-uid",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
    }
)
_MANY = frozenset({b"accept-encoding"})
"""Headers that may stand more than once; of the others a second is a fault, never a choice."""
_ENCODINGS = {b"": False, b"identity": False, b"gzip": True, b"x-gzip": True}


class Head:
    """The few headers that matter, in lower case; looks like a mapping of text to shared functions.

    Attributes:
        size: Bytes of the head so far.
        offers: Whether a round offers another protocol.
    """

    __slots__ = ("_kept", "_url", "offers", "size")

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}
        self._url = b""
        self.size = 16
        self.offers = False

    def begin(self, url: bytes) -> None:
        """Take the request line's target, or the next part of it."""
        self._url += url
        self.size += len(url)

    @property
    def foreign(self) -> bool:
        """Whether it asks for another path than is answered here; known once the head is whole."""
        return self._url not in _HERE

    @property
    def relays(self) -> bool:
        """Whether it asks for the path of what Proxy Managers relay."""
        return self._url == _RELAY

    def add(self, name: bytes, value: bytes) -> None:
        """Take one header.

        Raises:
            WireError: One that may stand once stands twice.
        """
        name = name.lower()
        self.size += len(name) + len(value) + 4
        if name in _KEPT:
            if name not in self._kept:
                self._kept[name] = value
            elif name in _MANY:
                self._kept[name] += b", " + value
            else:
                raise WireError("head", f"The header {name.decode()} stands twice")

    def raw(self, name: bytes) -> bytes:
        """Return a header's value in lower case, empty if it is absent."""
        return self._kept.get(name, b"").lower()

    def get(self, name: str, default: str = "", /) -> str:
        """Return a header's value as text."""
        value = self._kept.get(name.lower().encode())
        return default if value is None else value.decode("latin-1")

    @property
    def is_round(self) -> bool:
        """Whether the body is a protobuf message of an agent."""
        if self.relays:
            return False
        return self._kept.get(b"content-type", b"").partition(b";")[0].strip().lower() == _PROTOBUF

    @property
    def length(self) -> int:
        """What Content-Length says; 0 if it is absent."""
        return int(self._kept.get(b"content-length", b"0") or 0)

    def has_sound_frame(self, version: str) -> bool:
        """Return whether there is one opinion only of where the body ends, and of whom is meant.

        Source: RFC 9112 sections 3.2 and 6.1.
        """
        coding = self._kept.get(b"transfer-encoding")
        if version == "1.1" and b"host" in self._kept:
            chunked = coding is not None and coding.strip(b" \t").lower() == b"chunked"
            return coding is None or (chunked and b"content-length" not in self._kept)
        return version == "1.0" and coding is None

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.length > 0 or b"transfer-encoding" in self._kept

    def accept(self) -> bytes:
        """Return Sec-WebSocket-Accept for an upgrade; empty if it is none that we know."""
        key = self._kept.get(b"sec-websocket-key", b"")
        fit = self.raw(b"upgrade") == b"websocket" and self.raw(b"sec-websocket-version") == b"13"
        if not fit or not _is_key(key):
            return b""
        return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())

    def bearer(self) -> str:
        """Return the bearer token, empty if there is none."""
        scheme, _, token = self.get("authorization").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


class Round:
    """What the head of a round asks; kept by a connection, as the next round's is mostly the same.

    Attributes:
        raw: The head as it came; empty if another request must not be compared with it.
        whole: Bytes of head and body.
        length: Bytes of the body.
        uid: OpAMP-Instance-UID as 16 bytes, or empty.
        bearer: Token, or empty.
        packs: Whether the answer may be gzip.
        packed: Whether the body is gzip; None if it is something unknown.
        keep: Whether the connection stays open.
        relays: Whether it is an exchange of a Proxy Manager, and no agent's round.
    """

    __slots__ = ("bearer", "keep", "length", "packed", "packs", "raw", "relays", "uid", "whole")

    def __init__(self, head: Head, *, keep: bool) -> None:
        """Read ``head``."""
        self.raw = b""
        self.whole = 0
        self.length = head.length
        self.uid = uid_of(head)
        self.bearer = head.bearer()
        self.relays = head.relays
        self.packs = not self.relays and accepts_gzip(head)
        self.packed = _ENCODINGS.get(head.raw(b"content-encoding").strip())
        self.keep = keep

    def remember(self, data: bytes) -> None:
        """Keep the head, if ``data``, which began with it, is this request and nothing else.

        llhttp has found ``data`` sound and ended at a message's boundary; so the first empty line ends
        the head, and the same bytes would be found the same again.
        """
        size = data.find(_END) + len(_END)
        if self.keep and size >= len(_END) and size + self.length == len(data):
            self.raw, self.whole = data[:size], len(data)

    def again(self, raw: bytes, uid: bytes) -> Round:
        """Return what the head ``raw`` asks, which is this one but for its uid."""
        other = Round.__new__(Round)
        other.raw, other.uid, other.whole = raw, uid, self.whole
        other.length, other.bearer, other.keep = self.length, self.bearer, self.keep
        other.packs, other.packed, other.relays = self.packs, self.packed, self.relays
        return other


def peer_of(transport: Transport, bearer: str) -> Peer:
    """Return the other end of a connection, with the certificate that the handshake verified."""
    tls = transport.get_extra_info("ssl_object")
    shown = tls.getpeercert(binary_form=True) if isinstance(tls, (ssl.SSLObject, ssl.SSLSocket)) else None
    return Peer(address=address_of(transport.get_extra_info("peername")), certificate=shown, bearer=bearer)


def address_of(name: object) -> str:
    """Return an IP address; an IPv4 address is never written as IPv6."""
    if not isinstance(name, tuple):
        return ""
    if ":" not in name[0]:
        return str(name[0])
    address = ipaddress.ip_address(str(name[0]).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False
