"""The way of what an agent says to this Manager, hop by hop: who dials whom, and how old that may be.

The age of what is shown of an agent is bound by the sum of the heartbeats on the way: at each hop the next contact is
promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from popham.manager.itself import NAME
from popham.manager.judgement import show_span
from popham.manager.links import Links
from popham.model.fleet import AgentKind
from popham.model.proxy_definition import STREAMS
from popham.model.status import OVERDUE, STATE_TYPE, Presence, StateRecord, presence
from popham.store.rows import AgentRow
from popham.store.seam import Reading
from popham.trust.dsse import Envelope
from popham.upstream.relay_placed import HOPS_MAX

_MOST: Final = 1e15
_PROBLEM_MAX: Final = 200


class Paths:
    """Ways of agents, for one question: each proxy is read once."""

    def __init__(self, reading: Reading, links: Links) -> None:
        """Read from one snapshot."""
        self._reading = reading
        self._links = links
        self._rows: dict[str, AgentRow | None] = {}

    def proxies(self, uid: str) -> list[AgentRow]:
        """Return the proxies between an agent and this Manager, the one nearest to the Manager first."""
        found = [self._row(proxy) for proxy in tuple(self._links.relayed.via(uid))[:HOPS_MAX]]
        return [row for row in found if row is not None]

    def promise(self, row: AgentRow) -> float:
        """Return the seconds from one contact of an agent with its own upstream to the next.

        Of an agent behind proxies the database has what is promised here, with theirs.
        """
        own = self._links.relayed.own_promise(row.uid)
        return row.promise if own is None else own

    def explain_wait(self, proxies: list[AgentRow], known: Presence, now: float) -> str:
        """Return which proxy an agent has to wait for, and for how long; empty if for none.

        Args:
            proxies: As :meth:`proxies` returned them.
            known: Whether the agent itself is on time; one that is not is waited for itself.
            now: Unix seconds.
        """
        for row in proxies:
            if self._links.connected(row.uid):
                continue
            last, here = self._presence(row, now)
            if last is None or here is not Presence.ON_TIME:
                return _say_away(row, last, here, now)
            if known is not Presence.ON_TIME:
                return ""
            promise = self.promise(row)
            visit = self._links.visit(row.uid)
            due = visit.next if visit is not None and visit.next is not None else last + promise
            return f"waits for the proxy {row.name}, which is in touch again in {show_span(due - now)}"
        return ""

    def away(self, proxies: list[AgentRow], now: float) -> tuple[str, str]:
        """Return the proxy nearest to this Manager that is not on time, and that in a sentence; both empty if all are.

        An open link does not count: nothing comes over the one of a process that hangs.

        Args:
            proxies: As :meth:`proxies` returned them.
            now: Unix seconds.
        """
        for row in proxies:
            last, here = self._presence(row, now)
            if last is None or here is not Presence.ON_TIME:
                return row.name, _say_away(row, last, here, now)
        return "", ""

    def hops(self, row: AgentRow, proxies: list[AgentRow]) -> list[dict[str, Any]]:
        """Return each hop from this Manager to an agent: its ends, who dials, mode, heartbeat and age bound.

        Args:
            row: Of the agent.
            proxies: As :meth:`proxies` returned them.
        """
        above, found = NAME, []
        for one in [*proxies, row]:
            found.append(_hop(above, one, self.promise(one)))
            above = one.name
        return found

    def _presence(self, row: AgentRow, now: float) -> tuple[float | None, Presence]:
        seen = [at for at in (row.last_contact, self._links.last_contact(row.uid)) if at is not None]
        last = max(seen, default=None)
        return last, presence(last, self.promise(row), now, self._links.downtimes())

    def _row(self, uid: str) -> AgentRow | None:
        if uid not in self._rows:
            self._rows[uid] = self._reading.agent(uid)
        return self._rows[uid]


def _say_away(row: AgentRow, last: float | None, here: Presence, now: float) -> str:
    ago = f": nothing was heard of it for {show_span(now - last)}" if last is not None else ""
    return f"it is behind the proxy {row.name}, which is {here}{ago}"


def _hop(above: str, row: AgentRow, promise: float) -> dict[str, Any]:
    state = _state(row)
    # A stock agent always dials.
    dials = above if state is not None and state.dialer == "manager" else row.name
    return {
        "from": above,
        "to": row.name,
        "dials": "" if state is None and row.kind != AgentKind.STOCK else dials,
        "mode": state.mode if state is not None else "",
        "heartbeat": promise,
        "age_bound": OVERDUE * promise,
    }


def _state(row: AgentRow) -> StateRecord | None:
    if not row.state:
        return None
    return StateRecord.from_payload(Envelope.parse(row.state, types=(STATE_TYPE,)).payload)


def spool_of(status: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return stream → records, bytes and the oldest (unix seconds) that wait at a proxy, as it says; only numbers."""
    held = status.get("spool")
    found: dict[str, dict[str, float]] = {}
    for stream, said in held.items() if isinstance(held, Mapping) else ():
        if isinstance(said, Mapping) and stream in STREAMS:
            found[stream] = _numbers(said, "records", "bytes", "oldest")
    return found


def cache_of(status: Mapping[str, Any]) -> dict[str, float | str]:
    """Return bytes and damaged files of what a proxy keeps for its agents, and what is wrong with it, as it says."""
    said = status.get("cache")
    if not isinstance(said, Mapping):
        return {}
    found: dict[str, float | str] = {**_numbers(said, "bytes", "damaged")}
    problem = said.get("problem")
    return found | {"problem": problem[:_PROBLEM_MAX]} if problem and isinstance(problem, str) else found


def _numbers(said: Mapping[str, Any], *keys: str) -> dict[str, float]:
    found = ((key, said.get(key)) for key in keys)
    return {key: float(at) for key, at in found if isinstance(at, int | float) and 0 <= at < _MOST}
