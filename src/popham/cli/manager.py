"""``popham init|manager|backup|restore``: found, run, save and bring back a Manager."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from popham.cli.contexts import Context
from popham.cli.invocation import Invocation
from popham.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    import uvicorn

    from popham.clock import Clock
    from popham.manager.app import Manager
    from popham.manager.settings import ManagerSettings

_LOCAL = ("localhost", "127.0.0.1", "::1")


@click.command()
@click.option(
    "--state", type=click.Path(path_type=Path), default="/var/lib/popham/manager", show_default=True
)
@click.option("--name", "names", multiple=True, help="DNS name or address by which this Manager is reached.")
@click.option("--agents", default="[::]:4320", show_default=True, help="Where to listen for agents.")
@click.option("--people", default="[::]:8443", show_default=True, help="Where to listen for people.")
@click.option("--url", "urls", multiple=True, help="Where agents dial, if not https://NAME:PORT.")
@click.option(
    "--trust-domain", default="popham", show_default=True, help="First part of names in certificates."
)
@click.option(
    "--ca", nargs=2, type=click.Path(exists=True, path_type=Path), help="Key and certificate of your own CA."
)
@click.option(
    "--database", metavar="URL", help="A PostgreSQL database, if not SQLite in the state directory."
)
@click.option(
    "--context", "context", default="default", show_default=True, help="Name of the context to save."
)
@click.pass_obj
def init(
    run: Invocation,
    state: Path,
    names: tuple[str, ...],
    agents: str,
    people: str,
    urls: tuple[str, ...],
    trust_domain: str,
    ca: tuple[Path, Path] | None,
    database: str | None,
    context: str,
) -> None:
    """Make a Manager's state directory, keys and first token."""
    from popham.clock import SystemClock
    from popham.config import load
    from popham.manager.founding import Founding, found
    from popham.manager.settings import ManagerSettings
    from popham.net.listen_settings import Address
    from popham.store.opening import open_store

    clock = SystemClock()
    names = names or (socket.getfqdn(),)
    agents_at = Address.parse(agents, "--agents")
    people_at = Address.parse(people, "--people")
    asked = Founding(
        state=state,
        names=tuple(dict.fromkeys((*names, *_LOCAL))),
        urls=urls or tuple(f"https://{_host(name)}:{agents_at.port}" for name in names),
        agents=agents,
        people=people,
        trust_domain=trust_domain,
        database=database or "",
        authority=(ca[0].read_bytes(), ca[1].read_bytes()) if ca else None,
    )
    # What a variable says is not written down: it may be a secret, and the Manager will have it too.
    told = load(ManagerSettings, path=None, env=run.environ, overrides={"database": database})
    made = asyncio.run(
        found(asked, clock=clock, open_store=lambda path: open_store(told.database, path, clock=clock))
    )
    url = f"https://{_host(names[0])}:{people_at.port}"
    contexts = run.contexts().put(
        context, Context(url=url, ca=made.keys.ca.issuers_pem.decode(), token=made.token)
    )
    contexts.save()
    click.echo(f"A new Manager stands in {state}; its context {context!r} is saved.", err=True)
    click.echo(
        f"Keep {state / 'keys' / 'root.pem'} and targets.pem offline: they recover everything else.", err=True
    )
    click.echo(f"Next: popham manager --state {state}", err=True)


@click.command()
@click.option(
    "--config", type=click.Path(path_type=Path), help="File, if not the one in the state directory."
)
@click.option("--state", help="State directory, as popham init made it.")
@click.option("--log-level", default="info", show_default=True)
@click.option("--log-json", is_flag=True, help="One JSON object per line.")
@click.pass_obj
def manager(
    run: Invocation, config: Path | None, state: str | None, log_level: str, *, log_json: bool
) -> None:
    """Run a Manager."""
    from popham.cli.process import run_process
    from popham.log import set_up_logging
    from popham.manager.settings import load_settings

    set_up_logging(level=log_level, as_json=log_json)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings, _ = load_settings(config, state=state, env=run.environ, overrides={})
    run_process(lambda ready, stopping: serve(settings, ready, stopping), run.environ)


async def serve(
    settings: ManagerSettings,
    ready: asyncio.Event,
    stopping: asyncio.Event,
    *,
    opens: Callable[[ManagerSettings, Clock], AbstractAsyncContextManager[Manager]] | None = None,
) -> None:
    """Open both doors, then wait until either shuts or the process is asked to stop.

    ``opens`` opens the Manager; None for :func:`popham.manager.app.open_manager`.
    """
    from popham.clock import SystemClock
    from popham.manager.app import open_manager
    from popham.net.listen_settings import Address

    at = Address.parse(settings.listen.people, "listen.people")
    async with (opens or open_manager)(settings, SystemClock()) as running:
        opened = asyncio.Event()
        agents: asyncio.Future[Any] = asyncio.ensure_future(running.run(opened, stopping))
        opening: asyncio.Future[Any] = asyncio.ensure_future(opened.wait())
        ends = {opening, agents}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if opened.is_set():
                # In a thread: what people need takes as long to load as thousands of heartbeats.
                server = await asyncio.to_thread(_people, running)
                sockets = [_bind(host, at.port) for host in at.hosts]
                ends.add(asyncio.ensure_future(server.serve(sockets=sockets)))
                click.echo(f"agents: {settings.urls[0] if settings.urls else running.listener.port}")
                click.echo(f"api: https://localhost:{sockets[0].getsockname()[1]}/api/v1")
                ready.set()
                ends.discard(opening)
                ends.add(asyncio.ensure_future(stopping.wait()))
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                server.should_exit = True
        finally:
            stopping.set()
            opening.cancel()
            results = await asyncio.gather(opening, *ends, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


def _people(running: Manager) -> uvicorn.Server:
    """Return the server for people: TLS 1.3, and no signal handlers of its own."""
    import ssl

    import uvicorn

    from popham.api.app import create_app

    class People(uvicorn.Server):
        """A server whose process minds the signals itself."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    tls = running.state.root / "tls"
    config = uvicorn.Config(
        create_app(running.service),
        lifespan="off",
        server_header=False,
        access_log=False,
        log_config=None,
        ssl_certfile=str(tls / "listener.pem"),
        ssl_keyfile=str(tls / "listener.key"),
        timeout_graceful_shutdown=1,
    )
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    return People(config)


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; one for IPv6 leaves IPv4 to another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        problem = f"{host} port {port} cannot be listened on: {error.strerror or error}"
        raise ConfigError("listen", problem, "Choose another port, or stop what listens there") from error
    return bound


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--state", type=click.Path(path_type=Path), default="/var/lib/popham/manager", show_default=True
)
@click.option("--keys-only", is_flag=True, help="You save the PostgreSQL database yourself, by pg_dump.")
@click.pass_obj
def backup(run: Invocation, file: Path, state: Path, *, keys_only: bool) -> None:
    """Save a Manager's keys and state in one file.

    The Manager may run meanwhile.
    """
    from popham.manager import backup as saving
    from popham.manager.settings import load_settings

    settings, _ = load_settings(None, state=str(state), env=run.environ, overrides={})
    saving.backup(state, file, elsewhere=bool(settings.database), keys_only=keys_only)
    click.echo(f"Saved {state} in {file}. It holds every key: keep it as safe as the Manager.", err=True)


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--state", type=click.Path(path_type=Path), default="/var/lib/popham/manager", show_default=True
)
def restore(file: Path, state: Path) -> None:
    """Make a state directory from a backup.

    Agents follow at their next round; none has to be enrolled again.
    """
    from popham.manager import backup as saving

    saving.restore(file, state)
    click.echo(f"Restored {file} to {state}. Next: popham manager --state {state}", err=True)
