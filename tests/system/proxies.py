"""Proxy Managers among the real processes of a fleet, and agents that know no other way than one of them."""

from dataclasses import replace

from popham.proxy.settings import load_settings
from popham.testing.ports import free_ports
from popham.trust.join import JoinString

from .conftest import Machine

ADDRESS = "127.0.0.1"


class Proxy(Machine):
    """The machine of a Proxy Manager; ``groups`` are given to it."""

    word = "proxy"

    def __init__(self, fleet, name, groups, *, group="fleet", toml="", address=ADDRESS, **spec):
        self.port = free_ports(1)[0]
        self.address = address
        self.url = f"https://{address}:{self.port}"
        super().__init__(fleet, name, f'[listen]\nagents = "{address}:{self.port}"\n{toml}')
        self.group = group
        self.define(groups, **spec)

    def define(self, groups, **spec):
        """Make, or change, the definition that says whom it may speak for."""
        spec = {"groups": list(groups), "names": [self.address], "port": self.port} | spec
        body = "\n".join(f"  {key}: {value}" for key, value in spec.items())
        self.fleet.apply(
            f"apiVersion: popham/v1\nkind: Proxy\nmetadata: {{name: {self.name}}}\nspec:\n{body}\n"
        )

    def settings(self):
        """Return its configuration."""
        return load_settings(self.config, env={})

    def join(self):
        """Have it enroll, run, and be accepted; return it once it relays."""
        made = self.fleet.popham("token", "create", "--proxy", self.name, "-g", self.group)
        self.popham("enroll", made.stdout.strip())
        self.start()
        self.fleet.until(lambda: "waiting" in str(self.status), f"{self.name} waits to be accepted")
        self.fleet.popham("accept", "agent", self.name)
        # Between waiting and running nobody answers for a moment.
        self.fleet.until(lambda: self.popham("check-in", code=None).returncode == 0, f"{self.name} answers")
        self.fleet.until(self.relays, f"{self.name} relays")
        return self

    def relays(self):
        """Return whether its last exchange with what is above it worked."""
        assert self.process.poll() is None, (self.fleet.folder / self.log).read_text()
        relay = self.status.get("proxy", {}).get("relay", {})
        return bool(relay.get("last_exchange")) and not relay["problem"]

    def machine(self, name, group, *, accept=True, toml="", run=True):
        """Return a new machine that joins, and dials, through this proxy alone."""
        found = Machine(self.fleet, name, toml)
        join = replace(JoinString.parse(self.fleet.join(group, accept=accept)), urls=(self.url,))
        found.popham("enroll", join.encode())
        return found.start() if run else found
