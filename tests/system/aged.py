"""Releases of before, as real programs from the repository's own history, and machines that come up from them."""

import io
import shutil
import subprocess
import tarfile
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from popham.store.engine import connect

from .conftest import Machine

REPOSITORY = Path(__file__).resolve().parents[2]
TREES = {
    "0.1.0": "8dca8390d7de544c56a5e5a26887fd0b462de716",
    "0.3.0": "19b50e9c5514c20958b4e1550acb8a57ad5abe74",
    "0.4.0": "d8eb15ef63e8a3d1c555ac196efaf81b02ab45a5",
    "0.5.0": "5b2c767e71137f979247f4b9c18dd842143f7df7",
    "0.6.0": "ae7ff50e2b14c88d1db4664360e4446a4104b3ed",
    "0.7.0": "018b0cca18ad7be1e493f877f2eca64d52fe2bb1",
}
"""Git's name of everything that a release consists of."""


def git(*words):
    """Return what git says of this repository; None if it cannot."""
    program = shutil.which("git")
    if program is None or not (REPOSITORY / ".git").exists():
        return None
    done = subprocess.run([program, "-C", str(REPOSITORY), *words], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def find_release(version):
    """Return the commit with exactly the tree of a release; empty if this history has none.

    The tree is what names it: a clone may come without tags, and between two releases no version is said twice.
    """
    for line in (git("log", "--format=%H %T") or b"").decode().splitlines():
        commit, tree = line.split()
        if tree == TREES[version]:
            return commit
    return ""


def export(version, folder):
    """Return the folder with the sources of a release, put below ``folder``; skip the test if history lacks it."""
    commit = find_release(version)
    if not commit:
        pytest.skip(f"NOT TESTED: upgrade from {version}: there is no git history here that has it")
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "src"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


@contextmanager
def program(fleet, env):
    """Let ``popham`` be the program of this environment for a while."""
    before, fleet.env = fleet.env, env
    try:
        yield
    finally:
        fleet.env = before


class Aged(Machine):
    """A machine whose agent is of the earlier release until :meth:`renew`."""

    def __init__(self, fleet, name):
        super().__init__(fleet, name)
        self.env = fleet.env

    def start(self):
        """Start the agent by the program that this machine has."""
        with program(self.fleet, self.env):
            return super().start()

    def renew(self, toml=""):
        """Start the agent of this release on the state that the earlier one left; it may look, if nothing is said."""
        toml = toml or f'[location]\nfiles = ["{self.fleet.folder}"]\n'
        self.config.write_text(self.config.read_text() + toml)
        self.env = self.fleet.env
        return self.start()

    def has_all(self, text):
        """Return whether it has a text and is settled."""
        return self.has(text) and self.settled()


def publish(fleet, text):
    """Give every machine a file that says ``text``."""
    for machine in fleet.aged:
        fleet.publish(machine.name, machine, text)


def tree(folder):
    """Return what every file below ``folder`` says, except who holds the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def form(state):
    """Return the form of a Manager's database."""
    with closing(connect(state / "popham.db", "ro")) as raw:
        return raw.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def facts(fleet):
    """Return what an upgrade may not change: groups with their numbers, policies, agents, tokens."""
    client = fleet.client
    return {
        "groups": {one["name"]: (one["serial"], one["version"], one["parent"]) for one in client.groups()},
        "policies": {one["name"]: (one["revision"], one["sha256"]) for one in client.policies()},
        "agents": {one["uid"]: (one["name"], one["group"], one["admission"]) for one in client.agents()},
        "tokens": {one["id"]: (one["kind"], one["group"], one["state"]) for one in client.tokens()},
    }
