"""Who could be in a cohort: our agents that are accepted and know rollouts, in memory or as they are stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from popham.errors import PophamError
from popham.manager.cohort import Member, takes_part
from popham.model.fleet import Admission, AgentKind
from popham.model.status import STATE_TYPE, Downtime, Presence, StateRecord, presence
from popham.store.seam import Reading
from popham.trust.dsse import Envelope
from popham.upstream.record import Record


def is_member(record: Record) -> bool:
    """Return whether an agent can be in a cohort."""
    if record.kind is not AgentKind.OWN or record.admission is not Admission.ACCEPTED:
        return False
    return record.state is not None and takes_part(record.state.agent_version)


def find_members(
    records: Iterable[Record], groups: Collection[str], now: float, downtimes: Sequence[Downtime]
) -> Mapping[str, Sequence[Member]]:
    """Return the members of each group, of those in memory."""
    found: dict[str, list[Member]] = {name: [] for name in groups}
    back = max((down.end for down in downtimes), default=0.0)
    for record in records:
        if record.group in found and is_member(record):
            # A transaction waits for this: most were heard since, and a hundred downtimes are not theirs.
            away = downtimes if (record.last_contact or 0.0) < back else ()
            here = presence(record.last_contact, record.promise, now, away) is Presence.ON_TIME
            found[record.group].append(Member(record.uid, here))
    return found


def read_members(reading: Reading, groups: Collection[str], now: float) -> Mapping[str, Sequence[Member]]:
    """Return the members of each group, as they are stored: where no Manager has them in memory."""
    found: dict[str, list[Member]] = {}
    for name in groups:
        members = found.setdefault(name, [])
        for row in reading.agents(group=name):
            if row.kind != AgentKind.OWN or row.admission != Admission.ACCEPTED or not row.state:
                continue
            if takes_part(_version(row.state)):
                here = presence(row.last_contact, row.promise, now) is Presence.ON_TIME
                members.append(Member(row.uid, here))
    return found


def _version(envelope: bytes) -> str:
    try:
        return StateRecord.from_payload(Envelope.parse(envelope, types=(STATE_TYPE,)).payload).agent_version
    except PophamError:
        return ""
