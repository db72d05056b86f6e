"""What people see of agents: rows and links become views when somebody asks.

Presence and sync state are computed here, never stored.  A roster serves one
question: it reads each group's bundle once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from popham.manager.bundles import open_row
from popham.manager.judgement import Sight, judge
from popham.manager.links import Links
from popham.manager.objects import read_policies, read_refs, read_texts, read_tree
from popham.manager.stock import stock_config
from popham.manager.views import AgentView
from popham.model.bundle import Bundle
from popham.model.fleet import Admission, AgentKind
from popham.model.names import DEFAULT_LOCATION
from popham.model.policy import STOCK_TYPES
from popham.model.status import STATE_TYPE, StateRecord, presence
from popham.resolve.resolved import resolve
from popham.store.rows import AgentRow
from popham.store.seam import Reading
from popham.trust.dsse import Envelope


class Roster:
    """Answers one question about agents."""

    def __init__(self, reading: Reading, links: Links, now: float) -> None:
        """Read from one snapshot, at ``now`` (unix seconds)."""
        self._reading = reading
        self._links = links
        self._now = now
        self._bundles: dict[str, Bundle | None] = {}
        self._hashes: dict[str, bytes] = {}

    def view(self, row: AgentRow, *, detailed: bool = False) -> AgentView:
        """Return the view of one agent; ``detailed`` fills its detail."""
        seen = [at for at in (row.last_contact, self._links.last_contact(row.uid)) if at is not None]
        last = max(seen, default=None)
        record = read_record(row)
        bundle = self._bundle(row.group)
        next_contact = None if last is None else last + row.promise
        known = presence(last, row.promise, self._now, self._links.downtimes())
        sight = Sight(
            row=row,
            record=record,
            bundle=bundle,
            config_hash=self._config_hash(row),
            presence=known,
            connected=self._links.connected(row.uid),
            next_contact=next_contact,
            now=self._now,
        )
        state, reason = judge(sight)
        accepted = row.admission == Admission.ACCEPTED
        settings = bundle.locations[DEFAULT_LOCATION].communication if bundle else None
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
            heartbeat=settings.heartbeat if own and settings else row.promise,
            wanted=bundle.serial if bundle and accepted else 0,
            applied=record.applied_serial if record else 0,
            last_contact=last,
            age=None if last is None else max(0.0, self._now - last),
            next_contact=next_contact,
            since=record.since if record and record.since else None,
            first_seen=row.first_seen,
            address=row.address,
            version=record.agent_version if record else _version(row),
            labels=read_texts(row.labels),
            certificate_until=row.certificate_until or None,
            detail=self._detail(row, record, bundle) if detailed else {},
        )

    def _detail(self, row: AgentRow, record: StateRecord | None, bundle: Bundle | None) -> Mapping[str, Any]:
        found: dict[str, Any] = {
            "description": json.loads(row.description),
            "capabilities": row.capabilities,
            "token": row.token,
            "spki": row.spki,
            "assignment": row.assignment_seq,
            "wanted_digest": bundle.content_digest if bundle else "",
            "policies": self._policies(row.group),
        }
        if row.kind == AgentKind.STOCK:
            found["remote"] = json.loads(row.remote)
        if record is not None:
            found |= {
                "content_digest": record.content_digest,
                "location": record.location,
                "resolved": record.resolved,
                "applied_resolved": record.applied_resolved,
                "outcome": record.outcome,
                "error_code": record.error_code,
                "error": record.error,
                "revision": record.revision,
                "unsupported": list(record.unsupported),
                "facts": dict(record.facts),
            }
        return found

    def _policies(self, group: str) -> list[dict[str, Any]]:
        """Return the policies that are to hold in a group, each with its origin."""
        tree = read_tree(self._reading)
        if group not in tree:
            return []
        resolved = resolve(tree, read_refs(self._reading), group)
        return [
            {
                "type": kind,
                "name": origin.value.name,
                "revision": origin.value.revision,
                "group": origin.group,
                "inherited": origin.inherited,
            }
            for kind, origin in sorted(resolved.policies.items())
            if origin.value is not None
        ]

    def _bundle(self, group: str) -> Bundle | None:
        if group not in self._bundles:
            row = self._reading.bundle(group)
            self._bundles[group] = open_row(row) if row else None
        return self._bundles[group]

    def _config_hash(self, row: AgentRow) -> bytes:
        """Return the hash of what a stock agent should have; empty for nothing, and for our agents."""
        bundle = self._bundle(row.group)
        if row.kind != AgentKind.STOCK or bundle is None:
            return b""
        if row.group not in self._hashes:
            held = bundle.locations[bundle.default_location].policies
            refs = [ref for ref in held if ref.type in STOCK_TYPES]
            self._hashes[row.group] = stock_config(read_policies(self._reading, refs))[1]
        return self._hashes[row.group]


def read_record(row: AgentRow) -> StateRecord | None:
    """Return the state record that a row keeps; it was verified when it was stored."""
    if not row.state:
        return None
    return StateRecord.from_payload(Envelope.parse(row.state, types=(STATE_TYPE,)).payload)


def _version(row: AgentRow) -> str:
    return str(json.loads(row.description).get("service.version", ""))
