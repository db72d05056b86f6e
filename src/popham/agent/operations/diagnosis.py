"""A bundle for support: what this agent knows of itself, without secrets.

Rules (SEC-53):

1. What stands under a name such as ``token`` or ``password``, what follows an argument of such a name, and whatever
   looks like a secret of ours, is hidden.
2. The machine's own secrets are looked for by their values, in everything.
3. Bodies of policies and contents of files are not in it; their digests are.
4. Nor is what commands printed: whoever may have a bundle need not be one who may run them.
"""

from __future__ import annotations

import base64
import io
import json
import platform
import re
import sys
import tarfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from popham import __version__
from popham.agent.in_force import InForce
from popham.agent.operations.ledger import describe_entries, read_entries
from popham.agent.programs import Offload
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import PophamError
from popham.log import HIDDEN, is_secret, redact, redact_text
from popham.model.generation import GENERATION
from popham.model.operation import OUTPUT_LIMIT, Kind

FILES: Final = 1000
"""Files that are named at most."""
MEMBER: Final = 256 * 1024
"""Bytes of one member at most, before it is packed."""
_LEAST: Final = 8
"""Characters of a secret that is looked for by its value; a shorter one would hide words."""
_OPTION: Final = re.compile(r"-{1,2}(?P<name>[A-Za-z][A-Za-z0-9_-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a bundle's parts come from.

    Attributes:
        settings: What this machine permits.
        state: What it keeps.
        clock: Wall time.
        status: Returns what the agent says of itself.
        findings: Returns what the doctor found, as plain data.
        journal: Returns the newest lines of the log.
        newest: Returns the newest bundle; None for none.
        in_force: Returns the bundle in force; None for none.
        files: Returns path → digest of what is placed. May raise PophamError.
        facts: Returns what is told of the machine.
    """

    settings: AgentSettings
    state: AgentState
    clock: Clock
    status: Callable[[], Mapping[str, Any]]
    findings: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]
    journal: Callable[[], Sequence[str]]
    newest: Callable[[], InForce | None]
    in_force: Callable[[], InForce | None]
    files: Callable[[], Mapping[str, str]]
    facts: Callable[[], Mapping[str, str]]


async def diagnose(sources: Sources, offload: Offload) -> bytes:
    """Return the bundle, a ``tar.gz`` of at most 1 MiB.

    Args:
        sources: Where its parts come from.
        offload: Runs the packing.
    """
    members = {
        "versions.json": _versions(sources.clock.now()),
        "settings.json": msgspec.to_builtins(sources.settings),
        "status.json": _try(lambda: _without_printed(sources.status())),
        "findings.json": await _find(sources),
        "operations.json": _hide_printed(describe_entries(read_entries(sources.state.room))),
        "policies.json": {"newest": _name(sources.newest()), "in_force": _name(sources.in_force())},
        "files.json": _try(lambda: _list_files(sources.files())),
        "facts.json": dict(sources.facts()),
    }
    lines, secrets = list(sources.journal()), list(find_secrets(sources.state))
    at = sources.clock.now()
    return await offload(lambda: pack(members, lines, secrets, at))


def pack(members: Mapping[str, Any], lines: Sequence[str], secrets: Sequence[str], at: float) -> bytes:
    """Return a ``tar.gz`` of the members as JSON and of the lines, without secrets.

    Args:
        members: Name → plain data.
        lines: Of the log, the newest last.
        secrets: Values that stand nowhere in it.
        at: Unix seconds that each member bears.
    """
    room = MEMBER
    while True:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, data in members.items():
                text = json.dumps(hide(data), indent=2, sort_keys=True, default=str)
                _add(tar, name, text if len(text) <= room else _too_long(text), secrets, at)
            log = redact_text("\n".join(lines))
            _add(tar, "log.txt", log[-room:], secrets, at)
        if packed.tell() <= OUTPUT_LIMIT:
            return packed.getvalue()
        room //= 2


def hide(value: Any) -> Any:
    """Return plain data without secrets, those that follow an argument such as ``--token`` included."""
    if isinstance(value, Mapping):
        return {
            str(name): HIDDEN if is_secret(str(name)) and inner else hide(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        found, hidden = [], False
        for inner in value:
            found.append(HIDDEN if hidden else hide(inner))
            option = _OPTION.fullmatch(inner) if isinstance(inner, str) else None
            hidden = option is not None and is_secret(option["name"])
        return found
    return redact(value)


def find_secrets(state: AgentState) -> Iterator[str]:
    """Yield the secrets of this machine, in each form in which they might stand somewhere."""
    identity, join = state.identity(), state.join()
    for key in (identity.key, identity.next_key) if identity is not None else ():
        pem = key.decode(errors="replace") if key else ""
        yield pem
        yield from (line for line in pem.splitlines() if "-----" not in line)
    if join is not None and join.seed is not None:
        yield join.seed.hex()
        yield base64.b64encode(join.seed).decode().rstrip("=")
        yield base64.urlsafe_b64encode(join.seed).decode().rstrip("=")


def _add(tar: tarfile.TarFile, name: str, text: str, secrets: Iterable[str], at: float) -> None:
    for secret in secrets:
        for form in (secret, json.dumps(secret)[1:-1]):
            if len(form) >= _LEAST:
                text = text.replace(form, HIDDEN)
    data = text.encode(errors="replace")
    member = tarfile.TarInfo(f"popham-diagnosis/{name}")
    member.size, member.mtime, member.mode = len(data), int(at), 0o600
    tar.addfile(member, io.BytesIO(data))


def _hide_printed(operations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return operations without what commands printed."""
    return [one | {"text": HIDDEN} if one["kind"] == Kind.RUN else one for one in map(dict, operations)]


def _without_printed(status: Mapping[str, Any]) -> dict[str, Any]:
    return dict(status) | {"operations": _hide_printed(status.get("operations", ()))}


def _too_long(text: str) -> str:
    return json.dumps({"left_out": f"{len(text)} characters, which are too many"})


def _versions(now: float) -> dict[str, Any]:
    return {
        "popham": __version__,
        "generation": GENERATION,
        "python": sys.version,
        "platform": platform.platform(),
        "time": now,
    }


def _name(held: InForce | None) -> dict[str, Any] | None:
    """Return what a bundle brings, by name and digest."""
    if held is None:
        return None
    bundle = held.bundle
    return {
        "group": bundle.group,
        "serial": bundle.serial,
        "version": bundle.version,
        "content_digest": bundle.content_digest,
        "location": held.location,
        "uses_candidate": held.uses_candidate,
        "locations": {
            name: {"resolved": one.resolved_digest, "policies": [ref.as_dict() for ref in one.policies]}
            for name, one in bundle.locations.items()
        },
    }


def _list_files(files: Mapping[str, str]) -> dict[str, Any]:
    return {"files": dict(sorted(files.items())[:FILES]), "left_out": max(0, len(files) - FILES)}


def _try(read: Callable[[], Any]) -> Any:
    """Return what ``read`` returns; if it cannot, why: a part that is missing is a finding, too."""
    try:
        return read()
    except PophamError as error:
        return {"failure": error.as_dict()}


async def _find(sources: Sources) -> Any:
    try:
        return [dict(one) for one in await sources.findings()]
    except PophamError as error:
        return {"failure": error.as_dict()}
