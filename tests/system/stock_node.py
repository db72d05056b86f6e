"""Stock agents and a strange upstream that run on Node.js: how they are installed, started and spoken to.

``tests/system/node`` names two packages and their digests; ``npm ci`` puts them beside the environment
of the tests, once per content of the lock.  Where that cannot be done, the tests that need them skip, and
say so on standard error.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from .stock import StockAgent

HERE = Path(__file__).with_name("node")
FILES = ("package.json", "package-lock.json")
PATIENCE = 60
"""Seconds for an installation."""
COMMAND = ("npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund")


def install():
    """Return the folder of the installed packages; skip loudly where there can be none."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        _skip(f"{' and '.join(missing)} not found")
    texts = [(HERE / name).read_bytes() for name in FILES]
    digest = hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]
    shelf = Path(sys.prefix) / "var" / "stock-agents"
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        with (shelf / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shelf / digest).is_dir():
                _install_into(shelf / digest)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        _skip(f"npm ci failed: {error} {said.decode(errors='replace').strip()[-300:]}")
    return shelf / digest / "node_modules"


def _install_into(folder):
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="new-") as made:
        for name in FILES:
            shutil.copy(HERE / name, made)
        subprocess.run(COMMAND, cwd=made, check=True, capture_output=True, timeout=PATIENCE)
        Path(made).rename(folder)
        Path(made).mkdir()


def _skip(why):
    text = f"stock agents of Node.js were not tested: {why}"
    sys.__stderr__.write(f"\nSKIPPED: {text}\n")
    pytest.skip(text)


def environment(modules, **more):
    """Return the environment of a process of Node.js, without proxies and options of others."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if "proxy" not in name.lower() and not name.startswith("NODE_")
    }
    return kept | {"NODE_PATH": str(modules), "NODE_OPTIONS": "--dns-result-order=ipv4first"} | more


class NodeAgent(StockAgent):
    """The process of one stock agent on Node.js."""

    def __init__(self, bridge, token, modules, **options):
        self._modules = modules
        super().__init__(bridge, token, **options)

    def _command(self, bridge):
        return ["node", str(HERE / "agent.js")]

    def _environment(self, bridge):
        return environment(self._modules, NODE_EXTRA_CA_CERTS=str(bridge.ca))

    def __exit__(self, *what):
        super().__exit__(*what)
        assert not self.of("wedged")

    def goes_on(self, failures=2):
        """Wait until it failed, waited and tried again; return the failures."""
        found = self.await_("failed", count=failures)
        assert self.process.poll() is None
        assert not self.of("wedged")
        return found


class StrangeUpstream:
    """The process of an upstream that is no Manager; takes plain HTTP on loopback.

    Attributes:
        url: Where it listens.
        taken: Status and number of each message.
    """

    def __init__(self, modules, **options):
        words = [f"--{name}={value}" for name, value in options.items()]
        self.taken = []
        self.process = subprocess.Popen(
            ["node", str(HERE / "upstream.js"), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(modules),
        )
        self.url = self.process.stdout.readline().strip()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        self.taken.extend(json.loads(line) for line in self.process.stdout if line.startswith("{"))

    def __enter__(self):
        assert self.url.startswith("http://127.0.0.1:"), self.url
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self._reader.join()
        self.process.stdout.close()
