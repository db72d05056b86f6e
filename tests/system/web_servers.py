"""The distribution's nginx and Apache, as processes of a test: own folder, own configuration, ports on loopback.

Rules:

1. The system's service and its configuration are never touched.
2. They run as the web servers' account where the tests run as root, so that a socket's group is put to the test.
3. Whatever was started ends with the fixture; where a program is missing, the tests skip with the reason.
"""

import asyncio
import base64
import grp
import hashlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from popham.clock import SystemClock
from popham.errors import VisitError
from popham.net.seam import Limits
from popham.net.visit_tls import visit_context
from popham.net.visiting import Place, VisitDialer
from popham.opamp.codec import decode_frame, parse_agent
from popham.testing.ports import free_ports
from popham.trust.ca import Authority
from popham.trust.keys import PublicKey, SigningKey, load_private
from popham.upstream.visits import Nonce, Signer, Visit

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 30.0
LARGE = 4 * 1024 * 1024
"""Bytes of the largest body that is brought."""
ACCOUNTS = ("www-data", "nobody")
MODULES = Path("/usr/lib/apache2/modules")
APACHE_MODULES = (
    "mpm_event authz_core authz_user authn_core authn_file auth_basic alias deflate filter headers "
    "proxy proxy_http proxy_wstunnel rewrite cgid ssl socache_shmcb"
)
NGINX = """\
daemon off;
pid nginx.pid;
worker_processes 1;
error_log error.log info;
events {{ worker_connections 64; }}
http {{
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
{text}
}}
"""
APACHE = """\
ServerRoot {folder}
ServerName localhost
PidFile apache.pid
DefaultRuntimeDir {folder}
Mutex file:{folder} default
ErrorLog error.log
LogLevel info
{modules}
LogFormat "%h %s \\"%r\\"" plain
CustomLog access.log plain
ScriptSock cgid.sock
StartServers 1
ServerLimit 1
ThreadsPerChild 16
MaxRequestWorkers 16
MinSpareThreads 1
MaxSpareThreads 16
Timeout 300
{text}
"""


def account():
    """Return name and group of the account that web servers have here; that of the tests if they are not root."""
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid())
        return own.pw_name, grp.getgrgid(own.pw_gid).gr_name
    for name in ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return name, grp.getgrgid(found.pw_gid).gr_name
    raise LookupError("this machine has no account for web servers")


class WebServer:
    """One web server; :meth:`start` takes what its configuration says beside the frame."""

    program = ""
    frame = ""
    ready = ""

    def __init__(self):
        self.user, self.group = account()
        # Beside pytest's own folders, which nobody but their owner may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="popham-web-"))
        self.folder.chmod(0o755)
        self._own(self.folder)
        self.process = None

    def command(self):
        """Return the program with its arguments."""
        raise NotImplementedError

    def write(self, name, text, mode=0o644):
        """Put a file into its folder, and return the path."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        self._own(path)
        return path

    def start(self, text, port, *, host="127.0.0.1", inside=()):
        """Run it with this configuration, and return once something listens there.

        ``inside`` is an ``nsenter`` with its arguments: of a namespace to run in, which only root may enter.
        """
        self.write("web.conf", self.frame_of(text))
        command = self.command()
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "TERM", *command]  # it does not outlive the tests
        if inside:
            ids = pwd.getpwnam(self.user).pw_uid, grp.getgrnam(self.group).gr_gid
            command = [*inside, "--setuid", str(ids[0]), "--setgid", str(ids[1]), *command]
        root = os.geteuid() == 0 and not inside
        with (self.folder / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                start_new_session=True,
                user=self.user if root else None,
                group=self.group if root else None,
                extra_groups=[] if root else None,
            )
        deadline = time.monotonic() + PATIENCE
        while self.ready not in self.log() or not listens(port, host):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self

    def frame_of(self, text):
        """Return the whole configuration."""
        return self.frame.format(text=text, folder=self.folder)

    def stop(self):
        """End it, and all it started."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.process = None

    def close(self):
        """End it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        """Return what it said."""
        paths = [self.folder / name for name in ("output.log", "error.log", "access.log")]
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in paths if path.exists())

    def _own(self, path):
        if os.geteuid() == 0:
            shutil.chown(path, self.user, self.group)


class Nginx(WebServer):
    """Debian's nginx."""

    program = "/usr/sbin/nginx"
    frame = NGINX
    ready = "start worker process "

    def command(self):
        """Return the program with its arguments."""
        return [self.program, "-p", str(self.folder), "-c", "web.conf", "-e", "error.log"]


class Apache(WebServer):
    """Debian's Apache."""

    program = "/usr/sbin/apache2"
    frame = APACHE
    ready = "resuming normal operations"

    def command(self):
        """Return the program with its arguments."""
        return [self.program, "-f", str(self.folder / "web.conf"), "-D", "FOREGROUND"]

    def frame_of(self, text):
        """Return the whole configuration."""
        lines = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in APACHE_MODULES.split()]
        return APACHE.format(text=text, folder=self.folder, modules="\n".join(lines))


class Caller:
    """Visits one agent by hand, with the Manager's own key, past the Manager's schedule."""

    def __init__(self, fleet, machine):
        director = SigningKey.load(fleet.state / "keys" / "director.pem")
        identity = json.loads((machine.state / "identity.json").read_text())
        self.uid = identity["uid"]
        self._key = PublicKey.wrap(
            load_private(base64.b64decode(identity["key"]), "identity").public_key()
        ).der
        self._signer = Signer(director.crypto, director.keyid)
        self._nonce = Nonce()

    def visit(self, url, **way):
        """Ask for the agent's report; raises VisitError if it does not come, or is not the agent's."""
        return self._call(self._exchange, url, **way)

    def bring(self, url, size, **way):
        """Bring a body of so many bytes that the agent never asked for; it takes note of it, or says so itself."""
        body = bytes(size)

        async def bring(visit):
            try:
                await visit.bring(hashlib.sha256(body).hexdigest(), body)
            except VisitError as error:
                if error.code != "visit.unwanted":
                    raise

        return self._call(bring, url, **way)

    def hold(self, url, **way):
        """Open a link, and return the first report that comes over it."""

        async def hold(visit):
            link, frames = await visit.hold()
            async with asyncio.timeout(PATIENCE):
                return parse_agent(decode_frame(frames.open(await anext(aiter(link)))))

        return self._call(hold, url, **way)

    @staticmethod
    async def _exchange(visit):
        return parse_agent(await visit.exchange(b""))

    def _call(self, what, url, **way):
        tls = way.pop("tls", "off" if url.startswith("http:") else "agent")
        place = Place(url, tls=tls, **way)

        async def call():
            dialer = VisitDialer(place, context=visit_context(tls, place.ca), limits=Limits())
            try:
                visit = Visit(
                    dialer, self._signer, self._nonce, uid=self.uid, key=self._key, clock=SystemClock()
                )
                return await what(visit)
            finally:
                await dialer.aclose()
                await asyncio.sleep(0)  # a turn of the loop, in which what was closed says so

        return asyncio.run(call())


def refusal(call, *words, **way):
    """Return the error with which a call of a :class:`Caller` ends."""
    with pytest.raises(VisitError) as caught:
        call(*words, **way)
    return caught.value


def listens(port, host="127.0.0.1"):
    """Return whether anybody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def running(kind, package):
    """Yield a web server that is not started yet; skip where it is not installed."""
    if not os.access(kind.program, os.X_OK):
        pytest.skip(f"NOT TESTED: {kind.program} is missing: install Debian's package {package}")
    found = kind()
    yield found
    found.close()


@pytest.fixture(scope="module")
def nginx():
    """Debian's nginx, to be started by the module."""
    yield from running(Nginx, "nginx")


@pytest.fixture(scope="module")
def apache():
    """Debian's Apache, to be started by the module."""
    yield from running(Apache, "apache2")


@pytest.fixture(scope="session")
def web_authority():
    """A certification authority of web servers; not the fleet's."""
    return Authority.create("example", SystemClock())


@pytest.fixture(scope="module")
def sockets():
    """A folder for agents' sockets, which a web server may enter; pytest's own it may not."""
    folder = Path(tempfile.mkdtemp(prefix="popham-run-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def web_port():
    """A free port for the web server."""
    return free_ports(1)[0]


def example(folder, name, **changed):
    """Return the text of an example's file, with what is this test's own put in; each must occur."""
    text = (EXAMPLES / folder / name).read_text(encoding="utf-8")
    for old, new in changed.items():
        assert old in text, f"{folder}/{name} does not say {old}"
        text = text.replace(old, str(new))
    return text


def visit_now(fleet, machine, url):
    """Have the Manager visit a machine now, once it knows that it is to, and where."""
    fleet.until(lambda: (machine.view["visit"] or {}).get("url") == url, f"it knows of {url}")
    fleet.client.check_in([machine.name])


def serves(machine):
    """Return what the machine's service says of itself."""
    return json.loads(machine.popham("service", "status", "--json", code=None).stdout)


def why(fleet, machine):
    """Return the answer to ``popham why agent``, on one line."""
    return " ".join(fleet.popham("why", "agent", machine.name).stdout.split())
