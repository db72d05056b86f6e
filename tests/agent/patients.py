"""A machine whose state directory is real, and something that listens where its Manager should."""

import asyncio
import contextlib
import ssl
import tempfile
import uuid
from email.utils import formatdate
from pathlib import Path

from popham.agent.doctor.probes import Probes, Room
from popham.agent.records import Join
from popham.agent.settings import AgentSettings, FilesSettings
from popham.agent.state import AgentState
from popham.clock import SystemClock
from popham.model.bundle import BUNDLE_TYPE, Bundle, LocationSet
from popham.model.communication import CommunicationSettings
from popham.model.names import digest
from popham.statedir import StateDir
from popham.testing.ports import free_ports
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import seal
from popham.trust.identity import make_csr
from popham.trust.join import EnrollmentKey
from popham.trust.keys import IdentityKey

UID = str(uuid.UUID("0198c2a0-0000-7000-8000-000000000001"))
ROOMY = Room(10**12, 10**6)


class Clock:
    """The machine's clock, which may be wrong by so many seconds."""

    def __init__(self, ahead=0.0):
        self.ahead = ahead

    def now(self):
        return SystemClock().now() + self.ahead


class Patient:
    """One machine: configuration, state directory, and what is tried with."""

    def __init__(self, folder, keys):
        self.folder, self.keys, self.key = folder, keys, IdentityKey.create()
        self.root, self.source = folder / "root", folder / "agent.toml"
        self.root.mkdir()
        self.clock, self.environ = Clock(), {}
        self.seconds, self.given = 5.0, {"room": lambda _path: ROOMY}
        self.settings = AgentSettings(
            state=str(folder / "state"), files=FilesSettings(roots=(str(self.root),))
        )
        self.source.write_text(f'state = "{folder / "state"}"\n[files]\nroots = ["{self.root}"]\n')
        self.source.chmod(0o644)
        self.seed = EnrollmentKey.create().seed

    @property
    def probes(self):
        return Probes(clock=self.clock, environ=self.environ, seconds=self.seconds, **self.given)

    @contextlib.contextmanager
    def state(self):
        """The state directory, as the agent opens it."""
        path = Path(self.settings.state)
        with StateDir.open(path, "agent", create=not path.exists()) as directory:
            yield AgentState(directory)

    def join(self, *urls, walled=False, ca=None):
        """Keep a join string, and have no certificate yet."""
        with self.state() as state:
            state.create_identity(UID, self.key)
            state.save_documents(self.keys.root, self.keys.targets)
            join = Join(
                urls=urls or ("https://127.0.0.1:9",),
                ca=b"" if walled else ca or self.keys.ca.pem,
                ca_sha256=self.keys.ca.spki_sha256,
                root_sha256=digest(self.keys.root),
                seed=self.seed,
                walled=walled,
            )
            state.save_join(join)
        return self

    def enroll(self, *urls, lifetime=7 * 86400.0, group="fleet"):
        """Have a certificate and an assignment."""
        self.join(*urls)
        with self.state() as state:
            state.save_certificate(self.keys.ca.issue_agent(make_csr(self.key, UID), UID, lifetime))
            held = Assignment(uid=UID, spki_sha256=self.key.keyid, group=group, seq=1, issued=0)
            state.save_assignment(seal(ASSIGNMENT_TYPE, held.payload(), self.keys.director))
            state.drop_seed()
        return self

    def order(self, *, issued=0, **communication):
        """Keep a bundle, newest and in force."""
        settings = CommunicationSettings(**communication)
        bundle = Bundle(
            group="fleet",
            serial=3,
            version=7,
            issued=issued,
            locations={"default": LocationSet(policies=(), communication=settings)},
        )
        with self.state() as state:
            state.save_bundle(seal(BUNDLE_TYPE, bundle.payload(), self.keys.director))
            state.save_last_good()
        return bundle


class Manager:
    """Listens where a Manager should, and answers by path: (status, body)."""

    def __init__(self, keys, names=("127.0.0.1",), *, chain=None):
        self.answers = {
            "/livez": (200, b"{}"),
            "/v1/trust/ca": (200, keys.ca.pem),
        }
        self.nobodys = (404, b"this agent's bundle names no such body (not_found.content)")
        self.ahead = 0.0
        self.asked, self.shown = [], []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            certificate, key, ca = (Path(folder) / name for name in ("cert", "key", "ca"))
            for path, pem in zip((certificate, key), chain or keys.ca.issue_listener(names), strict=True):
                path.write_bytes(pem)
            ca.write_bytes(keys.ca.pem)
            self.context.load_cert_chain(certificate, key)
            self.context.load_verify_locations(ca)
        self.context.verify_mode = ssl.CERT_OPTIONAL

    async def start(self):
        self.server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self.context)
        port = self.server.sockets[0].getsockname()[1]
        self.url = f"https://127.0.0.1:{port}"
        return self

    async def stop(self):
        self.server.close()
        await self.server.wait_closed()

    async def _answer(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split()[1].decode()
                self.asked.append(path)
                self.shown.append(writer.get_extra_info("peercert"))
                status, body = self.answers.get(path, self.nobodys)
                date = formatdate(SystemClock().now() + self.ahead, usegmt=True)
                said = f"HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(said.encode() + body)
                await writer.drain()
        writer.close()


def nobodys_url():
    """Return the URL of a port that nobody listens on."""
    return f"https://127.0.0.1:{free_ports(1)[0]}"


def told(findings, check, server=None):
    """Return the one finding of a check."""
    (found,) = [one for one in findings if one.check == check and server in {None, one.server}]
    return found
