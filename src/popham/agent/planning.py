"""What is to be done so that all policies hold, and nothing that only former ones wanted.

Looks and compares; writes nothing but the applier's own files.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from popham.agent.collect.wanted import WantedCollect
from popham.agent.folders import plan_folders
from popham.agent.journal import Change, HandedStep, Work
from popham.agent.permission import Permission, check_twice, malformed
from popham.agent.placed import Handed, Placed, PlacedFile, PlacedRecord
from popham.agent.types.registry import APPLIERS
from popham.agent.types.wanted import WantedFile, WantedPolicy
from popham.model.bundle import PolicyRef
from popham.model.names import digest, parse_json

MAX_LEFT: Final = 64
"""Paths that were left and are remembered."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A policy in force: its reference in the bundle, and its body without the type."""

    ref: PolicyRef
    body: Mapping[str, Any]

    @classmethod
    def read(cls, ref: PolicyRef, encoded: bytes) -> Applied:
        """Return the policy whose body has these bytes, the digest of which was compared.

        Raises:
            PolicyError: ``policy.malformed``: they are not a policy as this agent knows them.
        """
        try:
            held = parse_json(encoded)
        except ValueError as error:
            raise malformed(ref.name, str(error)) from None
        body = held.get("body") if isinstance(held, dict) else None
        if not isinstance(body, dict):
            raise malformed(ref.name, "it has no body")
        return cls(ref, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done.

    Attributes:
        work: Files, directories, commands, data for programs.
        changed: Policies of which files or directories change.
        before: The record that holds.
        placed: The record that will hold.
        secrets: What no sentence may show.
        collect: What is to be collected; None for nothing.
    """

    work: Work
    changed: tuple[WantedPolicy, ...]
    before: Placed
    placed: Placed
    secrets: tuple[str, ...]
    collect: WantedCollect | None


def make_plan(
    policies: Sequence[Applied],
    permission: Permission,
    record: PlacedRecord,
    *,
    supported: Collection[str],
    token: str,
) -> Plan:
    """Check everything and return what is to be done.

    Args:
        policies: All that is to hold.
        permission: What this machine permits.
        record: What is in force.
        supported: Types to apply; others are skipped.
        token: A name that no other placement has.

    Raises:
        PolicyError: A policy cannot be applied here.
        StateError: The record is damaged.
        OSError: Something cannot be looked at.
    """
    wanted = want_all(policies, permission, supported)
    before = record.load()
    due = {file.path for policy in wanted for file in policy.files if _is_due(file, before)}
    changed = [policy for policy in wanted if not _fits(policy, due)]
    changes = [_change(file) for policy in changed for file in policy.files if file.path in due]
    reload = dict.fromkeys(policy.reload for policy in changed if policy.reload)
    files = _files_in_force(wanted, before, record)
    taken = _take_back(before, files, permission, record)
    folders = plan_folders(wanted, before.folders, permission)
    handed, steps = _hand_over(wanted, before, record, permission.settings.commands)
    wanted_paths = files.keys() | folders.in_force.keys()
    left = [path for path in before.left if path not in wanted_paths and os.path.lexists(path)]
    left += [path for path in (*taken.left, *folders.left) if path not in left]
    return Plan(
        work=Work(
            changes=(*changes, *taken.changes),
            folders=folders.changes,
            gone=folders.gone,
            reload=tuple(reload | dict.fromkeys(taken.reload)),
            steps=tuple(steps),
        ),
        changed=tuple(changed),
        before=before,
        placed=Placed(
            change=token,
            files=files,
            folders=folders.in_force,
            handed=handed,
            left=tuple(left[-MAX_LEFT:]),
        ),
        secrets=tuple(secret for policy in wanted for secret in policy.secrets),
        collect=find_collect(wanted),
    )


def find_collect(wanted: Sequence[WantedPolicy]) -> WantedCollect | None:
    """Return what is to be collected; None for nothing. A set has one such policy at most."""
    return next((policy.collect for policy in wanted if policy.collect is not None), None)


def want_all(
    policies: Sequence[Applied], permission: Permission, supported: Collection[str]
) -> list[WantedPolicy]:
    """Return what policies want of this machine; those of types that are not ``supported`` are skipped.

    Raises:
        PolicyError: One cannot be applied here, or two want the same.
        OSError: Something cannot be looked at.
    """
    wanted = [_want(policy, permission) for policy in policies if policy.ref.type in supported]
    check_twice(wanted)
    return wanted


def _want(policy: Applied, permission: Permission) -> WantedPolicy:
    try:
        return APPLIERS[policy.ref.type](permission, policy.ref.name, policy.body)
    except RecursionError:
        raise malformed(policy.ref.name, "nested too deeply") from None
    except UnicodeEncodeError:
        raise malformed(policy.ref.name, "it holds half of a character") from None


def _fits(policy: WantedPolicy, due: Collection[str]) -> bool:
    return all(folder.fits() for folder in policy.folders) and not any(
        file.path in due for file in policy.files
    )


def _is_due(file: WantedFile, before: Placed) -> bool:
    """Return whether a file is to be written.

    One that may be changed on the machine is left as it is there, as long as the policy wants what was placed.
    """
    known = before.files.get(str(file.place.path))
    if file.locked or known is None or not _is_as_wanted(known, file):
        return not file.fits()
    return not os.path.lexists(file.place.path)


def _is_as_wanted(known: PlacedFile, file: WantedFile) -> bool:
    status = (known.mode, known.uid, known.gid) == (file.mode, file.uid, file.gid)
    return status and known.sha256 == digest(file.content)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What is to be done about files that nothing wants any more: changes, commands, and what is left."""

    changes: list[Change] = field(default_factory=list)
    reload: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def _take_back(
    before: Placed, files: Collection[str], permission: Permission, record: PlacedRecord
) -> _Taken:
    taken = _Taken()
    for path, placed in before.files.items():
        if path in files:
            continue
        change, stays = record.withdraw(path, placed, permission)
        if stays:
            taken.left.append(path)
        if change:
            taken.changes.append(change)
            if placed.reload in permission.settings.commands:
                taken.reload.append(placed.reload)
    return taken


def _files_in_force(
    policies: Sequence[WantedPolicy], before: Placed, record: PlacedRecord
) -> dict[str, PlacedFile]:
    """Return the files that will be in force, each with what was there before the first policy."""
    files: dict[str, PlacedFile] = {}
    for policy in policies:
        for wanted in policy.files:
            path = str(wanted.place.path)
            known = before.files.get(path)
            files[path] = PlacedFile(
                sha256=digest(wanted.content),
                policy=policy.name,
                reload=policy.reload,
                former=known.former if known else record.remember(wanted),
                mode=wanted.mode,
                uid=wanted.uid,
                gid=wanted.gid,
                length=len(wanted.content),
                locked=wanted.locked,
            )
    return files


def _hand_over(
    policies: Sequence[WantedPolicy], before: Placed, record: PlacedRecord, commands: Collection[str]
) -> tuple[dict[str, Handed], list[HandedStep]]:
    """Return what programs will have, and what they have to be handed for that."""
    handed: dict[str, Handed] = {}
    steps: list[HandedStep] = []
    for policy in policies:
        if policy.handing is None:
            continue
        command = policy.handing.command
        now, known = record.keep_data(policy.handing.data), before.handed.get(command)
        handed[command] = Handed(policy=policy.name, sha256=now)
        if known is None or known.sha256 != now or not known.sure:
            steps.append(HandedStep(command=command, now=now, former=known.sha256 if known else None))
    steps += [
        HandedStep(command=command, now=None, former=known.sha256)
        for command, known in before.handed.items()
        # What this machine no longer permits is left alone.
        if command not in handed and command in commands
    ]
    return handed, steps


def _change(file: WantedFile) -> Change:
    return Change(
        folder=file.place.folder,
        name=file.place.name,
        content=file.content,
        mode=file.mode,
        uid=file.uid,
        gid=file.gid,
    )
