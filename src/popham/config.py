"""What a process is told at its start: one loader for every role.

Sources, the later wins: defaults of the structure, ``<file>``, each
``<file>.d/*.toml`` in the order of names, the environment, flags.  Tables are
merged key by key; anything else is replaced whole.

1. A key nobody knows is an error that names its file and the nearest right key.
2. ``POPHAM_FILES__ROOTS`` is the key ``files.roots``; ``…_FILE`` names a file
   that holds the value, for secrets.  A variable without ``__`` that fits no
   key belongs to another program and is left alone.
3. No error repeats a value: it may be a secret.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from popham.errors import ConfigError

PREFIX = "POPHAM_"
MAX_FILE = 1024 * 1024
"""Bytes of one configuration file."""
MAX_SECRET = 64 * 1024
"""Bytes of a file that a ``…_FILE`` variable names."""

_Settings = TypeVar("_Settings", bound=msgspec.Struct)
_Key = tuple[str, ...]
_PLACE = re.compile(r"(?P<text>.*?)(?: - at `\$\.?(?P<key>[^`]*)`)?", re.DOTALL)


def load(
    struct_type: type[_Settings],
    *,
    path: Path | None,
    env: Mapping[str, str],
    overrides: Mapping[str, Any],
    prefix: str = PREFIX,
    must_exist: bool = False,
) -> _Settings:
    """Return the settings that ``path``, ``env`` and ``overrides`` make together.

    Args:
        struct_type: What is known, with types and defaults.
        path: The TOML file; None for none.
        env: The environment.
        overrides: Flags: dotted key → value; None stands for a flag not given.
        prefix: What the names of this process's variables begin with.
        must_exist: Whether a missing ``path`` is an error, as when somebody named it.

    Raises:
        ConfigError: A source cannot be read, a key is unknown or missing, or a
            value has the wrong type or range.
    """
    merged: dict[str, Any] = {}
    origins: dict[_Key, str] = {}
    sources = [(str(file), _read_toml(file)) for file in _files(path, must_exist=must_exist)]
    for source, table in sources:
        _check(table, struct_type, source, ())
        _merge(merged, table, source, origins, ())
    for source, key, text in _variables(env, prefix, struct_type):
        table = _nest(key, _from_text(text, _type_at(struct_type, key), source, key))
        _check(table, struct_type, source, ())
        _merge(merged, table, source, origins, ())
    for dotted, value in overrides.items():
        if value is not None:
            source = f"flag --{dotted.replace('.', '-').replace('_', '-')}"
            table = _nest(tuple(dotted.split(".")), value)
            _check(table, struct_type, source, ())
            _merge(merged, table, source, origins, ())
    try:
        return msgspec.convert(merged, struct_type)
    except msgspec.ValidationError as error:
        raise _whole_error(error, origins, path, prefix) from None


def _files(path: Path | None, *, must_exist: bool) -> list[Path]:
    if path is None:
        return []
    if must_exist and not path.is_file():
        raise ConfigError(
            "missing", f"{path}: there is no such file", "Name a configuration file that exists"
        )
    found = [path] if path.exists() else []
    return found + sorted(Path(f"{path}.d").glob("*.toml"))


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        text = _read(file, MAX_FILE).decode()
        return tomllib.loads(text)
    except UnicodeDecodeError:
        raise ConfigError("syntax", f"{file}: it is not UTF-8 text", "Write it as a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("syntax", f"{file}: {error}", "Correct the TOML at that place") from None


def _read(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        hint = "Let the account that runs this process read it"
        raise ConfigError("unreadable", f"{file}: it cannot be read: {error.strerror}", hint) from None
    if len(data) > limit:
        raise ConfigError("size", f"{file}: it is larger than {limit} bytes", "Name the right file")
    return data


def _variables(
    env: Mapping[str, str], prefix: str, struct_type: type[msgspec.Struct]
) -> list[tuple[str, _Key, str]]:
    """Return source, key and text of each variable that is meant for this process."""
    found: dict[_Key, tuple[str, str]] = {}
    for name in sorted(env):
        if not name.startswith(prefix) or name == prefix:
            continue
        key, text = tuple(name[len(prefix) :].lower().split("__")), env[name]
        source = f"environment variable {name}"
        if _type_at(struct_type, key) is None or key[-1].endswith("_file"):
            bare = (*key[:-1], key[-1].removesuffix("_file"))
            if bare != key and _type_at(struct_type, bare) is not None:
                key, text = bare, _secret(Path(text), source)
            elif _type_at(struct_type, key) is None and len(key) == 1:
                continue
        if key in found:
            problem = f"{source}: {'.'.join(key)} is already set by the {found[key][0]}"
            raise ConfigError("twice", problem, "Keep one of the two")
        found[key] = (source, text)
    return [(source, key, text) for key, (source, text) in found.items()]


def _secret(file: Path, source: str) -> str:
    try:
        return _read(file, MAX_SECRET).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError("syntax", f"{source}: {file} is not UTF-8 text") from None


def _from_text(text: str, kind: Any, source: str, key: _Key) -> Any:
    """Return what the text of a variable says, for a setting of type ``kind``."""
    outer = typing.get_origin(kind) or kind
    if kind is None or outer is str:
        return text
    if _struct(kind) or outer in {dict, list, tuple, set, frozenset}:
        if outer is not dict and not _struct(kind) and not text.lstrip().startswith("["):
            return [part.strip() for part in text.split(",") if part.strip()]
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            problem = f"{source}: {'.'.join(key)} is no TOML value"
            raise ConfigError("syntax", problem, "Write it as in the file: ['a', 'b'] or {a = 'b'}") from None
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _type_error(error, source, key) from None


def _check(table: Mapping[str, Any], kind: Any, source: str, at: _Key) -> None:
    """Refuse keys and values of one source that ``kind`` does not know."""
    struct = _struct(kind)
    fields = {f.encode_name: f.type for f in msgspec.structs.fields(struct)} if struct else {}
    for name, value in table.items():
        key = (*at, name)
        if struct and name not in fields:
            problem = f"{source}: there is no key {'.'.join(key)!r}"
            raise ConfigError("unknown_key", problem, _nearest(name, fields))
        inner = fields[name] if struct else _values(kind)
        if isinstance(value, Mapping) and (_struct(inner) or typing.get_origin(inner) is dict):
            _check(value, inner, source, key)
            continue
        try:
            msgspec.convert(value, inner)
        except msgspec.ValidationError as error:
            raise _type_error(error, source, key) from None


def _merge(
    into: dict[str, Any], table: Mapping[str, Any], source: str, origins: dict[_Key, str], at: _Key
) -> None:
    for name, value in table.items():
        key = (*at, name)
        origins[key] = source
        if isinstance(value, Mapping):
            held = into.get(name)
            into[name] = held if isinstance(held, dict) else {}
            _merge(into[name], value, source, origins, key)
        else:
            into[name] = value


def _nest(key: _Key, value: Any) -> dict[str, Any]:
    for name in reversed(key):
        value = {name: value}
    return typing.cast("dict[str, Any]", value)


def _type_at(kind: Any, key: Iterable[str]) -> Any:
    """Return the type of the setting at ``key``, or None if there is no such setting."""
    for name in key:
        struct = _struct(kind)
        if struct:
            kind = next((f.type for f in msgspec.structs.fields(struct) if f.encode_name == name), None)
        else:
            kind = _values(kind) if typing.get_origin(kind) is dict and name else None
        if kind is None:
            return None
    return kind


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    """Return the structure that ``kind`` is, or that it is besides None."""
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return next(filter(None, map(_struct, typing.get_args(kind))), None)
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _values(kind: Any) -> Any:
    arguments = typing.get_args(kind)
    return arguments[1] if len(arguments) == 2 else Any


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(names)}"


def _type_error(error: msgspec.ValidationError, source: str, key: _Key) -> ConfigError:
    place = _PLACE.fullmatch(str(error))
    text, inner = (place["text"], place["key"] or "") if place else (str(error), "")
    dotted = ".".join(key) + (inner if inner.startswith("[") else f".{inner}" if inner else "")
    return ConfigError("value", f"{source}: {dotted}: {_lower(text)}", "Give it a value of that kind")


def _whole_error(
    error: msgspec.ValidationError, origins: Mapping[_Key, str], path: Path | None, prefix: str
) -> ConfigError:
    place = _PLACE.fullmatch(str(error))
    text, inner = (place["text"], place["key"] or "") if place else (str(error), "")
    source = origins.get(tuple(inner.split(".")), str(path) if path else "the environment and flags")
    missing = re.fullmatch(r"Object missing required field `(.+)`", text)
    if missing:
        dotted = ".".join(filter(None, (inner, missing[1])))
        variable = prefix + dotted.upper().replace(".", "__")
        hint = f"Set it in the configuration file, or set {variable}"
        return ConfigError("missing_key", f"{source}: {dotted} is not set", hint)
    return ConfigError("value", f"{source}: {f'{inner}: ' if inner else ''}{_lower(text)}")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
