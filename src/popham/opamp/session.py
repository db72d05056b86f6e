"""Both ends of an OpAMP session, without I/O or clock.

An :class:`AgentSession` decides what an agent says and leaves unsaid; an
:class:`Ear` decides, at the other end, what an upstream has heard and whether
something is missing.  Neither knows who dialled, or whether the link is held.

Rules:

1. An agent omits what upstream was told and has not changed; what was said in
   a message that was never answered counts as not told.  Results of operations are
   said again with each heartbeat, until upstream has named them.
2. Upstream asks for the full state only if something is missing: a gap in the
   sequence, or an agent it has never heard a description of.
3. Every message is answered, duplicates included; none is refused for its number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from popham.errors import WireError
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentDescription,
    AgentDisconnect,
    AgentToServer,
    CustomCapabilities,
    CustomMessage,
    RemoteConfigStatus,
    ServerToAgent,
)
from popham.opamp.wire import REPORT_FULL_STATE, STREAMS

_OUTSTANDING = 64
"""Messages that may be unanswered at once on a held link."""
_CUSTOM, _NAME = 64, 256
"""Custom capabilities of one agent that are remembered, and characters of each."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an agent can say of itself; each part is omitted while it is unchanged.

    Attributes:
        description: Identifying and other attributes.
        remote_status: How far the newest remote configuration got; None before the first.
        report: Our own report with the state record, for agents that are ours.
        results: A report of the results of operations that upstream did not name as heard; None for none.  That one
            was named is no news.
    """

    description: AgentDescription
    remote_status: RemoteConfigStatus | None = None
    report: CustomMessage | None = None
    results: CustomMessage | None = None

    def encoded(self) -> dict[str, bytes]:
        """Return part → bytes, to compare with what was told."""
        found = {"description": self.description.SerializeToString(deterministic=True)}
        if self.remote_status is not None:
            found["remote_status"] = self.remote_status.SerializeToString(deterministic=True)
        if self.report is not None:
            found["report"] = self.report.SerializeToString(deterministic=True)
        if self.results is not None:
            found["results"] = self.results.SerializeToString(deterministic=True)
        return found

    def reported(self, news: Collection[str]) -> CustomMessage | None:
        """Return the one report that says what of both is news."""
        said = [
            part
            for name, part in (("report", self.report), ("results", self.results))
            if name in news and part is not None
        ]
        if not said:
            return None
        # Encoded messages that stand one behind the other are one message.
        data = b"".join(part.data for part in said)
        return CustomMessage(capability=said[0].capability, type=said[0].type, data=data)


class AgentSession:
    """The agent's end: numbers messages and omits what is known.

    Attributes:
        said: How many reports of ours were sent.
        answered: How many of them were answered, or never will be; upstream says in such an answer what it can do,
            and never without a question.
    """

    def __init__(
        self, uid: bytes, capabilities: int, custom_capabilities: tuple[str, ...] = (), *, adopts: bool = True
    ) -> None:
        """Begin with nothing told.

        Args:
            uid: instance_uid, 16 bytes.
            capabilities: OpAMP's bits.
            custom_capabilities: Declared with the full state.
            adopts: Whether upstream may give another uid; not where a certificate names it.
        """
        self.uid = uid
        self._adopts = adopts
        self._capabilities = capabilities
        self._custom = CustomCapabilities(capabilities=custom_capabilities)
        self._sequence = 0
        self._told: dict[str, bytes] = {}
        self._outstanding: deque[dict[str, bytes]] = deque(maxlen=_OUTSTANDING)
        self._full = True
        self.said = self.answered = 0

    def opened(self) -> None:
        """Take note of a new link: its first message carries our report, whatever was told before."""
        self.lost()
        self._told.pop("report", None)

    def lost(self) -> None:
        """Take note that no more answers come: what is unanswered was not told."""
        for parts in self._outstanding:
            for name in parts:
                self._told.pop(name, None)
        self._outstanding.clear()
        self.answered = self.said

    def forget(self) -> None:
        """Begin the next message with the full state."""
        self._full = True

    def message(self, parts: Parts, *, force: bool) -> bytes | None:
        """Return the next AgentToServer, or None if nothing changed and ``force`` is False."""
        now = parts.encoded()
        news = {name: data for name, data in now.items() if self._told.get(name) != data}
        if self._full:
            news = now
        elif force and "results" in now:
            news["results"] = now["results"]
        if not (news or force or self._full):
            return None
        message = AgentToServer(
            instance_uid=self.uid, sequence_num=self._sequence, capabilities=self._capabilities
        )
        if self._full and self._custom.capabilities:
            message.custom_capabilities.CopyFrom(self._custom)
        if "description" in news:
            message.agent_description.CopyFrom(parts.description)
        if "remote_status" in news and parts.remote_status is not None:
            message.remote_config_status.CopyFrom(parts.remote_status)
        report = parts.reported(news)
        if report is not None:
            message.custom_message.CopyFrom(report)
            self.said += 1
        self._sent(news)
        return message.SerializeToString()

    def request(self, message: AgentToServer) -> bytes:
        """Return ``message`` (a CSR, say) with identity and number filled in."""
        message.instance_uid = self.uid
        message.sequence_num = self._sequence
        message.capabilities = self._capabilities
        self._sent({})
        return message.SerializeToString()

    def beside(self, message: CustomMessage) -> bytes:
        """Return a message that says ``message`` alone: it has no number, and what answers it answers no report."""
        return AgentToServer(instance_uid=self.uid, custom_message=message).SerializeToString()

    def goodbye(self) -> bytes:
        """Return the last message of a session."""
        return self.request(AgentToServer(agent_disconnect=AgentDisconnect()))

    def receive(self, data: bytes) -> ServerToAgent:
        """Return what upstream said, with identity and full state seen to.

        Raises:
            WireError: It is malformed, or meant for another agent.
        """
        message = parse_upstream(data)
        if message.instance_uid and message.instance_uid != self.uid:
            raise WireError("instance_uid", "an answer is meant for another agent")
        if message.custom_message.capability != STREAMS:
            self._answer(message)
        if message.flags & REPORT_FULL_STATE:
            self._full = True
        if self._adopts and len(message.agent_identification.new_instance_uid) == 16:
            self.uid = message.agent_identification.new_instance_uid
        return message

    def _answer(self, message: ServerToAgent) -> None:
        """Take note that a message of ours was answered."""
        if self._outstanding:
            parts = self._outstanding.popleft()
            if message.HasField("error_response"):
                for name in parts:
                    self._told.pop(name, None)
        if message.HasField("custom_capabilities"):
            self.answered = min(self.answered + 1, self.said)

    def _sent(self, parts: dict[str, bytes]) -> None:
        self._told.update(parts)
        self._outstanding.append(parts)
        self._sequence += 1
        self._full = False


class Missing(Enum):
    """What an upstream lacks after a message."""

    NOTHING = "nothing"
    FULL_STATE = "full state"


@lru_cache(64)
def _share(names: tuple[str, ...]) -> frozenset[str]:
    """Return the names as a set, which all agents share that say the same: most of a fleet do."""
    return frozenset(names)


@dataclass(slots=True)
class Ear:
    """What an upstream has heard of one agent; outlives every link.

    Attributes:
        sequence: Number of the last message; -1 if unknown, so that any may follow.
        capabilities: Last declared; 0 if never.
        custom: Custom capabilities; None while unknown.
        described: Whether a description was ever heard.
    """

    sequence: int = -1
    capabilities: int = 0
    custom: frozenset[str] | None = None
    described: bool = False

    def hear(self, message: AgentToServer) -> Missing:
        """Take note of a message and return what is missing.

        A message with nothing but its uid is a heartbeat: it neither advances
        nor breaks the sequence.  A message that says goodbye asks for nothing.
        """
        bare = not message.sequence_num and not message.capabilities
        gap = not bare and self.sequence not in (-1, message.sequence_num, message.sequence_num - 1)
        if not bare:
            self.sequence = message.sequence_num
        if message.capabilities:
            self.capabilities = message.capabilities
        if message.HasField("custom_capabilities"):
            said = message.custom_capabilities.capabilities[:_CUSTOM]
            self.custom = _share(tuple(name for name in said if len(name) <= _NAME))
        full = message.HasField("agent_description")
        if full:
            self.described = True
            if self.custom is None:
                self.custom = frozenset()
        if message.HasField("agent_disconnect") or full:
            return Missing.NOTHING
        return Missing.FULL_STATE if gap or not self.described else Missing.NOTHING
