"""Real processes on loopback: a Manager, machines with agents, and a clean end for each of them.

Rules:

1. Every process is a ``popham`` command with a state directory of its own.
2. What a test does to the fleet goes through the command line or the REST API; a command that comes to its end by
   itself is run in the process of the tests, which saves it most of its time, unless it is of another release, or a
   module has it ``apart``.
3. Nothing waits for a time: :meth:`Fleet.until` waits for a condition, with a deadline.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from popham.agent.local import ask
from popham.agent.settings import load_settings
from popham.cli.contexts import Contexts
from popham.cli.main import cli
from popham.client import Client
from popham.errors import LinkError
from popham.testing.ports import free_ports

from .stock import Bridge
from .web_servers import apache, nginx, sockets, web_authority  # noqa: F401  # fixtures

PATIENCE = 60.0
"""Seconds until a condition is given up."""
POPHAM = (sys.executable, "-m", "popham")
STAYING = (("manager",), ("agent", "run"), ("proxy", "run"), ("simulate",))
"""Commands that set up the process they are in."""


@pytest.fixture(scope="session", autouse=True)
def heeded():
    """Let what tests start heed SIGINT, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Machine:
    """A machine of the fleet: its configuration, the folder it permits, and its agent's process.

    ``word`` is the command that it is run and asked by.
    """

    word = "agent"

    def __init__(self, fleet, name, toml=""):
        self.fleet = fleet
        self.name = name
        self.state = fleet.folder / name
        self.root = fleet.folder / f"{name}.d"
        self.config = fleet.folder / f"{name}.toml"
        self.log = f"{name}.log"
        self.process = None
        self.root.mkdir()
        text = f'name = "{name}"\nstate = "{self.state}"\n[files]\nroots = ["{self.root}"]\n{toml}'
        self.config.write_text(text)

    def popham(self, *words, **options):
        """Run ``popham agent …`` on this machine."""
        return self.fleet.popham(self.word, *words, "--config", str(self.config), **options)

    def enroll(self, group="fleet", *, accept=True):
        """Join with a token of its own."""
        return self.popham("enroll", self.fleet.join(group, accept=accept))

    def start(self, **where):
        """Start the agent; ``where`` as :meth:`Fleet.start` has it."""
        self.process = self.fleet.start(self.word, "run", "--config", str(self.config), log=self.log, **where)
        return self

    def end(self, number=signal.SIGTERM):
        """End the agent by a signal, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    @property
    def view(self):
        """The agent, as the Manager shows it."""
        return self.fleet.client.agent(self.name)

    @property
    def status(self):
        """What the machine says of itself; nothing while its agent starts.

        An agent that runs is asked itself: for one that does not, the command takes the lock that it starts with.
        """
        if self.process is None or self.process.poll() is not None:
            return json.loads(self.popham("status", "-o", "json", code=None).stdout)
        try:
            return asyncio.run(ask(self.settings().socket_path, "status"))
        except LinkError:
            return {}

    def settings(self):
        """Return its configuration."""
        return load_settings(self.config, env={})

    def has(self, text):
        """Return whether the file that the test policies place says ``text``."""
        file = self.root / "motd"
        return file.is_file() and file.read_text() == text

    def settled(self):
        """Return whether it has what it should have."""
        return self.view["sync"] == "in sync"


class Fleet:
    """A Manager with its own ports and contexts, and its machines.

    ``apart``: every command has a process of its own.
    """

    apart = False

    def __init__(self, folder, host="127.0.0.1"):
        self.folder = folder
        self.host = f"[{host}]" if ":" in host else host
        self.address = host
        self.agents_port, self.people_port = free_ports(2, host)
        self.contexts = folder / "contexts.toml"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("POPHAM_")}
        self.env = kept | {"POPHAM_CONFIG": str(self.contexts)}
        self.state = folder / "manager"
        self.processes = []
        self.settings = {}
        self.published = set()
        self.manager = None
        self.client = None

    def found(self, more=""):
        """Make a Manager, with ``more`` in its configuration, start it, and return the fleet."""
        self.popham("init", "--state", str(self.state), *self.doors())
        chosen = Contexts.load(self.contexts).chosen("", {})
        self.client = Client(chosen.url, chosen.token, ca=chosen.ca)
        if more:
            (self.state / "manager.toml.d").mkdir()
            (self.state / "manager.toml.d" / "test.toml").write_text(more)
        return self.start_manager()

    def doors(self):
        """Return the words that say where the Manager listens, and by which names it is reached."""
        doors = ("--agents", f"{self.host}:{self.agents_port}", "--people", f"{self.host}:{self.people_port}")
        return ("--name", self.address, *doors)

    def start_manager(self):
        """Start the Manager and return once it answers."""
        self.manager = self.start("manager", "--state", str(self.state), log="manager.log")
        self.until(self.answers, "the Manager answers")
        return self

    def answers(self):
        """Return whether the Manager serves people; a Manager that ended fails the test."""
        assert self.manager.poll() is None, (self.folder / "manager.log").read_text()
        try:
            return bool(self.client.groups())
        except LinkError:
            return False

    def end_manager(self, number=signal.SIGTERM):
        """End the Manager by a signal, and return its exit code."""
        self.manager.send_signal(number)
        return self.manager.wait(PATIENCE)

    def popham(self, *words, code=0, stdin=None, **environ):
        """Run a command to its end; its exit code must be ``code``, unless that is None."""
        another = self.env.get("PYTHONPATH") != os.environ.get("PYTHONPATH")
        apart = self.apart or another or words[:1] in STAYING or words[:2] in STAYING
        found = (self._process if apart else self._invoke)(words, stdin, self.env | environ)
        assert code in {None, found.returncode}, (
            f"popham {' '.join(words)}: {found.returncode}\n{found.stderr}"
        )
        return found

    @staticmethod
    def _process(words, stdin, env):
        return subprocess.run(
            [*POPHAM, *words],
            env=env,
            input=stdin,
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE,
        )

    @staticmethod
    def _invoke(words, stdin, env):
        only = dict.fromkeys(os.environ.keys() - env.keys()) | env
        done = CliRunner(env=only).invoke(cli, words, input=stdin, prog_name="popham")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    def start(self, *words, log, inside=(), **environ):
        """Start a command that stays; ``inside`` are the words before one that runs in another namespace."""
        with (self.folder / log).open("ab") as output:
            command = [*inside, *POPHAM, *words]
            process = subprocess.Popen(command, env=self.env | environ, stdout=output, stderr=output)
        self.processes.append(process)
        return process

    def join(self, group="fleet", *, accept=True, **fields):
        """Return a join string."""
        asked = {"kind": "enrollment", "group": group, "uses": None, "lifetime": None, "cidr": ""}
        return self.client.create_token(**asked | fields, accepts=accept)["secret"]

    def machine(self, name, group="fleet", *, accept=True, toml="", run=True):
        """Return a new machine that has joined; with ``run`` its agent is started."""
        found = Machine(self, name, toml)
        found.enroll(group, accept=accept)
        return found.start() if run else found

    def unjoined(self, name):
        """Return a new machine that has not joined."""
        return Machine(self, name)

    def apply(self, text):
        """Apply definitions over the REST API."""
        return self.client.apply([("test.yaml", text)])

    def apply_file(self, text, code=0):
        """Apply definitions with the command, from a file; ``code`` is its exit code."""
        path = self.folder / "applied.yaml"
        path.write_text(text)
        return self.popham("apply", "-f", str(path), code=code)

    def group(self, name, *, preset="Push", heartbeat="1h"):
        """Make a group, or change how its agents get in touch."""
        self.settings[name] = f"{{preset: {preset}, heartbeat: {heartbeat}, spread: off}}"
        policy = f"motd-{name}" if name in self.published else "null"
        return self.apply(group_of(name, self.settings[name], policy))

    def definitions(self, group, machine, text, *, path=None, extra=""):
        """Return the definitions of a policy of one file on ``machine``, and of its assignment to ``group``."""
        name = f"motd-{group}"
        policy = policy_of(name, path or machine.root / "motd", text, extra)
        return policy + group_of(group, self.settings.get(group, "{preset: Push, heartbeat: 1h}"), name)

    def publish(self, group, machine, text, **more):
        """Publish such a policy, and return what apply says."""
        done = self.apply(self.definitions(group, machine, text, **more))
        self.published.add(group)
        return done

    @staticmethod
    def until(holds, what, patience=PATIENCE):
        """Wait until ``holds()``, and return the seconds it took."""
        begin = time.monotonic()
        while not holds():
            waited = time.monotonic() - begin
            assert waited < patience, f"gave up waiting until {what}"
            time.sleep(min(max(0.02, waited / 20), 0.2))
        return time.monotonic() - begin

    def close(self):
        """End every process."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.client is not None:
            self.client.close()


def group_of(name, settings, policy="null"):
    """Return the definition of a group with communication settings and a policy of its own."""
    own = "" if name == "fleet" else "inheritance: {communication: false, policies: {files: false}}"
    return f"""\
apiVersion: popham/v1
kind: Group
metadata: {{name: {name}}}
spec:
  {own}
  communication: {settings}
  policies: {{files: {policy}}}
---
"""


def policy_of(name, path, text, extra=""):
    """Return the definition of a policy of one file."""
    return f"""\
apiVersion: popham/v1
kind: Policy
metadata: {{name: {name}}}
spec:
  type: files
  {extra}
  files:
    - {{path: {path}, content: "{text}"}}
---
"""


@pytest.fixture(scope="module")
def founding(request, tmp_path_factory):
    """Return a function that makes a Fleet; what it started ends with the module."""
    made = []

    def make(host="127.0.0.1"):
        made.append(Fleet(tmp_path_factory.mktemp("f"), host))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture(scope="module")
def fleet(founding):
    """A running Manager, shared by the tests of a module."""
    return founding().found()


@pytest.fixture(scope="session")
def bridge(tmp_path_factory):
    """A running Manager for stock agents; each test has groups of its own."""
    yield from _bridge(tmp_path_factory)


@pytest.fixture(scope="session")
def busy(tmp_path_factory):
    """A running Manager that admits one round in two seconds."""
    yield from _bridge(tmp_path_factory, POPHAM_LIMITS__ROUNDS_PER_SECOND="0.5")


def _bridge(tmp_path_factory, **environ):
    found = Bridge(tmp_path_factory.mktemp("bridge"), **environ)
    yield found
    found.demo.stop()


@pytest.fixture
def fleet_ports():
    """Two free ports: for agents, and for people."""
    return free_ports(2)
