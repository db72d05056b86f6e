"""Policies of type ``files``: what they ask for, and whether this machine permits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from popham.agent.permission import Permission, find_accounts, read_body, read_mode
from popham.agent.types.wanted import Check, WantedFile, WantedFolder, WantedPolicy
from popham.errors import PolicyError
from popham.model.template import Template
from popham.model.types.files import FILE_MODE, FOLDER_MODE


class FileBody(msgspec.Struct, frozen=True, kw_only=True):
    """One file, template or directory as the document says it."""

    path: str
    content: str | None = None
    content_template: str | None = None
    directory: bool = False
    mode: str | None = None
    owner: str | None = None
    group: str | None = None
    secret: bool = False
    locked: bool = True


class FilesBody(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of type ``files`` as the document says it; unknown fields are ignored."""

    files: tuple[FileBody, ...]
    validate: str | None = None
    reload: str | None = None
    check: str | None = None


def want_files(permission: Permission, name: str, body: Mapping[str, Any]) -> WantedPolicy:
    """Return what the policy ``name`` wants.

    Raises:
        PolicyError: The policy is malformed, or this machine does not permit it.
    """
    asked = read_body(name, body, FilesBody)
    checks: tuple[Check, ...] = ()
    if asked.validate is not None:
        checks = (Check(asked.validate, permission.check_command(name, "validate", asked.validate)),)
    if asked.reload is not None:
        permission.check_command(name, "reload", asked.reload)
    permission.check_watcher(name, asked.check)
    entries = [_want(permission, file) for file in asked.files]
    return WantedPolicy(
        name=name,
        files=tuple(entry for entry in entries if isinstance(entry, WantedFile)),
        folders=tuple(entry for entry in entries if isinstance(entry, WantedFolder)),
        validate=checks,
        reload=asked.reload,
        secrets=tuple(_secret(file) for file in asked.files if file.secret),
    )


def _want(permission: Permission, file: FileBody) -> WantedFile | WantedFolder:
    if sum((file.content is not None, file.content_template is not None, file.directory)) != 1:
        problem = f"{file.path} has neither content nor a template nor is a directory, or several of these"
        raise PolicyError("malformed", problem, "Upgrade the agent or the Manager")
    place = permission.find_place(file.path, folder=file.directory)
    mode = read_mode(
        file.path, file.mode or (FOLDER_MODE if file.directory else FILE_MODE), folder=file.directory
    )
    uid, gid = find_accounts(file.path, file.owner, file.group)
    if file.directory:
        return WantedFolder(path=file.path, place=place, mode=mode, uid=uid, gid=gid)
    try:
        content = _text(permission, file).encode()
    except UnicodeEncodeError:
        raise PolicyError("malformed", f"the content of {file.path} is not text", "Write UTF-8") from None
    return WantedFile(
        path=file.path, place=place, content=content, mode=mode, uid=uid, gid=gid, locked=file.locked
    )


def _text(permission: Permission, file: FileBody) -> str:
    if file.content_template is None:
        return file.content or ""
    try:
        return Template.parse(file.content_template).render(permission.values)
    except LookupError as error:
        hint = f"Correct the template, or set the label under [labels] in {permission.source} on this machine"
        raise PolicyError("template", f"{file.path}: {error.args[0]}", hint) from None
    except ValueError as error:
        hint = "Correct the template, or the value on this machine"
        raise PolicyError("template", f"{file.path}: {error}", hint) from None


def _secret(file: FileBody) -> str:
    return file.content or file.content_template or ""
