"""What an agent says of itself, under its own signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from popham.agent.enforcer import Enforcer
from popham.agent.records import Drift, Standing
from popham.model.communication import Dialer, Mode
from popham.model.generation import GENERATION
from popham.model.status import StateRecord

SENTENCE: Final = 1000
"""Characters of an error in a report: a report has to fit into 8 KiB."""
_RULES, _RULE, _PATHS, _PATH, _NAMES = 16, 64, 8, 200, 8
"""Conditions that held in a location, paths that drifted and policies withheld, and characters of each, likewise."""
_REASON = 400
"""Characters of why what drifted is not put back, or a candidate not held, likewise."""


def make_record(
    enforcer: Enforcer,
    uid: str,
    *,
    facts: Mapping[str, str],
    version: str,
    promise: float,
    mode: Mode,
    fallback: str,
    server: str,
    service: str,
    dialer: Dialer,
    paused_at: float,
    nonce: str,
) -> StateRecord:
    """Return the state record of a machine as it is now; fields as in :class:`popham.model.status.StateRecord`."""
    newest, in_force = enforcer.newest, enforcer.in_force
    progress, assignment = enforcer.progress, enforcer.assignment
    stranger = False
    if assignment is not None:
        if newest is not None and newest.bundle.group != assignment.group:
            newest = None  # its numbers would be compared with those of another group
        # So would the serial of what is still in force by orders of the group it was in before.
        strange = in_force is not None and in_force.bundle.group != assignment.group
        stranger = strange and not progress.withheld
    return StateRecord(
        uid=uid,
        revision=progress.revision,
        group=assignment.group if assignment else "",
        serial=newest.bundle.serial if newest else 0,
        version=newest.bundle.version if newest else 0,
        content_digest=newest.bundle.content_digest if newest else "",
        **_whereabouts(enforcer.standing),
        resolved=newest.held.resolved_digest if newest else "",
        applied_serial=0 if stranger else progress.applied_serial,
        applied_digest=in_force.bundle.content_digest if in_force else "",
        applied_resolved=progress.applied_resolved,
        outcome=progress.outcome,
        error_code=progress.error_code,
        error=progress.error[:SENTENCE],
        since=progress.since,
        promise=promise,
        mode=str(mode),
        fallback=fallback,
        server=server,
        service=service,
        dialer=str(dialer),
        assignment=assignment.seq if assignment else 0,
        agent_version=version,
        unsupported=enforcer.unsupported,
        facts=facts,
        **_drift_of(enforcer.drift),
        withheld=progress.withheld[:_NAMES],
        watched_until=enforcer.trials.watched_until,
        generation=GENERATION,
        paused_at=paused_at,
        nonce=nonce,
        candidate=enforcer.candidate,
        candidate_error=enforcer.candidate_error[:_REASON],
    )


def _whereabouts(standing: Standing) -> dict[str, Any]:
    return {
        "location": standing.location,
        "rules": tuple(rule[:_RULE] for rule in standing.rules[:_RULES]),
        "location_since": standing.since,
    }


def _drift_of(drift: Drift) -> dict[str, Any]:
    return {
        "drifted": tuple(path[:_PATH] for path in drift.paths[:_PATHS]),
        "drift_path": drift.path[:_PATH],
        "drift_at": drift.at,
        "drift_error": drift.error[:_REASON],
        "put_back": drift.put_back,
    }
