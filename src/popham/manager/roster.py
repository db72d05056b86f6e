"""What people see of agents: rows and links become views when somebody asks.

Presence and sync state are computed here, never stored.  A roster serves one
question: it reads each group's bundle once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from popham import __version__
from popham.manager.agent_definitions import definition_of
from popham.manager.bundles import open_row
from popham.manager.guard import read_minima
from popham.manager.judgement import Sight, has_candidate, judge, serial_of
from popham.manager.lagging import explain_behind
from popham.manager.links import Links
from popham.manager.moves import labels_of
from popham.manager.objects import read_lineage, read_policies, read_refs, read_texts
from popham.manager.operations.views import view_last
from popham.manager.overrides import Overrides
from popham.manager.proxies.paths import Paths
from popham.manager.rollouts import open_rollout
from popham.manager.stock import stock_config
from popham.manager.views import AgentView
from popham.manager.visit_views import VisitView
from popham.manager.visit_why import Unvisited, explain_unvisited
from popham.model.bundle import Bundle
from popham.model.communication import CommunicationSettings
from popham.model.fleet import Admission, AgentKind
from popham.model.policy import STOCK_TYPES
from popham.model.rollout import RolloutRef
from popham.model.status import STATE_TYPE, Presence, StateRecord, age_bound, presence
from popham.net.seam import FULL
from popham.resolve.resolved import resolve, resolve_locations
from popham.store.rows import AgentRow
from popham.store.seam import Reading
from popham.trust.dsse import Envelope

_FALLBACKS: Mapping[str, str] = MappingProxyType(
    {FULL: "the Manager's links are all taken; the agent pulls, and asks for a link again"}
)
"""Code of a fallback → what it means."""


class Roster:
    """Answers one question about agents."""

    def __init__(self, reading: Reading, links: Links, now: float) -> None:
        """Read from one snapshot, at ``now`` (unix seconds)."""
        self._reading = reading
        self._links = links
        self._now = now
        self._bundles: dict[str, Bundle | None] = {}
        self._hashes: dict[str, bytes] = {}
        self._minima: dict[str, int] = {}
        self._paths = Paths(reading, links)

    def view(self, row: AgentRow, *, detailed: bool = False) -> AgentView:
        """Return the view of one agent; ``detailed`` fills its detail."""
        seen = [at for at in (row.last_contact, self._links.last_contact(row.uid)) if at is not None]
        last = max(seen, default=None)
        record = read_record(row)
        bundle = self._side(row, record)
        proxies = self._paths.proxies(row.uid)
        # Through proxies it is heard of once each of them was: heartbeats add up.
        own_promise = self._paths.promise(row)
        promise = own_promise + sum(map(self._paths.promise, proxies))
        next_contact = None if last is None else last + promise
        times = last, promise, self._now, self._links.downtimes()
        known, visit = presence(*times), self._links.visit(row.uid)
        unvisited = self._unvisited(row, record, visit, proxies)
        sight = self._see(row, record, bundle, known, next_contact, visit, unvisited)
        state, reason = judge(sight)
        accepted = row.admission == Admission.ACCEPTED
        settings = _settings(bundle, record)
        own = row.kind == AgentKind.OWN
        return AgentView(
            uid=row.uid,
            name=row.name,
            group=row.group,
            kind=row.kind,
            admission=row.admission,
            presence=known,
            connected=sight.connected,
            sync=state,
            reason=reason,
            mode=record.mode if record else "",
            dialer=record.dialer if record else "",
            fallback=record.fallback if record else "",
            location=_location(row, record, bundle),
            rules=record.rules if record else (),
            location_since=record.location_since or None if record else None,
            heartbeat=settings.heartbeat if own and settings else own_promise,
            wanted=serial_of(sight) if accepted else 0,
            applied=record.applied_serial if record else 0,
            last_contact=last,
            age=None if last is None else max(0.0, self._now - last),
            age_bound=age_bound(*times),
            next_contact=next_contact,
            since=record.since if record and record.since else None,
            first_seen=row.first_seen,
            address=row.address,
            version=record.agent_version if record else _version(row),
            via=tuple(one.name for one in proxies),
            behind=self._behind(row, record, last, promise),
            labels=labels_of(row),
            certificate_until=row.certificate_until or None,
            service=record.service if record else "",
            visit=visit,
            detail=self._detail(row, record, bundle, proxies) | _show_unvisited(unvisited)
            if detailed
            else {},
        )

    def _see(
        self,
        row: AgentRow,
        record: StateRecord | None,
        bundle: Bundle | None,
        known: Presence,
        next_contact: float | None,
        visit: VisitView | None,
        unvisited: Unvisited | None,
    ) -> Sight:
        """Return what there is to judge by."""
        return Sight(
            row=row,
            record=record,
            bundle=bundle,
            config_hash=self._config_hash(row),
            presence=known,
            connected=self._links.connected(row.uid),
            next_contact=next_contact,
            now=self._now,
            minimum_serial=self._minimum(row.group) if record and record.withheld else 0,
            next_visit=visit.next if visit else None,
            unvisited=unvisited.sentence if unvisited else "",
            waits=self._paths.explain_wait(self._paths.proxies(row.uid), known, self._now),
        )

    def _unvisited(
        self, row: AgentRow, record: StateRecord | None, visit: VisitView | None, proxies: Sequence[AgentRow]
    ) -> Unvisited | None:
        """Return why an agent dials although it is to be visited; None if it does not."""
        if record is None or not record.fallback:
            return None
        proxy = proxies[-1].name if proxies else ""
        said = self._links.relayed.unvisited(row.uid) if proxy else ""
        place = record.service, row.address
        return explain_unvisited(record.fallback, *place, visit, self._now, proxy=proxy, said=said)

    def _behind(self, row: AgentRow, record: StateRecord | None, last: float | None, heartbeat: float) -> str:
        """Return that one of our agents stays below this Manager's version, in a sentence; empty if it does not."""
        if record is None or row.admission != Admission.ACCEPTED:
            return ""
        return explain_behind(
            record.agent_version,
            __version__,
            first=row.first_seen,
            last=last,
            heartbeat=heartbeat,
            downtimes=self._links.downtimes(),
        )

    def _detail(
        self, row: AgentRow, record: StateRecord | None, bundle: Bundle | None, proxies: list[AgentRow]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {
            "description": json.loads(row.description),
            "capabilities": row.capabilities,
            "token": row.token,
            "spki": row.spki,
            "assignment": row.assignment_seq,
            "labels_of_operators": read_texts(row.operator_labels),
            "labels_of_agent": read_texts(row.labels),
            "wanted_digest": bundle.content_digest if bundle else "",
            "download": bundle.download if bundle else True,
            "policies": self._policies(row.group, record.location if record else "", bundle),
            "operations": view_last(self._reading, row.uid),
            "path": self._paths.hops(row, proxies),
        }
        name, sentence = self._paths.away(proxies, self._now)
        if name:
            found |= {"proxy_away": sentence, "proxy_away_name": name}
        if bundle is not None and bundle.rollout is not None:
            found |= self._rollout(bundle, bundle.rollout, row, record)
        overrides = Overrides.of(row).as_dict()
        if overrides:
            found["overrides"] = overrides
        visited = self._reading.agent_definition_of(row.uid)
        if visited is not None:
            found["visited_at"] = definition_of(visited).url
        if row.kind == AgentKind.STOCK:
            found["remote"] = json.loads(row.remote)
        if record is not None:
            found |= {
                "ordered": show_ordered(_settings(bundle, record), record),
                "serial": record.serial,
                "content_digest": record.content_digest,
                "applied_digest": record.applied_digest,
                "resolved": record.resolved,
                "applied_resolved": record.applied_resolved,
                "outcome": record.outcome,
                "error_code": record.error_code,
                "error": record.error,
                "revision": record.revision,
                "unsupported": list(record.unsupported),
                "withheld": list(record.withheld),
                "facts": dict(record.facts),
                "drifted": list(record.drifted),
                "drift_path": record.drift_path,
                "drift_at": record.drift_at,
                "drift_error": record.drift_error,
                "put_back": record.put_back,
                "watched_until": record.watched_until,
                "candidate": record.candidate,
                "candidate_error": record.candidate_error,
                "collection_paused": record.paused_at,
            }
        return found

    def _policies(self, group: str, location: str, bundle: Bundle | None) -> list[dict[str, Any]]:
        """Return the policies that are to hold in a group at a location, each with its origin.

        During a rollout the bundle decides which of them hold, and in which revision.
        """
        if self._reading.group(group) is None:
            return []
        tree = read_lineage(self._reading, group)
        known = location in resolve_locations(tree, group).value.names
        resolved = resolve(tree, read_refs(self._reading), group, location if known else "")
        held = {kind: origin.value for kind, origin in resolved.policies.items() if origin.value}
        if bundle is not None and bundle.rollout is not None:
            here = location if location in bundle.locations else bundle.default_location
            held = {ref.type: ref for ref in bundle.locations[here].policies}
        return [
            {
                "type": kind,
                "name": held[kind].name,
                "revision": held[kind].revision,
                "group": origin.group,
                "location": origin.location,
                "inherited": origin.inherited,
            }
            for kind, origin in sorted(resolved.policies.items())
            if kind in held
        ]

    def _bundle(self, group: str) -> Bundle | None:
        if group not in self._bundles:
            row = self._reading.bundle(group)
            self._bundles[group] = open_row(row) if row else None
        return self._bundles[group]

    def _side(self, row: AgentRow, record: StateRecord | None) -> Bundle | None:
        """Return the group's bundle as it holds for one agent."""
        bundle = self._bundle(row.group)
        if bundle is None or bundle.rollout is None or not has_candidate(bundle, row, record):
            return bundle
        return bundle.chosen(candidate=True)

    def _rollout(
        self, bundle: Bundle, ref: RolloutRef, row: AgentRow, record: StateRecord | None
    ) -> Mapping[str, Any]:
        """Return how an agent stands to the rollout of its group."""
        kept = self._reading.rollout(int(ref.id.removeprefix("r")))
        stored = open_rollout(kept) if kept else None
        rollout = stored.rollout if stored else None
        failed = [one.reason for one in stored.errors if one.uid == row.uid] if stored else []
        return {
            "rollout": ref.id,
            "rollout_state": str(rollout.state) if rollout else "",
            "rollout_reason": rollout.reason if rollout else "",
            "rollout_since": rollout.since if rollout else 0.0,
            "rollout_by": rollout.by if rollout else "",
            "rollout_error": failed[0] if failed else "",
            "wave": ref.wave,
            "waves": len(rollout.waves) if rollout else ref.wave,
            "share": ref.share,
            "is_candidate": has_candidate(bundle, row, record),
            "is_named": ref.named and Overrides.of(row).candidate == ref.id,
            "rollout_serial": bundle.serial,
        }

    def _minimum(self, group: str) -> int:
        """Return the serial that a group asks for before it gives bodies with secrets; 0 for none."""
        if group not in self._minima:
            self._minima[group] = read_minima(self._reading, [group]).get(group, 0)
        return self._minima[group]

    def _config_hash(self, row: AgentRow) -> bytes:
        """Return the hash of what a stock agent should have; empty for nothing, and for our agents."""
        bundle = self._bundle(row.group)
        if row.kind != AgentKind.STOCK or bundle is None:
            return b""
        if row.group not in self._hashes:
            held = bundle.locations[bundle.default_location].policies
            refs = [ref for ref in held if ref.type in STOCK_TYPES]
            policies, guarded = read_policies(self._reading, refs), bool(self._minimum(row.group))
            self._hashes[row.group] = stock_config(policies, guarded=guarded)[1]
        return self._hashes[row.group]


def _show_unvisited(unvisited: Unvisited | None) -> dict[str, Any]:
    return {"unvisited": unvisited.sentence, "unvisited_step": unvisited.step} if unvisited else {}


def show_ordered(settings: CommunicationSettings | None, record: StateRecord) -> str:
    """Return which mode is ordered and why another is in force, in a sentence; empty if none is."""
    if settings is None or settings.mode == record.mode:
        return ""
    if record.fallback:
        why = _FALLBACKS.get(record.fallback, record.fallback)
    elif settings.times or settings.metered:
        why = "the settings name another for this time of day, or for a metered link"
    else:
        why = "the agent has not changed over yet"
    return f"{settings.mode}: {why}"


def _location(row: AgentRow, record: StateRecord | None, bundle: Bundle | None) -> str:
    """Return where an agent is: by its own word, or by default if it cannot say."""
    if record is not None:
        return record.location
    return bundle.default_location if row.kind == AgentKind.STOCK and bundle else ""


def _settings(bundle: Bundle | None, record: StateRecord | None) -> CommunicationSettings | None:
    """Return the settings that are to hold where the agent says it is."""
    if bundle is None:
        return None
    here = record.location if record and record.location in bundle.locations else bundle.default_location
    return bundle.locations[here].communication


def read_record(row: AgentRow) -> StateRecord | None:
    """Return the state record that a row keeps; it was verified when it was stored."""
    if not row.state:
        return None
    return StateRecord.from_payload(Envelope.parse(row.state, types=(STATE_TYPE,)).payload)


def _version(row: AgentRow) -> str:
    return str(json.loads(row.description).get("service.version", ""))
