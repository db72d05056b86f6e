"""Real processes: a policy that breaks its machine is undone there, without the Manager, and told of later."""

import contextlib
import json
import os
import signal
import socket
import threading
from dataclasses import replace

import pytest

from popham.testing.ports import free_ports
from popham.trust.join import JoinString

from .conftest import PATIENCE

KNOWN = 30.0
"""Seconds from the first failure in which a policy is undone. Source: guarantees, REL-11."""


class Relay:
    """A way to the Manager that is open as long as a file does not say ``shut``."""

    def __init__(self, host, target, gate):
        (self.port,), self.gate = free_ports(1, host), gate
        self.sign = gate.with_suffix(".sign")
        self._host, self._target = host, target
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def shut(self):
        return self.gate.exists() and self.gate.read_text() == "shut"

    def _run(self):
        while not self._ended.is_set():
            if self.shut:
                self.sign.write_text("shut")
                self._ended.wait(0.02)
                continue
            self.sign.write_text("open")
            with socket.create_server((self._host, self.port)) as listener:
                listener.settimeout(0.02)
                self._serve(listener)

    def _serve(self, listener):
        pairs = []
        while not self.shut and not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                near, _ = listener.accept()
                far = socket.create_connection((self._host, self._target))
                pairs += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()
        for one in pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._ended.set()
        self._thread.join()


@pytest.fixture
def relay(tmp_path):
    made = []

    def make(fleet):
        made.append(Relay(fleet.address, fleet.agents_port, tmp_path / "gate"))
        return made[0]

    yield make
    for one in made:
        one.close()


def commands(**scripts):
    lines = [f"{name} = {json.dumps(['/bin/sh', '-c', script])}" for name, script in scripts.items()]
    return "\n".join(["[commands]", *lines])


@pytest.mark.soak
def test_f_y15_a_policy_that_cuts_its_machine_off_is_undone_there_and_tried_again_when_it_is_back(
    founding, relay
):
    fleet = founding().found()
    way = relay(fleet)
    fleet.group("web")
    machine = fleet.unjoined("first")
    file, gate, spent = machine.root / "motd", way.gate, fleet.folder / "spent"
    # It shuts the way once only, and ends when the way is as it should be: no answer slips through before.
    script = (
        f"if [ -e {file} ] && ! [ -e {spent} ]; then cp {file} {gate}; else rm -f {gate}; fi; "
        f"want=open; grep -qx shut {gate} && want=shut && touch {spent}; "
        f'until [ "$(cat {way.sign})" = $want ]; do :; done'
    )
    machine.config.write_text(machine.config.read_text() + commands(gate=script) + "\n[health]\nwindow = 4\n")
    join = JoinString.parse(fleet.join("web"))
    machine.popham("enroll", replace(join, urls=(f"https://{fleet.host}:{way.port}",)).encode())
    machine.start()
    fleet.until(lambda: machine.view["connected"], "it is connected")
    fleet.publish("web", machine, "open", extra="reload: gate")
    fleet.until(machine.settled, "it has the policy")
    fleet.until(lambda: machine.status["watched_until"] is None, "it has proven itself")
    fleet.publish("web", machine, "shut", extra="reload: gate")
    fleet.until(lambda: way.shut, "the policy cuts it off")
    took = fleet.until(lambda: not way.shut, "it is undone", patience=KNOWN + 10)
    assert took <= KNOWN
    assert machine.has("open")
    fleet.until(lambda: machine.has("shut") and machine.settled(), "contact returned, so it is tried again")
    assert not way.shut
    (undone,) = machine.status["undone"]
    assert (undone["error_code"], undone["times"]) == ("policy.undone_contact", 1)
    assert undone["tried_again"]
    assert "undone:" in machine.popham("status", code=None).stdout


def test_rel_11_a_policy_that_kills_the_agent_three_times_is_undone_before_the_manager_is_asked(founding):
    fleet = founding().found()
    fleet.group("web")
    # The agent is ended once the policy is in force: by a program that the policy made run.
    bite = f"if grep -q venom {fleet.folder / 'first.d' / 'motd'}; then kill -9 $PPID; fi"
    toml = commands(bite=bite) + "\n[health]\nwindow = 4\n"
    machine = fleet.machine("first", "web", toml=toml)
    fleet.until(lambda: machine.view["connected"], "it is connected")
    fleet.publish("web", machine, "tonic", extra="check: bite")
    fleet.until(machine.settled, "it has the policy")
    fleet.until(lambda: machine.status["watched_until"] is None, "it has proven itself")
    fleet.publish("web", machine, "venom", extra="check: bite")
    assert machine.process.wait(PATIENCE) == -signal.SIGKILL
    for _ in range(2):
        machine.start()
        assert machine.process.wait(PATIENCE) == -signal.SIGKILL
    assert machine.has("venom")
    fleet.end_manager()
    machine.start()
    fleet.until(lambda: machine.has("tonic"), "it is undone without the Manager")
    fleet.start_manager()
    fleet.until(lambda: "policy.undone_crashes" in machine.view["reason"], "the Manager is told")
    assert os.kill(machine.process.pid, 0) is None
