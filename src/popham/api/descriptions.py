"""What the fields in ``/openapi.json`` mean: one table, by the name of the field.

A name means one thing in all objects; where it does not, ``Schema.field``
goes first. A test fails on a field without a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from popham.model.registry import ROUTES, IdentityKind, Listener

FIELDS: Mapping[str, str] = {
    "accepts": "Whether an agent that joins by it is accepted at once.",
    "action": "created, changed, unchanged or deleted.",
    "actor": "Who made the change.",
    "address": "Address of the last contact.",
    "admission": "new, accepted, refused or revoked.",
    "after": "The object afterwards, as JSON without secrets; empty if it is gone.",
    "advice": "What is to be considered, with this fleet's numbers; applies to what is new.",
    "age": "Seconds since the last contact; null if never seen.",
    "age_bound_s": "Seconds; what is shown of an agent is not older.",
    "agents": "How many agents it concerns.",
    "all": "Whether to ask all agents of the fleet.",
    "annotations": "For programs; `popham.io/source` says where the object is kept.",
    "applied": "Serial in force on the machine; 0 if none, or a stock agent.",
    "as_source": "As which source to apply: what is written belongs to it; empty for none.",
    "at": "When, in unix seconds.",
    "author": "Who made it.",
    "bandwidth": "Bytes in a second, both ways, while nothing changes.",
    "base": "What the plan rests on: object to digest; null for none.",
    "before": "The object before, as JSON without secrets; empty if it was not there.",
    "certificate_until": "When the agent's certificate ends, in unix seconds; null where there is none.",
    "change_bytes": "Bytes until all agents have one change and have said so; content comes on top.",
    "change_cpu_s": "Seconds of the Manager's CPU until one change to all agents is in force and durable.",
    "changed": "When this revision was made, in unix seconds.",
    "changes": "What becomes of each definition.",
    "cidr": "Only from these addresses, separated by commas; empty for any.",
    "code": "Stable name of the error, `area.reason`.",
    "communication": "The group's own communication settings; null if it inherits them.",
    "connected": "Whether a held link is open now.",
    "connections": "Open connections: held links, and those of agents that pull so often that theirs stay open.",
    "connections_max": "Open connections that this Manager may have.",
    "costs": "What the whole fleet costs before and after; null if no communication settings change.",
    "cpu_cores": "Cores that rounds keep busy.",
    "created": "When it was made, in unix seconds.",
    "cursor": "Asks for the next page; empty at the end.",
    "detail": "More about one agent: what is ordered, description, policies with their origin, error; empty in lists.",
    "dialer": "Which end opens the connection: agent or manager; empty if unknown.",
    "difference": "Unified diff of definitions, without secrets; empty if there is none.",
    "discarded": "Own values that are dropped because they are inherited again.",
    "dry_run": "Whether this only says what would be.",
    "edition": "Rises with each change of the group.",
    "errors": "All errors of a set of definitions; the problem itself is the first.",
    "exceptions": "Item (policy type, communication, locations) to whether it is inherited, where that differs.",
    "expires": "When it ends, in unix seconds.",
    "fallback": "Code of why the mode is not the one that was ordered; empty if it is.",
    "files": "The files, in order.",
    "first_seen": "When the agent was first seen, in unix seconds.",
    "group": "Name of the group.",
    "groups": "Groups that assign the policy themselves.",
    "hash": "Links this entry with the one before it.",
    "heartbeat": "Seconds from one round to the next on a quiet link.",
    "here": "Where the agent is, and because of what.",
    "hint": "What to do about it; may be empty.",
    "holds": "Whether this is the value that holds.",
    "id": "Identifies the token.",
    "inherited": "Whether it comes from a group above.",
    "inherits": "The check box: inherit policies and settings from the parent.",
    "items": "The objects.",
    "labels": "Set by operators.",
    "last_contact": "In unix seconds; null if never seen.",
    "line": "Line in that file, from 1; 0 if unknown.",
    "link": "connected, or none.",
    "links": "Held links.",
    "location": "Name of the location; empty for the whole group.",
    "location_since": "Since when it is there, in unix seconds; null if it was never elsewhere.",
    "locations": "The group's own list of locations, and how agents look; null if it inherits it.",
    "measured": "Where the numbers that were reckoned with come from.",
    "memory_mb": "Megabytes of the Manager's memory.",
    "message": "Why, in a line.",
    "method": "What was called.",
    "mode": "push or pull; empty if unknown.",
    "name": "Name for people.",
    "newest": "Whether it is the policy's newest.",
    "next_contact": "Promised next contact, in unix seconds; null if unknown.",
    "note": "What else should be known of it.",
    "object": "What was changed.",
    "order": "Smaller ones are asked first.",
    "overrides": "What it hides, and of which group or location; empty if nothing.",
    "parent": "Name of the parent group; empty for the root.",
    "path": "The lineage, from the root.",
    "policies": "Own assignments: policy type to policy name.",
    "presence": "on time, overdue, missing or never seen.",
    "preset": "The cell of mode and dialer by its name.",
    "private_to": "The one group it may be assigned to; empty if shared.",
    "prune": "Whether to delete what the source has and the files lack.",
    "reason": "One sentence behind `sync` where it is not in sync.",
    "resolved": "What holds: item to value, group it comes from, and whether it is inherited.",
    "retryable": "Whether the same request may succeed later.",
    "revision": "From 1; rises when the content changes.",
    "rounds_per_second": "Rounds in a second with nothing new.",
    "rules": "The conditions that put the agent into its location, in words.",
    "secret": "Join string or bearer token; shown this once.",
    "selector": "Which agents are meant, by their labels: env=prod,role in (web,db); empty for all.",
    "sentence": "The advice, in one sentence.",
    "seq": "Position in the audit, from 1.",
    "serial": "The bundle's number for people; rises only when content changes.",
    "sha256": "Digest of the content.",
    "setting": "A policy type, `locations`, or one of the communication settings.",
    "shifts": "Where communication settings change.",
    "since": "When the present outcome began, in unix seconds; null if unknown.",
    "source": "From where it came.",
    "spec": "The policy as its type normalises it; null in lists.",
    "status": "HTTP status.",
    "step": "What to do next; empty if nothing.",
    "steps": "What each group of the lineage says, from the agent's up to the root.",
    "sync": "in sync, pending, failed, drifted or cannot take it.",
    "take_over": "Whether to take objects from the source that they belong to.",
    "text": "Definitions in YAML; several documents are separated by ---.",
    "title": "Name of the HTTP status.",
    "to": "Name of the new policy.",
    "to_revision": "The revision to go back to.",
    "token": "The token, without its secret.",
    "type": "Policy type.",
    "uid": "The agent's instance_uid.",
    "uses": "How many agents joined by it.",
    "uses_left": "How many more may join; -1 for any number.",
    "value": "What holds, in words.",
    "values": "Location to what the group itself says of it: policies and communication settings.",
    "version": "The bundle's number for machines: rises at each signing.",
    "warnings": "Sentences about what is possible and unwise.",
    "wait_bound_s": "Seconds that a change waits at most until an agent is told; 0 for at once.",
    "wanted": "Serial of the group's bundle; 0 if there is none.",
    "warns": "Whether something would not be borne; else it is only dearer, or later.",
    "when": "When the round is expected, in unix seconds; null if unknown.",
    "within": "Location to the items that hold otherwise there: value, group, and whether it is inherited.",
}
"""Field → what it means."""

SPECIAL: Mapping[str, str] = {
    "AdviceView.code": "Stable name of the advice.",
    "AgentView.labels": "Those that hold: the operators' over the agent's own.",
    "AgentView.location": "Where it says it is; the default for a stock agent, empty if unknown.",
    "AgentView.kind": "own, stock or unknown.",
    "AgentView.version": "Version of the agent's program.",
    "ApplyResult.groups": "What it means for each group.",
    "Change.agents": "How many agents a deletion concerns.",
    "Change.kind": "Group, Policy or Placement.",
    "CheckIn.state": "`asked` over a held link, or `waits` for the agent's next contact.",
    "CheckInRequest.agents": "Names or uids.",
    "CheckInRequest.group": "All agents of this group; null for none.",
    "CommunicationShift.after": "The settings afterwards, in words.",
    "CommunicationShift.before": "The settings before, in words; empty for a new group.",
    "Costs.after": "What the fleet costs afterwards.",
    "Costs.before": "What the fleet costs now.",
    "DifferenceView.after": "The newer revision.",
    "DifferenceView.before": "The older revision; 0 if there is none.",
    "FileView.name": "Where to put it: `groups/paris.yaml`.",
    "DefinitionFile.name": "Name of the file, for messages.",
    "Finding.detail": "One sentence about what is wrong.",
    "Finding.source": "Name of the file with the wrong definition.",
    "GroupEffect.after": "Serial afterwards.",
    "GroupEffect.before": "Serial before.",
    "Health.status": "Always ok; a fault is a problem of another status.",
    "Problem.detail": "One sentence about what is wrong.",
    "Problem.source": "Name of the file with the wrong definition.",
    "Problem.type": "Always about:blank; `code` names the error.",
    "RevisionView.agents": "How many agents belong to these groups.",
    "RevisionView.groups": "Groups whose bundle has it now.",
    "TokenRequest.lifetime": "Seconds until it expires; null for an hour, or thirty days if stock.",
    "TokenRequest.uses": "How many agents may join; null for one, or any number if stock.",
    "TokenView.kind": "enrollment, for our agents; stock, a bearer token for others.",
    "TokenRequest.kind": "enrollment, for our agents; stock, a bearer token for others.",
    "TokenView.state": "usable, used up, expired or revoked.",
}
"""``Schema.field`` → what it means there."""

PROBLEM = {
    "description": "An error; `code` says which.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def complete(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document with meanings, errors and who may use each route."""
    schemas = schema["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for name, found in schemas.items():
        for field, entry in found.get("properties", {}).items():
            meaning = SPECIAL.get(f"{name}.{field}") or FIELDS.get(field, "")
            if meaning:
                entry["description"] = meaning
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = PROBLEM
            operation["x-popham-identities"] = _identities(method.upper(), path)
    return schema


def _identities(method: str, path: str) -> list[str]:
    for route in ROUTES:
        if (route.listener, route.method, route.path) == (Listener.PEOPLE, method, path):
            return [str(kind) for kind in IdentityKind if route.allows(kind)]
    return []
