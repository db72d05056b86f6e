"""The machine itself: configuration, state directory, disk, and what policies may do here."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from popham.agent.doctor.finding import Finding, fail, failed, ok, skip, warn
from popham.agent.doctor.probes import Probes
from popham.agent.settings import AgentSettings
from popham.errors import StateError
from popham.statedir import StateView

MIB: Final = 1024 * 1024
LITTLE: Final = 64 * MIB
"""Free bytes below which somebody should look."""
FULL: Final = MIB
"""Free bytes below which nothing can be kept."""
FEW: Final = 1000
"""Files that can still be made, below which somebody should look."""


def check_configuration(source: Path, settings: AgentSettings) -> list[Finding]:
    """Return how the configuration stands, which was read and understood."""
    name = "configuration"
    try:
        files = [file for file in (source, *sorted(Path(f"{source}.d").glob("*.toml"))) if file.exists()]
        loose = [file for file in files if file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)]
    except OSError as error:
        return [
            fail(name, f"{source} cannot be looked at: {error.strerror}", "Run it as the agent's own user")
        ]
    if not files:
        step = f"Write {source}, if policies are to do something here"
        return [warn(name, f"there is no {source}, so no policy may do anything here", step)]
    if loose:
        text = f"{loose[0]} can be written by others than its owner, who so decide what this agent may do"
        return [warn(name, text, f"chmod go-w {loose[0]}")]
    roots, commands = len(settings.files.roots), len(settings.commands)
    return [ok(name, f"{source} is read, and permits {_count(roots, 'root')}, {_count(commands, 'command')}")]


async def check_state(settings: AgentSettings, probes: Probes) -> list[Finding]:
    """Return how the state directory stands."""
    name, folder = "state directory", Path(settings.state)
    try:
        await probes.ask("state", lambda: StateView.look(folder, settings.kind).names("blobs"))
        held = await probes.ask("mode", folder.stat)
    except StateError as error:
        return [failed(name, error, f"Look at {folder}")]
    except TimeoutError:
        return [fail(name, f"{folder} does not answer within {probes.seconds:g} s", "Look at that disk")]
    except OSError as error:
        text = f"{folder} cannot be read: {error.strerror or error}"
        return [fail(name, text, "Run it as the user that owns it, or look at that disk")]
    if held.st_uid != os.geteuid():
        text = f"{folder} belongs to user {held.st_uid}, and this is tried as user {os.geteuid()}"
        return [warn(name, text, "Run it as the agent's own user, which may be permitted less")]
    if stat.S_IMODE(held.st_mode) & 0o077:
        return [warn(name, f"{folder} can be read by others, and keys are in it", f"chmod 700 {folder}")]
    return [ok(name, f"{folder} is whole, and its owner's alone")]


async def check_disk(settings: AgentSettings, probes: Probes) -> list[Finding]:
    """Return whether the state directory, and each root, takes what is written there."""
    folders = [Path(settings.state), *(Path(root) for root in settings.files.roots)]
    found = []
    for folder in dict.fromkeys(folders):
        try:
            there = await probes.ask(f"there {folder}", folder.is_dir)
            found += [await _check_folder(folder, probes)] if there else []
        except TimeoutError:
            text = f"{folder} does not answer within {probes.seconds:g} s"
            found.append(fail("disk", text, "Look at that disk, or at the file server behind it"))
        except OSError as error:
            text = f"{folder} cannot be written: {error.strerror or error}"
            found.append(fail("disk", text, f"See df {folder}, df -i {folder} and mount"))
    return found or [skip("disk", "there is no directory to write in")]


async def _check_folder(folder: Path, probes: Probes) -> Finding:
    room = await probes.ask(f"room {folder}", lambda: probes.room(folder))
    await probes.ask(f"write {folder}", lambda: probes.write(folder))
    left = f"{room.free // MIB} MiB"
    if room.free < FULL or room.files == 0:
        what = f"{left} free" if room.free < FULL else "no file more can be made"
        return fail("disk", f"{folder} is full: {what}", f"Make room there: df {folder}, df -i {folder}")
    if room.free < LITTLE or (room.files is not None and room.files < FEW):
        what = f"{left} free, and {room.files} files" if room.files is not None else f"{left} free"
        return warn("disk", f"{folder} takes what is written, and is nearly full: {what}", "Make room there")
    return ok("disk", f"{folder} takes what is written, {left} free")


async def check_permissions(settings: AgentSettings, probes: Probes) -> list[Finding]:
    """Return whether what the configuration permits can be done here, by this user."""
    found = [await _ask("root", Path(root), _check_root, probes) for root in settings.files.roots]
    # Of a command its program alone is shown: what else stands there may be a secret.
    programs = [argv[0] for argv in settings.commands.values()]
    programs += [settings.otelcol.collector] if settings.otelcol.collector else []
    found += [await _ask("command", Path(path), _check_program, probes) for path in dict.fromkeys(programs)]
    if settings.otelcol.path:
        found.append(await _ask("otelcol", Path(settings.otelcol.path).parent, _check_root, probes))
    return found or [skip("policies", "this machine permits no root and no command")]


async def _ask(check: str, path: Path, call: Callable[[str, Path], Finding], probes: Probes) -> Finding:
    try:
        return await probes.ask(f"{check} {path}", lambda: call(check, path))
    except TimeoutError:
        return fail(check, f"{path} does not answer within {probes.seconds:g} s", "Look at that disk")
    except OSError as error:
        return fail(
            check, f"{path} cannot be looked at: {error.strerror or error}", "Correct its permissions"
        )


def _check_root(check: str, root: Path) -> Finding:
    if not root.is_dir():
        return fail(check, f"{root} is no directory on this machine", f"mkdir {root}, or correct agent.toml")
    if not os.access(root, os.W_OK | os.X_OK):
        step = f"Give this user the right to write {root}; under systemd, ReadWritePaths= as well"
        return fail(check, f"{root} cannot be written by user {os.geteuid()}", step)
    return ok(check, f"{root} can be written")


def _check_program(check: str, path: Path) -> Finding:
    if not path.is_file():
        return fail(check, f"{path} is not there", "Install it, or correct agent.toml")
    if not os.access(path, os.X_OK):
        return fail(check, f"{path} cannot be run by user {os.geteuid()}", f"chmod +x {path}")
    return ok(check, f"{path} can be run")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
