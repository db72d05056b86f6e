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
    "action": "created, changed or unchanged.",
    "actor": "Who made the change.",
    "address": "Address of the last contact.",
    "admission": "new, accepted, refused or revoked.",
    "after": "The object afterwards, as JSON without secrets; empty if it is gone.",
    "age": "Seconds since the last contact; null if never seen.",
    "agents": "How many agents it concerns.",
    "all": "Whether to ask all agents of the fleet.",
    "applied": "Serial in force on the machine; 0 if none, or a stock agent.",
    "at": "When, in unix seconds.",
    "author": "Who made it.",
    "before": "The object before, as JSON without secrets; empty if it was not there.",
    "certificate_until": "When the agent's certificate ends, in unix seconds; null where there is none.",
    "changed": "When this revision was made, in unix seconds.",
    "changes": "What becomes of each definition.",
    "cidr": "Only from these addresses, separated by commas; empty for any.",
    "code": "Stable name of the error, `area.reason`.",
    "communication": "The group's own communication settings; null if it inherits them.",
    "connected": "Whether a held link is open now.",
    "created": "When it was made, in unix seconds.",
    "cursor": "Asks for the next page; empty at the end.",
    "detail": "More about one agent: description, policies with their origin, error, facts; empty in lists.",
    "dialer": "Which end opens the connection: agent or manager; empty if unknown.",
    "discarded": "Own values that are dropped because they are inherited again.",
    "dry_run": "Whether this only says what would be.",
    "edition": "Rises with each change of the group.",
    "errors": "All errors of a set of definitions; the problem itself is the first.",
    "exceptions": "Item (policy type, or communication) to whether it is inherited, where that differs.",
    "expires": "When it ends, in unix seconds.",
    "fallback": "Code of why the mode is not the one that was ordered; empty if it is.",
    "files": "The files, in order.",
    "first_seen": "When the agent was first seen, in unix seconds.",
    "group": "Name of the group.",
    "groups": "Groups that assign the policy themselves.",
    "hash": "Links this entry with the one before it.",
    "heartbeat": "Seconds from one round to the next on a quiet link.",
    "hint": "What to do about it; may be empty.",
    "id": "Identifies the token.",
    "inherits": "The check box: inherit policies and settings from the parent.",
    "items": "The objects.",
    "labels": "Set by operators.",
    "last_contact": "In unix seconds; null if never seen.",
    "line": "Line in that file, from 1; 0 if unknown.",
    "method": "What was called.",
    "mode": "push or pull; empty if unknown.",
    "name": "Name for people.",
    "next_contact": "Promised next contact, in unix seconds; null if unknown.",
    "object": "What was changed.",
    "parent": "Name of the parent group; empty for the root.",
    "path": "The lineage, from the root.",
    "policies": "Own assignments: policy type to policy name.",
    "presence": "on time, overdue, missing or never seen.",
    "preset": "The cell of mode and dialer by its name.",
    "private_to": "The one group it may be assigned to; empty if shared.",
    "reason": "One sentence behind `sync` where it is not in sync.",
    "resolved": "What holds: item to value, group it comes from, and whether it is inherited.",
    "retryable": "Whether the same request may succeed later.",
    "revision": "From 1; rises when the content changes.",
    "secret": "Join string or bearer token; shown this once.",
    "seq": "Position in the audit, from 1.",
    "serial": "The bundle's number for people; rises only when content changes.",
    "sha256": "Digest of the content.",
    "since": "When the present outcome began, in unix seconds; null if unknown.",
    "source": "From where it came.",
    "spec": "The policy as its type normalises it; null in lists.",
    "status": "HTTP status.",
    "sync": "in sync, pending, failed, drifted or cannot take it.",
    "text": "Definitions in YAML; several documents are separated by ---.",
    "title": "Name of the HTTP status.",
    "to": "Name of the new policy.",
    "token": "The token, without its secret.",
    "type": "Policy type.",
    "uid": "The agent's instance_uid.",
    "uses": "How many agents joined by it.",
    "uses_left": "How many more may join; -1 for any number.",
    "version": "The bundle's number for machines: rises at each signing.",
    "wanted": "Serial of the group's bundle; 0 if there is none.",
    "when": "When the round is expected, in unix seconds; null if unknown.",
}
"""Field → what it means."""

SPECIAL: Mapping[str, str] = {
    "AgentView.kind": "own, stock or unknown.",
    "AgentView.version": "Version of the agent's program.",
    "ApplyResult.groups": "What it means for each group.",
    "Change.kind": "Group or Policy.",
    "CheckIn.state": "`asked` over a held link, or `waits` for the agent's next contact.",
    "CheckInRequest.agents": "Names or uids.",
    "CheckInRequest.group": "All agents of this group; null for none.",
    "DefinitionFile.name": "Name of the file, for messages.",
    "Finding.detail": "One sentence about what is wrong.",
    "Finding.source": "Name of the file with the wrong definition.",
    "GroupEffect.after": "Serial afterwards.",
    "GroupEffect.before": "Serial before.",
    "Health.status": "Always ok; a fault is a problem of another status.",
    "Problem.detail": "One sentence about what is wrong.",
    "Problem.source": "Name of the file with the wrong definition.",
    "Problem.type": "Always about:blank; `code` names the error.",
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
