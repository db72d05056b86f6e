"""What this machine permits, as its own administrator wrote it.

No Manager can widen it: roots of files, commands, and what location criteria may
look at are named here and nowhere else.  A missing file permits nothing.
"""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from popham.agent.service_settings import ServiceSettings, check_service
from popham.agent.sight import LocationSettings, Targets, check_location
from popham.config import load
from popham.errors import ConfigError
from popham.model.operation import ORDERED
from popham.statedir import Kind

DEFAULT_FILE = Path("/etc/popham/agent.toml")
DEFAULT_STATE = "/var/lib/popham/agent"
COMMAND_TIMEOUT = 30.0
"""Seconds that a command may take."""
HEALTH_WINDOW = 600.0
"""Seconds in which what came into force is watched. Source: guarantees, REL-11."""
PLACES = ("{dir}", "{path}")
"""What is replaced in a command that validates: the directory of the staged files, and each staged file."""

PHASE = "{phase}"
"""What is replaced in a command that policies of type ``custom`` may name: ``check``, ``apply`` or ``remove``."""

_COMMAND_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=3600)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Mode = Annotated[str, msgspec.Meta(pattern=r"^0?[0-7]{3}$")]
_Argv = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=256)]


class FilesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What policies of type ``files`` may do.

    Attributes:
        roots: Absolute paths of existing directories under which files may be placed.
    """

    roots: tuple[str, ...] = ()


class OtelcolSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where this machine's OpenTelemetry Collector has its configuration.

    Attributes:
        path: The file that policies of type ``otelcol`` write; None, and they are not applied here.
        mode: Its mode, octal.
        owner: Its owner; None for the agent's own account.
        group: Its group; None for the agent's own.
        collector: The Collector's program, asked to ``validate`` the file; None for nobody.
        validate: Name of a command that validates as well.
        reload: Name of the command that tells the Collector of the file.
    """

    path: str | None = None
    mode: _Mode = "0640"
    owner: _Word | None = None
    group: _Word | None = None
    collector: str | None = None
    validate: str | None = None
    reload: str | None = None


class HealthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How what came into force is watched.

    Attributes:
        window: Seconds after an apply in which a set that breaks this machine is undone; 0 for never.
    """

    window: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = HEALTH_WINDOW


class OperationsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be ordered of this machine once.

    Attributes:
        run: Names of commands that may be run.
        refuse: Kinds of operations that this machine never does.
    """

    run: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()


class CollectSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What policies of type ``collect`` may look at.

    Attributes:
        logs: Absolute paths of directories under which logs may be read.
        probes: Hosts that may be probed: names with ``*`` and ``?``, addresses and ranges of them; ``*`` for any.
    """

    logs: tuple[str, ...] = ("/var/log",)
    probes: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one agent.

    Attributes:
        name: Name shown to people; None for the host name.
        state: The state directory.
        socket: Path of the local socket; None for ``agent.sock`` in the state directory.
        files: What policies of type ``files`` may do.
        otelcol: Where the Collector has its configuration.
        collect: What policies of type ``collect`` may look at.
        commands: Name → argument list, the absolute path of the program first;
            no shell reads it. ``{dir}`` and ``{path}`` stand for staged files, ``{phase}``
            for what a program of policies of type ``custom`` is to do.
        command_timeout: Seconds that a command may take, 0.1 to 3600.
        labels: Told to the Manager, for people and selections.
        location: What location criteria may look at.
        health: How what came into force is watched.
        service: Where the agent's service listens, once somebody on this machine starts it.
        operations: What may be ordered of it once.
        metered: Whether the network costs by volume or time; ``auto`` where the only way out is mobile.
        http_proxy: ``http://user:password@host:port`` of a web proxy that leads to every server; empty for none.
        kind: What runs on it, as its state directory says.
    """

    kind: ClassVar[Kind] = "agent"

    name: _Word | None = None
    state: str = DEFAULT_STATE
    socket: str | None = None
    files: FilesSettings = FilesSettings()
    otelcol: OtelcolSettings = OtelcolSettings()
    collect: CollectSettings = CollectSettings()
    commands: dict[str, _Argv] = {}
    command_timeout: _Seconds = COMMAND_TIMEOUT
    labels: dict[_Word, str] = {}
    location: LocationSettings = LocationSettings()
    health: HealthSettings = HealthSettings()
    service: ServiceSettings = ServiceSettings()
    operations: OperationsSettings = OperationsSettings()
    metered: bool | Literal["auto"] = "auto"
    http_proxy: str = ""

    @property
    def socket_path(self) -> Path:
        """Path of the local socket."""
        return Path(self.socket) if self.socket else Path(self.state) / "agent.sock"


_Settings = TypeVar("_Settings", bound=AgentSettings)


def load_settings(
    path: Path | None = DEFAULT_FILE,
    *,
    env: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    must_exist: bool = False,
    form: type[_Settings] = AgentSettings,  # type: ignore[assignment]  # it is one, where nobody names another
) -> _Settings:
    """Return the settings of this machine's agent; without a file, nothing is permitted.

    Args:
        path: The configuration file; None for none.
        env: The environment.
        overrides: Flags: dotted key → value.
        must_exist: Whether a missing file is an error, as when somebody named it.
        form: What may be configured: an agent's settings, or more than those.

    Raises:
        ConfigError: A source is wrong, a root or program is not an absolute
            path, or everybody may write the file.
    """
    _check_writers(path)
    settings = load(form, path=path, env=env, overrides=overrides or {}, must_exist=must_exist)
    where = str(path) if path else form.kind
    for root in settings.files.roots:
        _check_absolute(root, f"{where}: files.roots")
    for path_seen in settings.location.files:
        _check_absolute(path_seen, f"{where}: location.files")
    check_location(settings.location, where)
    _check_absolute(settings.state, f"{where}: state")
    if settings.socket is not None:
        _check_absolute(settings.socket, f"{where}: socket")
    if settings.service.socket is not None:
        _check_absolute(settings.service.socket, f"{where}: service.socket")
    check_service(settings.service, where)
    for name, argv in settings.commands.items():
        if not _COMMAND_NAME.fullmatch(name):
            problem = f"{where}: commands: {name!r} cannot be the name of a command"
            raise ConfigError(
                "command", problem, "Use lower-case letters, digits, '.', '_' or '-', at most 64 of them"
            )
        _check_absolute(argv[0], f"{where}: commands.{name}")
        if any("\0" in part for part in argv):
            raise ConfigError("command", f"{where}: commands.{name}: an argument holds a NUL character")
    _check_otelcol(settings, where)
    _check_collect(settings.collect, where)
    _check_operations(settings, where)
    _check_http_proxy(settings.http_proxy, where)
    return settings


def _check_http_proxy(url: str, where: str) -> None:
    """Refuse what is no web proxy; a password in it is not repeated."""
    try:
        parts = urlsplit(url)
        good = not url or (
            parts.scheme == "http" and parts.hostname and parts.port and parts.path in {"", "/"}
        )
    except ValueError:
        good = False
    if not good:
        hint = 'Write it like "http://user:password@proxy.example:3128"'
        raise ConfigError("http_proxy", f"{where}: http_proxy is no address of a web proxy", hint)


def _check_otelcol(settings: AgentSettings, where: str) -> None:
    given = settings.otelcol
    for key, path in (("path", given.path), ("collector", given.collector)):
        if path is not None:
            _check_absolute(path, f"{where}: otelcol.{key}")
    for key, name in (("validate", given.validate), ("reload", given.reload)):
        if name is not None and name not in settings.commands:
            problem = f"{where}: otelcol.{key}: there is no command {name!r}"
            raise ConfigError("command", problem, f"Add {name} under [commands]")


def _check_collect(given: CollectSettings, where: str) -> None:
    for root in given.logs:
        _check_absolute(root, f"{where}: collect.logs")
    for host in given.probes:
        try:
            Targets.read(f"{host}:*")
        except ValueError as error:
            problem = f"{where}: collect.probes: {host!r} is neither a host nor a range of addresses"
            hint = 'Write "localhost", "*.corp.example" or "10.0.0.0/8"'
            raise ConfigError("probe", problem, hint) from error


def _check_operations(settings: AgentSettings, where: str) -> None:
    given = settings.operations
    for name in given.run:
        argv = settings.commands.get(name)
        if argv is None:
            problem = f"{where}: operations.run: there is no command {name!r}"
            raise ConfigError("command", problem, f"Add {name} under [commands]")
        if any(place in part for part in argv for place in (*PLACES, PHASE)):
            problem = (
                f"{where}: operations.run: the command {name!r} is for policies, which say what it stands for"
            )
            raise ConfigError("command", problem, "Name another, without {dir}, {path} and {phase}")
    unknown = [kind for kind in given.refuse if kind not in set(ORDERED)]
    if unknown:
        problem = f"{where}: operations.refuse: there is no operation {unknown[0]!r}"
        raise ConfigError("operation", problem, f"Use one of {', '.join(ORDERED)}")


def _check_absolute(path: str, where: str) -> None:
    if not path.startswith("/") or "\0" in path or posixpath.normpath(path) != path:
        problem = f"{where}: {path!r} is not an absolute path in its shortest form"
        raise ConfigError("path", problem, "Write it from '/', without '.', '..' or a '/' at the end")


def _check_writers(path: Path | None) -> None:
    """Refuse a file that everybody may write: whoever can, decides what this agent may do."""
    if path is not None and path.exists() and stat.S_IMODE(path.stat().st_mode) & stat.S_IWOTH:
        raise ConfigError("writable", f"{path}: everybody may write it", f"Run: chmod o-w {path}")
