"""Policies: named, versioned documents of a type.

A policy's ``spec`` is checked and brought to one form by its type; the digest
of that form is the identity of a revision.  The agent has the appliers; here
is only what a Manager must know to refuse what could never be applied.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from popham.errors import DefinitionError
from popham.model.lines import line_of
from popham.model.names import NAME, canonical, digest, nearest, show

MAX_BODY = 4 * 1024 * 1024
"""Bytes of one policy's canonical body. Source: guarantees, SEC-9, 4 MiB for agents."""
_MODE = re.compile(r"0?[0-7]{3,4}")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}\$?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One revision of a policy.

    Attributes:
        name: Unique in the tenant.
        type: Key of :data:`TYPES`.
        body: What the type's check returned.
        revision: From 1; rises when the body changes.
        private_to: The one group it may be assigned to; empty if shared.
    """

    name: str
    type: str
    body: Mapping[str, Any]
    revision: int = 0
    private_to: str = ""

    def encoded(self) -> bytes:
        """Return the canonical bytes that agents fetch by digest."""
        return canonical({"type": self.type, "body": self.body})

    @property
    def sha256(self) -> str:
        """Digest of :meth:`encoded`."""
        return digest(self.encoded())


def check_policy(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normal form of a policy's ``spec`` without ``type`` and ``private_to``.

    Raises:
        DefinitionError: The type is unknown, a key or value is wrong, or the
            whole is too large.
    """
    if kind not in TYPES:
        raise DefinitionError("policy_type", f"there is no policy type {show(kind)}", nearest(kind, TYPES))
    body = TYPES[kind](spec)
    size = len(canonical({"type": kind, "body": body}))
    if size > MAX_BODY:
        problem = f"the policy has {size} bytes, and may have {MAX_BODY}"
        raise DefinitionError("size", problem, "Split it")
    return body


def check_keys(spec: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Return if ``spec`` has only ``known`` keys.

    Raises:
        DefinitionError: It has another; the hint names the nearest right one.
    """
    for key in spec:
        if key not in known:
            problem = f"{where} has no key {show(key)}"
            raise DefinitionError("unknown_key", problem, nearest(str(key), known), line=line_of(spec, key))


def _files(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Check type ``files``: files with content, mode and owner, all placed or none."""
    check_keys(spec, {"files", "validate", "reload"}, "a policy of type 'files'")
    entries = spec.get("files")
    if not isinstance(entries, list) or not entries:
        problem, hint = "a policy of type 'files' lists no files", "Add 'files:' with at least one 'path'"
        raise DefinitionError("files", problem, hint, line=line_of(spec, "files"))
    files: list[dict[str, Any]] = []
    paths: set[str] = set()
    for entry in entries:
        files.append(_file(entry, line_of(spec, "files")))
        path = files[-1]["path"]
        if path in paths:
            problem = f"{show(path)} stands twice in one policy"
            raise DefinitionError("files", problem, "Keep one of them", line=line_of(entry, "path"))
        paths.add(path)
    for entry, file in zip(entries, files, strict=True):
        above = next((str(p) for p in PurePosixPath(file["path"]).parents if str(p) in paths), None)
        if above:
            problem = f"{show(file['path'])} lies below {show(above)}, which is a file of the same policy"
            raise DefinitionError("files", problem, "Rename one of them", line=line_of(entry, "path"))
    body: dict[str, Any] = {"files": files}
    for name in ("validate", "reload"):
        if spec.get(name) is not None:
            body[name] = _command_name(spec[name], name, line_of(spec, name))
    return body


def _file(entry: object, line: int) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        problem = f"{show(entry)} is no file"
        raise DefinitionError("files", problem, "Write 'path:' and 'content:'", line=line)
    check_keys(entry, {"path", "content", "mode", "owner", "group"}, "a file")
    path, content = entry.get("path"), entry.get("content")
    if not isinstance(path, str) or not _good_path(path):
        problem = f"path: {show(path)} is not an absolute path in its shortest form"
        hint = "Write it from '/', without '.', '..' or a '/' at the end"
        raise DefinitionError("path", problem, hint, line=line_of(entry, "path"))
    if not isinstance(content, str):
        problem, hint = f"{show(path)} has no content", "Add 'content:' with text; '' makes an empty file"
        raise DefinitionError("files", problem, hint, line=line_of(entry, "content"))
    mode = entry.get("mode", "0644")
    # A number is refused: 0o644 would arrive as 420, which looks like a mode too.
    if not isinstance(mode, str) or not _MODE.fullmatch(mode):
        problem, hint = f"mode: {show(mode)} is no octal mode", "Write it in quotes, such as '0644'"
        raise DefinitionError("mode", problem, hint, line=line_of(entry, "mode"))
    found = {"path": path, "content": content, "mode": f"{int(mode, 8):04o}"}
    for who in ("owner", "group"):
        if entry.get(who) is not None:
            if not isinstance(entry[who], str) or not _ACCOUNT.fullmatch(entry[who]):
                problem = f"{who}: {show(entry[who])} is no account name"
                raise DefinitionError("account", problem, "Name it, in lower case", line=line_of(entry, who))
            found[who] = entry[who]
    return found


def _good_path(path: str) -> bool:
    shortest = posixpath.normpath(path) == path and path != "/" and not path.startswith("//")
    fits = len(path) <= 4095 and all(len(part.encode()) <= 255 for part in path.split("/"))
    return path.startswith("/") and shortest and fits and path.isprintable()


def _command_name(value: object, key: str, line: int) -> str:
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    problem = f"{key}: {show(value)} is not the name of a command"
    hint = "Name a command that the agents' own configuration allows, under [commands]; a policy cannot bring one"
    raise DefinitionError("command", problem, hint, line=line)


def _otelcol(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Check type ``otelcol``: the configuration of an OpenTelemetry Collector."""
    check_keys(spec, {"config"}, "a policy of type 'otelcol'")
    config = spec.get("config")
    if not isinstance(config, Mapping) or not config:
        raise DefinitionError(
            "otelcol",
            "a policy of type 'otelcol' has no configuration",
            "Add 'config:' with receivers, exporters and service",
            line=line_of(spec, "config"),
        )
    return {"config": dict(config)}


TYPES: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "files": _files,
    "otelcol": _otelcol,
}
"""Policy type → the check that brings its spec to one form."""
STOCK_TYPES = frozenset({"otelcol"})
"""Types that stock agents receive, as configuration objects."""
