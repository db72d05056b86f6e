"""A Manager as a process, as an administrator sees it, and the processes of stock agents below it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from popham.cli.contexts import Contexts
from popham.client import Client
from popham.testing.demo import Demo, wait_until

DRIVER = Path(__file__).with_name("stock_agent.py")
GROUP = """\
apiVersion: popham/v1
kind: Policy
metadata: {{name: col-{name}}}
spec:
  type: otelcol
  config: {config}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: {name}}}
spec:
  inheritance: {{policies: {{otelcol: false}}}}
  policies: {{otelcol: {policy}}}
"""
CONFIG = {"exporters": {"debug": {"verbosity": "no", "mode": "0644"}}, "service": {"pipelines": None}}


class Bridge:
    """A Manager as a process, and what an administrator does."""

    def __init__(self, folder, **environ):
        self.demo = Demo(folder)
        self.demo.env |= environ
        self.demo.found()
        self.url = f"https://localhost:{self.demo.agents_port}/v1/opamp"
        self.ca = folder / "manager" / "keys" / "ca.pem"

    @property
    def manager(self):
        return self.demo._processes[-1]

    @property
    def client(self):
        context = Contexts.load(self.demo.folder / "contexts.toml").chosen("", {})
        return Client(context.url, context.token, ca=context.ca)

    def group(self, name, config=CONFIG):
        """Make or change a group with an otelcol policy; None withdraws it."""
        policy = "null" if config is None else f"col-{name}"
        text = GROUP.format(name=name, config=json.dumps(config or CONFIG), policy=policy)
        with self.client as client:
            client.apply([("fleet.yaml", text)])
        return name

    def token(self, group, *, accepts=True, lifetime=None):
        with self.client as client:
            made = client.create_token(kind="stock", group=group, accepts=accepts, lifetime=lifetime)
        return made["secret"]

    def revoke(self, token):
        with self.client as client:
            client.revoke_token(token.split("_")[1])

    def agents(self, group):
        with self.client as client:
            return client.agents(group=group)

    def agent(self, uid):
        with self.client as client:
            return client.agent(uid)

    def stop(self):
        self.manager.send_signal(signal.SIGTERM)
        assert self.manager.wait(60) == 0

    def start(self):
        self.demo.start("manager", "--state", str(self.demo.folder / "manager"), log="manager.log")

        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.demo.people_port)) == 0

        assert wait_until(answers, "the Manager is back")


class StockAgent:
    """The process of one stock agent, and what it told."""

    def __init__(self, bridge, token, **options):
        words = [f"--{name}={value}" for name, value in options.items()]
        self.events = []
        self.process = subprocess.Popen(
            [*self._command(bridge), f"--url={bridge.url}", f"--token={token}", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._environment(bridge),
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _command(self, bridge):
        return [sys.executable, str(DRIVER), f"--ca={bridge.ca}"]

    def _environment(self, bridge):
        return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdin.close()
        self.process.stdout.close()

    def order(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def goodbye(self):
        """End it as an application ends, and return its goodbyes."""
        self.order(goodbye=True)
        assert self.process.wait(60) == 0
        self._reader.join()
        return [event for event in self.events if event.get("goodbye")]

    def of(self, kind, **facts):
        return [
            e for e in list(self.events) if e["event"] == kind and all(e[k] == v for k, v in facts.items())
        ]

    def await_(self, kind, count=1, **facts):
        """Return events of a kind once there are ``count`` of them."""
        assert wait_until(lambda: len(self.of(kind, **facts)) >= count, kind, required=False), self.events[
            -5:
        ]
        return self.of(kind, **facts)

    def quiet_after(self, beats=3):
        """Wait until some heartbeats were answered with nothing new."""
        begin = len(self.events)

        def bare(event):
            keys = ("described", "status", "offered", "asked", "settings")
            return event["event"] == "answered" and not any(event[key] for key in keys)

        assert wait_until(
            lambda: len(self.events) >= begin + beats and all(map(bare, self.events[-beats:])),
            "nothing new",
            required=False,
        ), self.events[-6:]

    @property
    def uid(self):
        raw = self.await_("answered")[0]["uid"]
        return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
