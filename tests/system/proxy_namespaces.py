"""A yard whose machines are in network namespaces, and partitions of it that a seed chooses."""

import random
import shutil
import signal
import time
from pathlib import Path

from .conftest import Fleet
from .data_lab import BURST
from .namespaces import DOOR
from .proxy_data import ABOVE, END_TO_END, HOP, Yard

MANAGER = "manager"
ABOVE_IT, BELOW_IT = 2.0, 1.0
"""Heartbeats, in seconds, of the Proxy Managers, and of the machines below them."""
KEEPALIVE = "[limits]\nkeepalive = 1\n"
"""Seconds between pings of all that listen; two silent ones end a link."""
LONGEST = 2.0
"""Seconds that a fault lasts at most."""
PAUSE = 12.0
"""Seconds of the longest pause after failures, in a fleet as small. Source: popham.link.backoff."""
IN_SYNC = 3 * (ABOVE_IT + BELOW_IT) + PAUSE
SLACK = 5.0
"""Seconds that a process may wait for its turn here: this machine may have other things to do meanwhile."""
NOTICED = 2.5 * ABOVE_IT + SLACK
"""Seconds after which the loss of a held link is known to the end that listens, where nothing says so. Source: REL-5."""
NOTICED_BY_DIALLER = 3 * 45.0 + SLACK
"""Likewise to the end that dialled, which pings each 45 s. Source: communication reference."""


class Strait(Fleet):
    """A fleet whose processes are each in the namespace of their machine; people have a wire of their own."""

    def __init__(self, folder, wires):
        super().__init__(folder)
        self.wires = wires
        self.host, self.address = wires[MANAGER].address, DOOR

    def doors(self):
        """Return the words that say where the Manager listens, and by which names it is reached."""
        agents = f"{self.host}:{self.agents_port}"
        names = ("--name", DOOR, "--name", self.host, "--url", f"https://{agents}")
        return (*names, "--agents", agents, "--people", f"{DOOR}:{self.people_port}")

    def start(self, *words, log, inside=(), **environ):
        """Start a command that stays, where its machine is."""
        wire = self.wires[Path(log).stem]
        return super().start(*words, log=log, inside=(*wire.inside, *inside), **environ)


class Islands(Yard):
    """Machines below two Proxy Managers, all apart from each other.

    Attributes:
        happened: What did, for whoever reads of a failure.
    """

    def __init__(self, fleet, machines, *, seed, custody=END_TO_END):
        """Found all of them, and have them be in sync."""
        super().__init__(fleet, heartbeat=f"{ABOVE_IT:g}s", custody=custody, toml=KEEPALIVE)
        self._random, self._custody, self._changes = random.Random(seed), custody, 0
        self.happened = []
        for name in machines:
            self.add(name)
        fleet.until(lambda: all(one.settled() for one in self.machines.values()), "all are in sync")

    def address_of(self, name):
        """Return where a machine, or a Proxy Manager, is."""
        return self.fleet.wires[name].address

    # What may happen.

    def part(self, count):
        """Have so many things happen at once, or one after another, and write lines meanwhile; then all is well again."""
        ends = []
        for _ in range(count):
            kinds = [self.cut, self.cut, self.mute, self.deafen, self.pause, self.kill]
            kinds += [self.rob] if self.proxies else []
            name = self._random.choice([MANAGER, *ABOVE, *self.machines])
            kind = self._random.choice(kinds)
            self.happened.append((kind.__name__, name))
            ends.append(kind(name))
            for machine in self.machines:
                self.count_on(machine, BURST)
            time.sleep(self._random.random() * LONGEST / count)  # this long, and nothing is waited for
        for end in ends:
            end()

    def cut(self, name):
        """Unplug a machine."""
        self.fleet.wires[name].cut()
        return self.fleet.wires[name].heal

    def mute(self, name):
        """Have a machine hear, and not be heard."""
        wire = self.fleet.wires[name]
        wire.heal()
        wire.mute()
        return wire.heal

    def deafen(self, name):
        """Have a machine be heard, and not hear."""
        wire = self.fleet.wires[name]
        wire.heal()
        wire.deafen()
        return wire.heal

    def process_of(self, name):
        """Return what runs on a machine."""
        return self.fleet.manager if name == MANAGER else self._machine(name).process

    def _machine(self, name):
        return self.proxies[name] if name in self.proxies else self.machines[name]

    def pause(self, name):
        """Stop a process, which goes on later as if nothing had been."""
        self.process_of(name).send_signal(signal.SIGSTOP)
        return lambda: self.process_of(name).send_signal(signal.SIGCONT)

    def kill(self, name):
        """Kill a process, which is started again later."""
        process = self.process_of(name)
        if process.poll() is None:
            process.kill()
            process.wait()
            self.fleet.processes.remove(process)
        return lambda: self.begin(name)

    def begin(self, name):
        """Start what was killed, unless it was started meanwhile."""
        if self.process_of(name).poll() is None:
            return
        if name == MANAGER:
            self.fleet.start_manager()
        else:
            self._machine(name).start()

    def rob(self, name):
        """Kill a Proxy Manager, and take its disk away, with all that it relays; any other machine is only killed."""
        end = self.kill(name)
        if name in self.proxies:
            shutil.rmtree(self.proxies[name].state / "relay")
        return end

    # What is to hold then.

    def change(self):
        """Change what all are to have."""
        self._changes += 1
        for name in self.machines:
            self.fleet.apply(self._definition(name, limits=f"{{records: {30_000 + self._changes}}}"))

    def check_half_open(self, fault, patience=NOTICED):
        """Have a held link go one way only by ``fault``, and fail unless that is noticed; return the seconds it took."""
        dock = self.proxies["dock"]
        self.fleet.until(lambda: dock.view["connected"], "the link is held")
        end = fault("dock")
        try:
            return self.fleet.until(lambda: not dock.view["connected"], "its loss is noticed", patience)
        finally:
            end()

    def check_in_sync(self):
        """Change what all are to have, and fail unless they have it in time; return the seconds it took."""
        self.fleet.until(self.fleet.answers, "the Manager answers")
        self.change()
        told = f"all are in sync; what happened last: {self.happened[-3:]}"
        machines = self.machines.values()
        return self.fleet.until(lambda: all(one.settled() for one in machines), told, IN_SYNC)

    def check_streams(self):
        """Fail if anything is doubled, or is lost that was acknowledged end to end."""
        robbed = self._custody == HOP and any(kind == "rob" for kind, _ in self.happened)
        for name in self.machines:
            if robbed:
                self.check_counted(name)
            else:
                self.check_whole(name)
