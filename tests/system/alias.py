"""The alias ``/SQC`` of Debian's Apache that leads to an agent's socket by CGI, as the example sets it up."""

import os
import shutil
import subprocess
import sys

import pytest

import popham.downstream.cgi

from .web_servers import example

SERVICE = """
[service]
socket = "{socket}"
socket_group = "{group}"
"""
STARTED = "exec /usr/bin/popham agent cgi"


def bridge(apache):
    """Return the command that starts the bridge as Apache's account; what tests run may be out of its reach."""
    command = f"{sys.executable} -m popham agent cgi"
    root = os.geteuid() == 0
    tried = subprocess.run(
        ["/bin/sh", "-c", f"{command} --help"],
        capture_output=True,
        check=False,
        cwd=apache.folder,
        user=apache.user if root else None,
        group=apache.group if root else None,
        extra_groups=[] if root else None,
    )
    if tried.returncode == 0:
        return command
    found = "/usr/bin/python3"
    if not os.access(found, os.X_OK):
        pytest.skip(f"NOT TESTED: {apache.user} can run neither {sys.executable} nor {found}")
    text = apache.folder / "cgi.py"
    shutil.copyfile(popham.downstream.cgi.__file__, text)
    text.chmod(0o644)
    return f"{found} -S -E {text}"


def start_alias(apache, socket, port, **where):
    """Run Apache with the alias to an agent's socket; ``where`` as :meth:`web_servers.WebServer.start` has it."""
    changed = {STARTED: f"exec {bridge(apache)}", "/run/popham/visit.sock": socket}
    script = apache.write("visit", example("agent-by-cgi", "visit", **changed), 0o755)
    folders = {"/usr/lib/popham/visit": script, "/usr/lib/popham": apache.folder}
    text = example("agent-by-cgi", "popham.conf", **folders)
    return apache.start(f"Listen {where.get('host', '127.0.0.1')}:{port}\n{text}", port, **where)
