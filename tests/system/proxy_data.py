"""Machines whose logs go through Proxy Managers, which are killed, stopped and robbed of their disks."""

import random
import shutil
import signal
import subprocess
from contextlib import suppress

from popham.testing.ports import free_ports

from .data_lab import BURST, CELLS, MOMENT, Lab
from .proxies import Proxy

ABOVE = {"dock": "Push", "pier": "Pull by visit"}
"""Proxy Manager → how it gets in touch with the Manager."""
BELOW = {"held": "pier", "dials": "dock", "visited": "dock", "reached": "pier"}
"""Machine → the Proxy Manager that it is at; one dials each, and one is dialled by each."""
HOP, END_TO_END = "hop", "end to end"


class Yard(Lab):
    """A lab whose machines join and are in touch through Proxy Managers.

    Attributes:
        proxies: Proxy Managers by name.
    """

    def __init__(self, fleet, *, heartbeat="1s", custody=HOP, toml=""):
        """Found two Proxy Managers, with ``heartbeat`` above them; all groups of machines are given to both.

        ``toml`` stands in the configuration of each, too.
        """
        super().__init__(fleet)
        self.proxies = {}
        for name in CELLS:
            fleet.apply(self._definition(name))
        for name, preset in ABOVE.items():
            fleet.group(f"{name}s", preset=preset, heartbeat=heartbeat)
            port = free_ports(1)[0]
            address = self.address_of(name)
            own = f'[service]\nport = {port}\nhosts = ["{address}"]\n[health]\nwindow = 0\n{toml}'
            given = {"group": f"{name}s", "toml": own, "custody": _custody(custody), "address": address}
            proxy = self.proxies[name] = Proxy(fleet, name, CELLS, **given)
            proxy.join()
            if preset != "Push":
                proxy.popham("service", "enable", "--now")
            fleet.until(lambda proxy=proxy, preset=preset: _is_as(proxy, preset), f"{name} is in its cell")

    def take_custody(self, custody):
        """Have all Proxy Managers acknowledge by ``custody``, and wait until they do."""
        for proxy in self.proxies.values():
            proxy.define(CELLS, custody=_custody(custody))
            said = _said(custody)
            self.fleet.until(
                lambda proxy=proxy, said=said: proxy.status["proxy"]["custody"] == said, "it is told"
            )

    def _join(self, name, toml):
        return self.proxies[BELOW[name]].machine(name, name, toml=toml, run=False)

    def _place(self, name):
        return super()._place(name).replace("spec: {", f"spec: {{proxy: {BELOW[name]}, ")

    def held(self, name):
        """Return how many lines a Proxy Manager holds, as it says."""
        spool = self.proxies[name].status.get("proxy", {}).get("spool") or {}
        return spool.get("logs", {}).get("records", 0)

    def check_whole(self, name):
        """Check that all numbered lines of a machine are stored, each once; what is on its way is waited for."""
        count = self.written[name]
        self.fleet.until(lambda: self.stored(name) >= count, f"{count} lines of {name} are stored")
        assert len(self.check_counted(name)) == count
        assert not self.lost(name)

    def rob(self, name):
        """Kill a Proxy Manager, take away what it holds of streams, and start it again."""
        proxy = self.proxies[name]
        proxy.end(signal.SIGKILL)
        shutil.rmtree(proxy.state / "relay" / "streams")
        proxy.start()

    def move(self, name, url):
        """Have a machine dial ``url``, and wait until it does."""
        self.define(name, servers=[url])
        self.fleet.until(lambda: self[name].status.get("server") == url, f"{name} is at {url}")

    def storm(self, kills, seed):
        """Kill Proxy Managers so often at random moments, with the Manager stopped now and then; lines are written."""
        draw, fleet = random.Random(seed), self.fleet
        for _ in range(kills):
            stops = draw.random() < 0.4
            if stops:
                fleet.manager.send_signal(signal.SIGSTOP)
            victim = self.proxies[draw.choice(sorted(self.proxies))]
            for _ in range(draw.randrange(1, 4)):
                for name in self.machines:
                    self.count_on(name, BURST)
                with suppress(subprocess.TimeoutExpired):
                    victim.process.wait(draw.random() * MOMENT * 2)
            assert victim.process.poll() is None, f"{victim.name} ended by itself"
            victim.end(signal.SIGKILL)
            fleet.processes.remove(victim.process)
            if stops and draw.random() < 0.5:
                # What it had is the first that the Manager hears.
                victim.start()
                fleet.manager.send_signal(signal.SIGCONT)
            else:
                fleet.manager.send_signal(signal.SIGCONT)
                victim.start()
        fleet.until(fleet.answers, "the Manager answers")


def _is_as(proxy, preset):
    view = proxy.view
    cell = ("push", "agent") if preset == "Push" else ("pull", "manager")
    return (view["mode"], view["dialer"], view["fallback"]) == (*cell, "")


def _said(custody):
    return dict.fromkeys(("events", "summary", "metrics", "logs"), custody)


def _custody(custody):
    return "{" + ", ".join(f"{stream}: {how}" for stream, how in _said(custody).items()) + "}"
