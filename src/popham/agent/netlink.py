"""What the kernel says of this machine's network, by routing messages of Linux.

The format only; :func:`popham.posix.open_netlink` opens the socket.

Rules:

1. An answer is bounded: of a router's routes only so many bytes are read.
2. Messages that are heard are not read, only that there were some: the facts are asked for afterwards.

Source: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
"""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from popham.posix import open_netlink

CHANGES: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR and IPV6_ROUTE."""
ANSWER_MAX: Final = 4 * 1024 * 1024
"""Bytes of one answer; what follows is not read."""
_WAIT: Final = 1.0
"""Seconds for a part of an answer; the kernel gives it at once."""
_BUFFER: Final = 256 * 1024
_READS: Final = 64
"""Messages thrown away at a time, so that a storm of them holds up nobody."""

_GETLINK, _GETADDR, _GETROUTE = 18, 22, 26
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_HOP: Final = struct.Struct("=HBBi")
_NESTED: Final = 0x3FFF
"""Mask of an attribute's type, without the bits for nested and byte order."""
_UP_AND_RUNNING: Final = 0x1 | 0x40
_NOT_USABLE: Final = 0x08 | 0x40
"""IFA_F_DADFAILED and IFA_F_TENTATIVE: an address that is not, or not yet, the machine's."""
_LOCAL_TABLE: Final = 255
_UNICAST: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An interface: its index and name, the hardware type (ARPHRD), the kind of a virtual one, and more.

    Attributes:
        index: What addresses name it by.
        name: Such as ``eth0``.
        hardware: ARPHRD number.
        kind: Such as ``bridge`` or ``wireguard``; empty for hardware.
        member: Whether it is part of another one, such as a bridge.
        up: Whether it is up and has a carrier.
    """

    index: int
    name: str
    hardware: int
    kind: str
    member: bool
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What the kernel said; addresses stand in pairs with the index of their interface."""

    links: tuple[Link, ...]
    addresses: tuple[tuple[int, str], ...]
    routers: tuple[str, ...]


def read_network() -> Network | None:
    """Return what the kernel knows now; None where it cannot be asked. Takes about a millisecond."""
    found = open_netlink(0)
    if found is None:
        return None
    try:
        return Network(
            links=tuple(_links(found)), addresses=tuple(_addresses(found)), routers=tuple(_routers(found))
        )
    except (OSError, struct.error, ValueError):
        return None
    finally:
        found.close()


class NetworkWatch:
    """Hears of changes of the network, for as long as it is open."""

    def __init__(self, heard: socket.socket, changed: Callable[[], None]) -> None:
        """Tell ``changed`` whenever ``heard`` says something; use :meth:`open`."""
        self._socket = heard
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(heard.fileno(), self._read)

    @classmethod
    def open(cls, changed: Callable[[], None]) -> NetworkWatch | None:
        """Return a watch that calls ``changed`` at each change; None where the kernel does not tell."""
        heard = open_netlink(CHANGES)
        return None if heard is None else cls(heard, changed)

    def close(self) -> None:
        """Hear no more."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        for _ in range(_READS):
            try:
                self._socket.recv(_BUFFER)
            except OSError:
                # There are no more; or some were lost (ENOBUFS), so there were some.
                break
        self._changed()


def _links(asked: socket.socket) -> Iterator[Link]:
    for body in _ask(asked, _GETLINK):
        _, hardware, index, flags, _ = _LINK.unpack_from(body)
        held = dict(_attributes(body[_LINK.size :]))
        info = dict(_attributes(held.get(18, b"")))
        yield Link(
            index=index,
            name=_text(held.get(3, b"")),
            hardware=hardware,
            kind=_text(info.get(1, b"")),
            member=10 in held,
            up=flags & _UP_AND_RUNNING == _UP_AND_RUNNING,
        )


def _addresses(asked: socket.socket) -> Iterator[tuple[int, str]]:
    for body in _ask(asked, _GETADDR):
        _, _, flags, _, index = _ADDRESS.unpack_from(body)
        held = dict(_attributes(body[_ADDRESS.size :]))
        # Between two ends IFA_ADDRESS (1) is the other one's; IFA_LOCAL (2) is ours.
        address = held.get(2) or held.get(1)
        if address and not flags & _NOT_USABLE:
            yield index, _ip(address)


def _routers(asked: socket.socket) -> Iterator[str]:
    for body in _ask(asked, _GETROUTE):
        _, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
        if length or table == _LOCAL_TABLE or kind != _UNICAST:
            continue
        for number, data in _attributes(body[_ROUTE.size :]):
            if number in {5, 18}:
                yield _router(number, data)
            elif number == 9:
                yield from _hops(data)


def _hops(data: bytes) -> Iterator[str]:
    """Yield the gateways of a route over several hops."""
    while len(data) >= _HOP.size:
        length, *_ = _HOP.unpack_from(data)
        for number, inner in _attributes(data[_HOP.size : length]):
            if number in {5, 18}:
                yield _router(number, inner)
        if length < _HOP.size:
            return
        data = data[_aligned(length) :]


def _router(number: int, data: bytes) -> str:
    """Return RTA_GATEWAY (5), or RTA_VIA (18), which begins with the family."""
    return _ip(data if number == 5 else data[2:])


def _ask(asked: socket.socket, what: int) -> Iterator[bytes]:
    """Yield the bodies of the messages that answer a request for everything."""
    asked.send(_HEADER.pack(_HEADER.size + 4, what, _REQUEST | _DUMP, what, 0) + bytes(4))
    total = 0
    while total < ANSWER_MAX:
        if not select.select([asked], [], [], _WAIT)[0]:
            raise TimeoutError("the kernel does not answer")
        data = asked.recv(_BUFFER)
        total += len(data)
        while len(data) >= _HEADER.size:
            length, kind, _, number, _ = _HEADER.unpack_from(data)
            if length < _HEADER.size:
                raise ValueError("a message without a length")
            if number == what:
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    raise OSError("the kernel refuses to answer")
                yield data[_HEADER.size : length]
            data = data[_aligned(length) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, number = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield number & _NESTED, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _ip(data: bytes) -> str:
    return str(ipaddress.ip_address(data))
