"""The file of contexts: which Managers there are, and how to reach each.

A context is a URL, a CA and a token. The file holds secrets: it is written
with mode 0600, all or nothing. Environment variables go before the file:
``POPHAM_URL``, ``POPHAM_TOKEN`` (or ``POPHAM_TOKEN_FILE``) and ``POPHAM_CA``,
the PEM itself or the path of a file with it.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from popham.errors import ConfigError
from popham.model.names import check_name, nearest

MAX_FILE = 1024 * 1024
"""Bytes of the file, and of one that a variable names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """How to reach one Manager.

    Attributes:
        url: Of its listener for people.
        ca: PEM of the CA to trust; empty for the machine's own list.
        token: API token.
    """

    url: str
    ca: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """All contexts of one file."""

    path: Path
    current: str
    items: Mapping[str, Context]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the contexts in ``path``; none if there is no such file.

        Raises:
            ConfigError: The file cannot be read or is no such file.
        """
        try:
            data = tomllib.loads(_read(path))
        except FileNotFoundError:
            return cls(path=path, current="", items={})
        except (OSError, ValueError) as error:
            problem = f"{path} cannot be read: {error}"
            raise ConfigError(
                "contexts", problem, "Correct it, or name another file with --config"
            ) from error
        items = {name: _context(path, name, entry) for name, entry in _table(path, data).items()}
        return cls(path=path, current=str(data.get("current", "")), items=items)

    def chosen(self, name: str, environ: Mapping[str, str]) -> Context:
        """Return the context called ``name``, or the current one, with what ``environ`` overrides.

        Raises:
            ConfigError: There is none, or it lacks a URL or a token.
        """
        name = name or self.current
        if name in self.items:
            found = self.items[name]
        elif name and not environ.get("POPHAM_URL"):
            hint = nearest(name, self.items) or "Run 'popham init' on the Manager, or set POPHAM_URL"
            raise ConfigError("context", f"there is no context {name!r} in {self.path}", hint)
        else:
            found = Context(url="")
        found = _override(found, environ)
        if not found.url:
            hint = "Run 'popham init' on the Manager, 'popham context use NAME', or set POPHAM_URL and POPHAM_TOKEN"
            raise ConfigError("no_context", "no Manager is chosen", hint)
        if not found.token:
            raise ConfigError("no_token", f"there is no token for {found.url}", "Set POPHAM_TOKEN")
        return found

    def use(self, name: str) -> Self:
        """Return the contexts with ``name`` as the current one.

        Raises:
            ConfigError: There is none of this name.
        """
        if name not in self.items:
            hint = nearest(name, self.items)
            raise ConfigError("context", f"there is no context {name!r} in {self.path}", hint)
        return replace(self, current=name)

    def put(self, name: str, context: Context, *, current: bool = True) -> Self:
        """Return the contexts with this one added or replaced, and made the current one.

        Raises:
            DefinitionError: ``name`` cannot be a name.
        """
        items = {**self.items, check_name(name, "context"): context}
        return replace(self, items=items, current=name if current or not self.current else self.current)

    def save(self) -> None:
        """Write the file with mode 0600, all or nothing.

        Raises:
            ConfigError: It cannot be written.
        """
        text = _encode(self)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(self.path)
        except OSError as error:
            raise ConfigError("contexts", f"{self.path} cannot be written: {error}") from error

    def is_exposed(self) -> bool:
        """Return whether others on this machine may read the file."""
        try:
            return bool(self.path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
        except OSError:
            return False


def contexts_path(environ: Mapping[str, str]) -> Path:
    """Return where the file stands: ``POPHAM_CONFIG``, else under ``XDG_CONFIG_HOME``."""
    if environ.get("POPHAM_CONFIG"):
        return Path(environ["POPHAM_CONFIG"])
    home = environ.get("XDG_CONFIG_HOME", "")
    base = Path(home) if home.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".config"
    return base / "popham" / "config.toml"


def _override(found: Context, environ: Mapping[str, str]) -> Context:
    url, token, ca = (environ.get(f"POPHAM_{part}", "") for part in ("URL", "TOKEN", "CA"))
    if environ.get("POPHAM_TOKEN_FILE") and not token:
        token = _read_named(environ["POPHAM_TOKEN_FILE"], "POPHAM_TOKEN_FILE").strip()
    if ca and "-----BEGIN" not in ca:
        ca = _read_named(ca, "POPHAM_CA")
    if url and url != found.url:
        # A token and a CA belong to one Manager: those of the file are never sent to another.
        found = Context(url=url)
    return Context(url=found.url, token=token or found.token, ca=ca or found.ca)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ValueError(f"it is larger than {MAX_FILE} bytes")
    return data.decode()


def _read_named(name: str, variable: str) -> str:
    try:
        return _read(Path(name))
    except (OSError, ValueError) as error:
        raise ConfigError("contexts", f"{variable}: {name} cannot be read: {error}") from error


def _table(path: Path, data: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in data:
        if key not in {"current", "contexts"}:
            problem = f"{path} has the unknown key {key!r}"
            raise ConfigError("contexts", problem, nearest(key, {"current", "contexts"}))
    found = data.get("contexts", {})
    if not isinstance(found, dict):
        raise ConfigError("contexts", f"{path}: 'contexts' is no table", "Write [contexts.NAME]")
    return found


def _context(path: Path, name: str, entry: Any) -> Context:
    known = set(Context.__dataclass_fields__)
    where = f"{path}: context {name!r}"
    if not isinstance(entry, dict) or "url" not in entry:
        raise ConfigError("contexts", f"{where} has no 'url'", 'Write url = "https://HOST:8443"')
    for key, value in entry.items():
        if key not in known:
            raise ConfigError("contexts", f"{where} has the unknown key {key!r}", nearest(key, known))
        if not isinstance(value, str):
            raise ConfigError("contexts", f"{where}: {key!r} is no text", "Put it in quotes")
    return Context(**entry)


def _encode(contexts: Contexts) -> str:
    lines = [f"current = {_quote(contexts.current)}"]
    for name, context in contexts.items.items():
        lines += ["", f"[contexts.{_quote(name)}]"]
        lines += [f"{key} = {_quote(value)}" for key, value in asdict(context).items() if value]
    return "\n".join([*lines, ""])


def _quote(text: str) -> str:
    """Return ``text`` as a basic string of TOML: as in JSON, and DEL is escaped as well."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
