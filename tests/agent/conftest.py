"""A machine in a temporary directory: a root, local configuration, and an applier on it."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from popham.agent.apply import Applied, Applier
from popham.agent.settings import AgentSettings, CollectSettings, FilesSettings, OtelcolSettings
from popham.clock import SystemClock
from popham.model.bundle import PolicyRef
from popham.model.policy import Policy, check_policy
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock

from .orders import Orders
from .patients import Manager, Patient


def make_policy(*files, name="web", **rest):
    """Return a policy of type ``files`` as a bundle brings it; files are (path, content) or mappings."""
    entries = [f if isinstance(f, dict) else {"path": str(f[0]), "content": f[1]} for f in files]
    return make_typed("files", {"files": entries, **rest}, name)


def make_typed(kind, spec, name="web"):
    """Return a policy of any type as a bundle brings it."""
    body = check_policy(kind, spec)
    policy = Policy(name=name, type=kind, body=body, revision=1)
    ref = PolicyRef(type=kind, name=name, revision=1, sha256=policy.sha256, length=len(policy.encoded()))
    return Applied(ref, body)


async def find_drift(applier):
    """Return the paths, sorted, that are not as the applier placed them."""
    return list((await applier.inspect(whole=True)).differing)


@dataclass
class Machine:
    """One machine with one allowed root, and what happened on it."""

    folder: Path
    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)
    command_timeout: float = 10.0
    roots: tuple[str, ...] | None = None
    labels: dict[str, str] = field(default_factory=dict)
    otelcol: OtelcolSettings = field(default_factory=OtelcolSettings)
    collect: CollectSettings = field(default_factory=CollectSettings)
    number: int = 0

    def __post_init__(self):
        self.root = self.folder / "root"
        self.root.mkdir()
        self.state = self.folder / "state"
        self.source = self.folder / "agent.toml"
        self.log = self.folder / "log"

    def applier(self, **rest):
        self.number += 1
        life, used = self.number, iter(range(10_000))
        roots = (str(self.root),) if self.roots is None else self.roots
        settings = AgentSettings(
            state=str(self.state),
            files=FilesSettings(roots=roots),
            commands=self.commands,
            labels=self.labels,
            otelcol=self.otelcol,
            collect=self.collect,
            command_timeout=self.command_timeout,
        )
        token = rest.pop("token", lambda: f"{life}-{next(used)}")
        return Applier(settings, self.state / "apply", source=self.source, token=token, **rest)

    def noting(self, word, then="true"):
        """Return an argument list that notes ``word``, and then does what the shell line says."""
        return ("/bin/sh", "-c", f"echo {word} >> {self.log}; {then}")

    def noted(self):
        return self.log.read_text().split() if self.log.exists() else []

    def tree(self, folder=None):
        """Return every file under a folder: path → content and mode."""
        folder = folder or self.root
        return {
            str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o7777)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }

    def folders(self):
        """Return every directory under the root: path → mode."""
        found = sorted(path for path in self.root.rglob("*") if path.is_dir())
        return {str(path.relative_to(self.root)): path.stat().st_mode & 0o7777 for path in found}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path.resolve())


@pytest.fixture(scope="session")
def keys():
    return make_keys(VirtualClock())


@pytest.fixture
def orders(keys):
    return Orders(keys)


@pytest.fixture(scope="session")
def fleet_keys():
    """Keys of a fleet whose certificates are valid by the machine's clock."""
    return make_keys(SystemClock())


@pytest.fixture
def patient(tmp_path, fleet_keys):
    return Patient(tmp_path.resolve(), fleet_keys)


@pytest.fixture
async def upstream(fleet_keys):
    """Return a function that starts something that listens where a Manager should."""
    begun = []

    async def begin(*names, **how):
        begun.append(await Manager(fleet_keys, names or ("127.0.0.1",), **how).start())
        return begun[-1]

    yield begin
    for one in begun:
        await one.stop()
