"""When and how the records of an agent are sent, in each of the four cells.

Rules:

1. Offsets decide.  What is sent twice, by whatever way, is had once; so a cell may change at any time, also in the
   middle of a request, and a lost answer costs a repeat.
2. Events have a lane of their own: nothing that is large is before them.  In the other lane the summary goes first,
   then metrics, then logs.
3. Push: what comes is sent; pull: it waits for a round, for a visit, or for a heartbeat, but for events.
4. Over a link goes what is small, one message of a lane at a time; what is larger goes by a request of the end that dials
   for data.
5. A failure here has a wait of its own, and ends nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from popham.agent.streams.course import Course
from popham.agent.streams.lane import Lane
from popham.agent.streams.parts import Parts
from popham.agent.streams.spools import Spools, View
from popham.agent.streams.way import Contact, DataWay, End
from popham.clock import Clock
from popham.downstream.standings import decode, from_wire
from popham.errors import PophamError
from popham.link.pace import Pace
from popham.link.waits import wait_for_first
from popham.link.ways import Ways
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream
from popham.trust.keys import IdentityKey

_log = logging.getLogger(__name__)
