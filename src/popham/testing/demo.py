"""``make demo``: a Manager and four agents on loopback, one in each cell, and a policy on its way to them.

With ``--topology proxy`` or ``chain`` Proxy Managers stand between them; see :mod:`popham.testing.topology`.

Everything is what a user would run: the ``popham`` command, as processes, with
a state directory each.  With ``--once`` it ends by itself, and the last line on
standard output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from popham.cli.contexts import Contexts
from popham.client import Client
from popham.streams.frame import Stream
from popham.testing.demo_fleet import CELLS, HEARTBEAT, LOG, MACHINES, define
from popham.testing.ports import free_ports
from popham.testing.topology import DIRECT, TOPOLOGIES, Between, Topology

STREAMS = tuple(map(str, Stream))
LINES = 100
"""Lines that are written to each."""
PATIENCE = 60.0
"""Seconds until the demo gives up."""


class Demo:
    """The processes of one demo, and the folder they live in."""

    def __init__(self, folder: Path, topology: Topology = DIRECT) -> None:
        """Use ``folder``, which is empty or does not exist yet."""
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.topology = topology
        self.agents_port, self.people_port, *ports = free_ports(4 + 2 * len(topology.proxies))
        self.doors = {one.name: ports.pop() for one in topology.proxies}
        self._service_ports = iter(ports)
        self.env = os.environ | {"POPHAM_CONFIG": str(self.folder / "contexts.toml")}
        self._processes: list[subprocess.Popen[bytes]] = []

    # Processes.

    def popham(self, *words: str) -> str:
        """Run a command to its end and return what it printed; it talks on our standard error."""
        done = subprocess.run(
            [sys.executable, "-m", "popham", *words],
            env=self.env,
            stdout=subprocess.PIPE,
            check=False,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode:
            raise SystemExit(f"demo: popham {' '.join(words[:2])} ended with {done.returncode}")
        return done.stdout.strip()

    def start(self, *words: str, log: str) -> subprocess.Popen[bytes]:
        """Start a command that stays, with its output in ``log``."""
        with (self.folder / log).open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "popham", *words], env=self.env, stdout=output, stderr=output
            )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """End every process, the agents first, and wait for it."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # The story.

    def found(self) -> None:
        """Make a Manager and start it."""
        state = str(self.folder / "manager")
        doors = ["--agents", f"127.0.0.1:{self.agents_port}", "--people", f"127.0.0.1:{self.people_port}"]
        self.popham("init", "--state", state, "--name", "localhost", *doors, "--context", "demo")
        manager = self.start("manager", "--state", state, log="manager.log")
        context = Contexts.load(self.folder / "contexts.toml").chosen("", {})

        def answers() -> bool:
            if manager.poll() is not None:
                raise SystemExit(f"demo: the Manager ended; see {self.folder / 'manager.log'}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.people_port)) == 0

        wait_until(answers, "the Manager opens its doors")
        self.client = Client(context.url, context.token, ca=context.ca)

    def enroll(self) -> None:
        """Enroll the agents, each with a root of its own, and what stands between, and start them."""
        self.publish("Welcome aboard.")
        for one in self.topology.proxies:
            self._place(one)
        for name, group in MACHINES.items():
            root = self.folder / "machines" / group
            root.mkdir(parents=True)
            text = f'[files]\nroots = ["{root}"]\n[collect]\nlogs = ["{root}"]\n'
            join = self.popham("token", "create", "-g", group, "--accept", *self._via(group))
            self._begin("agent", name, join, text, visited=CELLS[group][0] == "closed")

    def _via(self, group: str) -> list[str]:
        path = self.topology.path(group)
        return ["--via", path[-1]] if path else []

    def _place(self, one: Between) -> None:
        """Enroll a Proxy Manager, start it and accept it; return once those below may dial it."""
        above = ["--via", one.above] if one.above else []
        join = self.popham("token", "create", "--proxy", one.name, "-g", one.group, *above)
        text = f'[listen]\nagents = "127.0.0.1:{self.doors[one.name]}"\n'
        self._begin("proxy", one.name, join, text, visited=one.is_visited)
        wait_until(lambda: one.name in self._known(), f"{one.name} asks to be accepted")
        self.popham("accept", "agent", one.name)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.doors[one.name])) == 0

        wait_until(listens, f"{one.name} opens its door")

    def _begin(self, kind: str, name: str, join: str, text: str, *, visited: bool) -> None:
        """Enroll and start an agent or a proxy."""
        config = self.folder / f"{name}.toml"
        text = f'name = "{name}"\nstate = "{self.folder / name}"\n{text}'
        if visited:
            text += f'[service]\nport = {next(self._service_ports)}\nhosts = ["127.0.0.1"]\n'
        config.write_text(text)
        self.popham(kind, "enroll", join, "--config", str(config))
        if visited:
            self.popham(kind, "service", "enable", "--config", str(config))
        self.start(kind, "run", "--config", str(config), log=f"{name}.log")

    def _known(self) -> set[str]:
        return {item["name"] for item in self.client.agents()}

    def publish(self, text: str) -> None:
        """Apply the definitions with the command, with ``text`` in every file."""
        file = self.folder / "fleet.yaml"
        file.write_text(self._definitions(text))
        self.popham("apply", "-f", str(file))

    def _definitions(self, text: str) -> str:
        return define(self.folder, text) + self.topology.definitions(self.doors, HEARTBEAT)

    def look(self) -> dict[str, dict[str, Any]]:
        """Return the agents by name, as the Manager shows them, without the machines of proxies."""
        return {item["name"]: item for item in self.client.agents() if item["name"] in MACHINES}

    def settled(self) -> bool:
        """Return whether every agent has what it should have, by the way that its group orders."""
        agents = self.look()
        return len(agents) == len(MACHINES) and all(
            agent["sync"] == "in sync"
            and not agent["fallback"]
            and agent["via"] == self.topology.path(MACHINES[name])
            for name, agent in agents.items()
        )

    def follow(self, text: str) -> list[dict[str, Any]]:
        """Publish ``text`` and return, per agent, how it arrived and in how many seconds."""
        begin = time.monotonic()
        self.client.apply([("fleet.yaml", self._definitions(text))])
        took: dict[str, float] = {}

        def arrived() -> bool:
            for name, agent in self.look().items():
                if name not in took and agent["sync"] == "in sync" and self._has(name, text):
                    took[name] = time.monotonic() - begin
            return len(took) == len(MACHINES)

        complete = wait_until(arrived, "the policy arrives", required=False)
        if not complete:
            print("demo: not every agent applied what was published", file=sys.stderr)
        return [
            {
                "name": name,
                "mode": agent["mode"],
                "dialer": agent["dialer"],
                "wanted": agent["wanted"],
                "applied": agent["applied"],
                "presence": agent["presence"],
                "via": agent["via"],
                "seconds_to_apply": round(took[name], 3) if name in took else None,
            }
            for name, agent in sorted(self.look().items())
        ]

    def order(self) -> list[dict[str, Any]]:
        """Have every agent check in, and return what came of each."""
        name = self.client.order("check-in", {"agents": sorted(MACHINES)})["name"]
        over = wait_until(
            lambda: self.client.operation(name)["state"] == "over", "every agent checks in", required=False
        )
        if not over:
            print("demo: not every agent checked in", file=sys.stderr)
        shown = ("name", "state", "text")
        found = [{key: target[key] for key in shown} for target in self.client.targets(name)]
        return [
            {"operation": name, "kind": "check-in"} | one
            for one in sorted(found, key=lambda one: one["name"])
        ]

    def collect(self) -> dict[str, dict[str, int]]:
        """Write a log on every machine, and return how many records of each stream came of it, by agent."""
        for group in MACHINES.values():
            with (self.folder / "machines" / group / LOG).open("a") as log:
                log.writelines(f"{number} bells, and all is well\n" for number in range(1, LINES + 1))

        def here() -> bool:
            found = self.stored()
            return len(found) == len(MACHINES) and all(
                one["logs"] >= LINES and one["events"] and one["summary"] and one["metrics"]
                for one in found.values()
            )

        if not wait_until(here, "the data of every agent is here", required=False):
            print("demo: not every agent's data came", file=sys.stderr)
        return self.stored()

    def stored(self) -> dict[str, dict[str, int]]:
        """Return agent → stream → records that are stored, and under ``lost`` how many were lost."""
        return {
            row["name"]: {stream: row["stored"].get(stream, 0) for stream in STREAMS}
            | {"lost": sum(row["lost"].values())}
            for row in self.client.summaries()
            if row["name"] in MACHINES
        }

    def _has(self, name: str, text: str) -> bool:
        file = self.folder / "machines" / MACHINES[name] / "motd"
        return file.is_file() and file.read_text().strip() == text


def wait_until(holds: Callable[[], bool], what: str, *, required: bool = True) -> bool:
    """Look every 20 ms until ``holds``; give up after :data:`PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    if required:
        raise SystemExit(f"demo: gave up waiting until {what}")
    return False


@contextmanager
def running(folder: Path, topology: Topology = DIRECT) -> Iterator[Demo]:
    """Run a demo's Manager, agents and what stands between in ``folder``, and end them."""
    demo = Demo(folder, topology)
    try:
        demo.found()
        demo.enroll()
        wait_until(demo.settled, "every agent has its first policy")
        yield demo
    finally:
        demo.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(prog="popham demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end by itself, with one JSON object")
    parser.add_argument(
        "--topology", choices=sorted(TOPOLOGIES), default="direct", help="what stands between"
    )
    parser.add_argument("--state", type=Path, help="folder that keeps everything; it must be new")
    asked = parser.parse_args(arguments)
    folder = asked.state or Path(tempfile.mkdtemp(prefix="popham-demo-"))
    if folder.exists() and any(folder.iterdir()):
        print(f"demo: {folder} is not empty; name a new folder", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _show(folder, TOPOLOGIES[asked.topology], once=asked.once)
    except KeyboardInterrupt:
        return 130


def _show(folder: Path, topology: Topology, *, once: bool) -> int:
    with running(folder, topology) as demo:
        agents = demo.follow("Weigh anchor at six bells.")
        operations = demo.order()
        streams = demo.collect()
        agents = [agent | {"streams": streams.get(agent["name"], {})} for agent in agents]
        print(demo.popham("get", "agents"), file=sys.stderr)
        print(demo.popham("get", "summary"), file=sys.stderr)
        if topology.proxies:
            print(demo.popham("get", "proxies"), file=sys.stderr)
        print(demo.popham("logs", "web-1", "-n", "3"), file=sys.stderr)
        ok = all(agent["applied"] == agent["wanted"] and agent["seconds_to_apply"] for agent in agents)
        ok = ok and len(agents) == len(operations) == len(MACHINES)
        ok = ok and all(one["state"] == "succeeded" for one in operations)
        ok = ok and all(
            agent["streams"].get("logs") == LINES and not agent["streams"]["lost"] for agent in agents
        )
        if once:
            found = {"ok": ok, "state": str(demo.folder), "agents": agents, "operations": operations}
            print(json.dumps(found))
            return 0 if ok else 1
        print(f"api: https://localhost:{demo.people_port}/api/v1")
        print(f"agents: https://localhost:{demo.agents_port}")
        print(f"state: {demo.folder}", flush=True)
        print(
            f"Try: POPHAM_CONFIG={demo.folder}/contexts.toml {sys.prefix}/bin/popham get agents -w\n"
            "Ctrl-C ends it.",
            file=sys.stderr,
        )
        _wait_for_the_end()
        return 0


def _wait_for_the_end() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    sys.exit(main())
