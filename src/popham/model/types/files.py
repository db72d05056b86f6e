"""Type ``files``: files, templates and directories, all placed or none."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from popham.errors import DefinitionError
from popham.model.keys import check_keys
from popham.model.lines import line_of
from popham.model.names import show
from popham.model.schema import Place
from popham.model.template import Template
from popham.model.types.commands import CHECK_SCHEMA, OPTIONAL_SCHEMA, read_commands
from popham.model.types.kind import PolicyType

FILE_MODE: Final = "0644"
FOLDER_MODE: Final = "0755"
FORMS: Final = ("content", "content_template", "directory")
"""Keys of which an entry has exactly one."""
_COMMANDS: Final = ("validate", "reload", "check")
_FLAGS: Final = {"secret": False, "locked": True}
"""What a file may say of its content, and what holds if it is silent."""
_MODE: Final = re.compile(r"0?[0-7]{3,4}")
_ACCOUNT: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}\$?")
_ENTRY: Final = ("path", *FORMS, "mode", "owner", "group", "secret", "locked")


def check_files(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normal form of a policy of type ``files``.

    Raises:
        DefinitionError: A key or value is wrong, a path stands twice, or lies below a file.
    """
    check_keys(spec, {"files", *_COMMANDS}, "a policy of type 'files'")
    entries = spec.get("files")
    if not isinstance(entries, list) or not entries:
        problem, hint = "a policy of type 'files' lists no files", "Add 'files:' with at least one 'path'"
        raise DefinitionError("files", problem, hint, line=line_of(spec, "files"))
    files: list[dict[str, Any]] = []
    paths: dict[str, bool] = {}
    for entry in entries:
        files.append(_entry(entry, line_of(spec, "files")))
        path = files[-1]["path"]
        if path in paths:
            problem = f"{show(path)} stands twice in one policy"
            raise DefinitionError("files", problem, "Keep one of them", line=line_of(entry, "path"))
        paths[path] = "directory" in files[-1]
    for entry, file in zip(entries, files, strict=True):
        parents = map(str, PurePosixPath(file["path"]).parents)
        above = next((parent for parent in parents if paths.get(parent) is False), None)
        if above:
            problem = f"{show(file['path'])} lies below {show(above)}, which is a file of the same policy"
            raise DefinitionError("files", problem, "Rename one of them", line=line_of(entry, "path"))
    return {"files": files, **read_commands(spec, _COMMANDS)}


def find_secrets(body: Mapping[str, Any]) -> Iterator[Place]:
    """Yield where content stands that its file calls secret."""
    files: Sequence[Mapping[str, Any]] = body.get("files", ())
    for number, file in enumerate(files):
        if file.get("secret") is True:
            yield from (("files", number, key) for key in ("content", "content_template") if key in file)


def mark_secrets(body: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` with each file called secret that ``other`` calls so."""
    marked = {file["path"] for file in other.get("files", ()) if file.get("secret") is True}
    files = [{**file, "secret": True} if file["path"] in marked else file for file in body.get("files", ())]
    return {**body, "files": files}


def find_paths(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return path → entry of all that a body places."""
    return {file["path"]: file for file in body.get("files", ())}


def _entry(entry: object, line: int) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        problem = f"{show(entry)} is no file"
        raise DefinitionError("files", problem, "Write 'path:' and 'content:'", line=line)
    check_keys(entry, _ENTRY, "a file")
    path = entry.get("path")
    if not isinstance(path, str) or not _good_path(path):
        problem = f"path: {show(path)} is not an absolute path in its shortest form"
        hint = "Write it from '/', without '.', '..' or a '/' at the end"
        raise DefinitionError("path", problem, hint, line=line_of(entry, "path"))
    found = {"path": path} | _form(entry, path)
    mode = entry.get("mode", FOLDER_MODE if "directory" in found else FILE_MODE)
    # A number is refused: 0o644 would arrive as 420, which looks like a mode too.
    if not isinstance(mode, str) or not _MODE.fullmatch(mode):
        problem, hint = f"mode: {show(mode)} is no octal mode", "Write it in quotes, such as '0644'"
        raise DefinitionError("mode", problem, hint, line=line_of(entry, "mode"))
    found["mode"] = f"{int(mode, 8):04o}"
    for who in ("owner", "group"):
        if entry.get(who) is not None:
            if not isinstance(entry[who], str) or not _ACCOUNT.fullmatch(entry[who]):
                problem = f"{who}: {show(entry[who])} is no account name"
                raise DefinitionError("account", problem, "Name it, in lower case", line=line_of(entry, who))
            found[who] = entry[who]
    return found


def _form(entry: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return what the entry places: content, a template or a directory.

    A template and a directory lack ``content``: an agent that does not know them refuses the policy,
    instead of placing the template as it stands.
    """
    named = [key for key in FORMS if key in entry]
    if len(named) != 1:
        what = f"has {' and '.join(named)}" if named else "has no content"
        problem = f"{show(path)} {what}"
        hint = "Add 'content:' with text ('' makes an empty file), 'content_template:', or 'directory: true'"
        raise DefinitionError("files", problem, hint, line=line_of(entry, named[-1] if named else "content"))
    key, given = named[0], entry[named[0]]
    line = line_of(entry, key)
    flags = {name: _flag(entry, name, path, otherwise) for name, otherwise in _FLAGS.items()}
    if key == "directory":
        if given is not True:
            problem, hint = (
                f"directory: {show(given)} of {show(path)} is not true",
                "Write true, or leave it out",
            )
            raise DefinitionError("flag", problem, hint, line=line)
        return {"directory": True}
    if not isinstance(given, str):
        problem, hint = f"{show(path)} has no content", f"Add '{key}:' with text; '' makes an empty file"
        raise DefinitionError("files", problem, hint, line=line)
    if key == "content_template":
        _check_template(given, path, line)
    # A flag stands only where it is not as usual: older digests stay.
    return {key: given} | {name: said for name, said in flags.items() if said is not _FLAGS[name]}


def _flag(entry: Mapping[str, Any], name: str, path: str, otherwise: bool) -> bool:
    said = entry.get(name, otherwise)
    if not isinstance(said, bool) or ("directory" in entry and name in entry):
        problem = f"{name}: {show(said)} of {show(path)} is not what a file may say"
        hint = "Write true or false; a directory has no content"
        raise DefinitionError("flag", problem, hint, line=line_of(entry, name))
    return said


def _check_template(text: str, path: str, line: int) -> None:
    try:
        Template.parse(text)
    except ValueError as error:
        hint = 'Write {{ facts.NAME }}, {{ labels.NAME }}, or {{ "{{" }} for two braces'
        raise DefinitionError("template", f"{show(path)}: {error}", hint, line=line) from None


def _good_path(path: str) -> bool:
    shortest = posixpath.normpath(path) == path and path != "/" and not path.startswith("//")
    # Half of a surrogate pair is not printable, so the names can be encoded.
    if not path.startswith("/") or not shortest or not path.isprintable():
        return False
    return len(path) <= 4095 and all(len(part.encode()) <= 255 for part in path.split("/"))


_PATH_SCHEMA: Final = {
    "type": "string",
    "maxLength": 4095,
    "pattern": r"^(?:/(?!\.{1,2}(?:/|$))[^/\x00-\x1f\x7f]{1,255})+$",
    "description": "absolute path in its shortest form; must lie under a root that the agent's own configuration allows",
}
_ACCOUNT_SCHEMA: Final = {"type": ["string", "null"], "pattern": f"^{_ACCOUNT.pattern}$"}
_FILE_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "oneOf": [
        {"required": ["content"]},
        {"required": ["content_template"]},
        {"required": ["directory"], "properties": {"secret": False, "locked": False}},
    ],
    "properties": {
        "path": _PATH_SCHEMA,
        "content": {"type": "string", "description": "text; `''` makes an empty file"},
        "content_template": {
            "type": "string",
            "description": "text with `{{ facts.NAME }}` and `{{ labels.NAME }}`, which each machine fills",
        },
        "directory": {"enum": [True], "description": "the path is a directory, which may stay empty"},
        "mode": {
            "type": "string",
            "pattern": f"^{_MODE.pattern}$",
            "default": FILE_MODE,
            "description": f"octal; of a directory `{FOLDER_MODE}`",
        },
        "owner": _ACCOUNT_SCHEMA | {"description": "account; the agent's own if not named"},
        "group": _ACCOUNT_SCHEMA | {"description": "group; the agent's own if not named"},
        "secret": {
            "type": "boolean",
            "default": False,
            "description": "whether diffs, logs and errors keep the content to themselves",
        },
        "locked": {
            "type": "boolean",
            "default": True,
            "description": "whether a change on the machine is drift and put back; with `false` the file is placed "
            "where it is missing and when what the policy wants of it changes, and is the machine's own in between "
            "(agents before 0.4.0 put it back all the same)",
        },
    },
}

FILES: Final = PolicyType(
    name="files",
    summary="Files, templates and directories.  All of them are placed, or none; what leaves the policy is taken back.",
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["files"],
        "properties": {
            "files": {"type": "array", "minItems": 1, "items": _FILE_SCHEMA, "description": "what is placed"},
            "validate": OPTIONAL_SCHEMA
            | {
                "description": "name of a command; it runs on the staged files before anything is placed, "
                "and its failure refuses the set",
            },
            "reload": OPTIONAL_SCHEMA
            | {
                "description": "name of a command; it runs after all is in place, and its failure puts the last "
                "good set back",
            },
            "check": CHECK_SCHEMA,
        },
    },
    further=(
        "A path stands once, and nothing lies below a file of the same policy.",
        "Each name in a path is printable and has at most 255 bytes.",
        'In a template each `{{` begins a place to fill; `{{ "{{" }}` stands for two braces.',
    ),
    check=check_files,
    secrets=find_secrets,
    marks=mark_secrets,
    withheld="The content of files that say `secret: true`.",
    commands=_COMMANDS,
    paths=find_paths,
    locked=("files", *_COMMANDS),
    local={
        "files.roots": "where files may be placed; anything else fails with `policy.root`",
        "commands": "which programs `validate`, `reload` and `check` may name",
        "labels": "what templates know as `labels`",
    },
    example="""\
files:
  - {path: /etc/popham.d/shop, directory: true, mode: "0750", owner: root}
  - path: /etc/popham.d/shop/motd
    content_template: |
      This is {{ facts.host_name }} ({{ labels.env }}).
  - {path: /etc/popham.d/shop/key, content: hunter2, mode: "0600", secret: true}
validate: check-shop
reload: reload-shop
""",
    applier="files",
)
"""The type ``files``."""
