"""Policies of type ``collect``: what they want to be looked at, and whether this machine permits it.

Logs lie under ``collect.logs`` after all links are followed, as they stand now and once more when they are read; probes
go to hosts of ``collect.probes``; commands are those of ``[commands]``.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from typing import Any, Final

from popham.agent.collect.wanted import Probe, WantedCollect
from popham.agent.permission import Permission, malformed, read_body
from popham.agent.sight import Targets
from popham.agent.types.wanted import WantedPolicy
from popham.errors import DefinitionError, PolicyError
from popham.model.types.collect import check_collect, find_host

_SPECIAL: Final = re.compile(r"[*?\[]")


def want_collect(permission: Permission, name: str, body: Mapping[str, Any]) -> WantedPolicy:
    """Return what the policy ``name`` wants.

    Raises:
        PolicyError: The policy is malformed, or this machine does not permit what it wants to look at.
    """
    asked = read_body(name, body, WantedCollect)
    try:
        # Once more: this machine evaluates its expressions and patterns.
        check_collect(body)
    except DefinitionError as error:
        raise malformed(name, error.problem) from None
    for log in asked.logs:
        _check_log(permission, name, log)
    for probe in asked.probes:
        _check_probe(permission, name, probe)
    for command in asked.commands:
        permission.check_command(name, f"commands: {command.name}", command.command)
    return WantedPolicy(name=name, collect=asked)


def _check_log(permission: Permission, policy: str, log: Mapping[str, Any]) -> None:
    roots = [os.path.realpath(root) for root in permission.settings.collect.logs]
    for path in log["paths"]:
        plain = posixpath.dirname(_SPECIAL.split(path, maxsplit=1)[0])
        real = os.path.realpath(plain)
        if not any(posixpath.commonpath([root, real]) == root for root in roots):
            allowed = ", ".join(permission.settings.collect.logs) or "none"
            problem = (
                f"policy {policy!r} wants to read {path} (logs: {log['name']}), which is outside the directories of "
                f"logs that this machine permits ({allowed})"
            )
            hint = f"Add {plain} to logs under [collect] in {permission.source} on this machine"
            raise PolicyError("logs", problem, hint)


def _check_probe(permission: Permission, policy: str, probe: Probe) -> None:
    host = find_host(probe.kind, probe.target)
    permitted = permission.settings.collect.probes
    if not any(Targets.read(f"{known}:*").hold(host, 1) for known in permitted):
        allowed = ", ".join(permitted) or "none"
        problem = (
            f"policy {policy!r} wants to probe {host} (probes: {probe.name}), which is none of the hosts that this "
            f"machine permits ({allowed})"
        )
        hint = f"Add {host} to probes under [collect] in {permission.source} on this machine"
        raise PolicyError("probe", problem, hint)
