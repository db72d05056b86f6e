"""Policies of type ``otelcol``: the configuration of this machine's OpenTelemetry Collector.

Where it is written, who validates it and who tells the Collector stands in
the machine's own configuration; a policy only has the content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from popham.agent.permission import Permission, find_accounts, read_body, read_mode
from popham.agent.settings import PLACES
from popham.agent.types.wanted import Check, WantedFile, WantedPolicy
from popham.model.types.redaction import secret_values

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that JSON may hold as they are, and YAML only escaped. Source: YAML 1.2.2, 5.1."""


class OtelcolBody(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of type ``otelcol`` as the document says it."""

    config: dict[str, Any]
    check: str | None = None


def want_otelcol(permission: Permission, name: str, body: Mapping[str, Any]) -> WantedPolicy:
    """Return what the policy ``name`` wants.

    Raises:
        PolicyError: The policy is malformed, or this machine does not permit it.
    """
    asked = read_body(name, body, OtelcolBody)
    config = asked.config
    permission.check_watcher(name, asked.check)
    ours = permission.settings.otelcol
    checks: list[Check] = []
    if ours.collector is not None:
        permission.check_program(ours.collector, "otelcol.collector", "correct collector under [otelcol]")
        argv = (ours.collector, "validate", "--config", PLACES[1])
        checks.append(Check("the Collector's own", argv))
    if ours.validate is not None:
        checks.append(Check(ours.validate, permission.check_command(name, "validate", ours.validate)))
    if ours.reload is not None:
        permission.check_command(name, "reload", ours.reload)
    return WantedPolicy(
        name=name,
        files=(_file(permission, config),),
        validate=tuple(checks),
        reload=ours.reload,
        secrets=tuple(str(value) for value in secret_values("otelcol", body)),
    )


def write_config(config: Mapping[str, Any]) -> bytes:
    """Return a configuration as JSON, which every reader of YAML 1.2 understands alike."""
    text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode() + b"\n"


def _file(permission: Permission, config: Mapping[str, Any]) -> WantedFile:
    ours = permission.settings.otelcol
    path = ours.path or ""
    place = permission.find_otelcol()
    uid, gid = find_accounts(path, ours.owner, ours.group)
    return WantedFile(
        path=path,
        place=place,
        content=write_config(config),
        mode=read_mode(path, ours.mode),
        uid=uid,
        gid=gid,
    )
