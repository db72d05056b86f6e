"""A Proxy Manager behind a Proxy Manager, and an agent behind that, as real processes."""

import signal
from dataclasses import replace

import pytest

from popham.testing.ports import free_ports
from popham.trust.join import JoinString

from .proxies import ADDRESS, Proxy

TOML = '[commands]\nsay = ["/bin/echo", "said below"]\n[operations]\nrun = ["say"]\n'
CHAINED = ["dock", "pier"]
LINES = [f"line {number}" for number in range(60)]
WATCH = """\
apiVersion: popham/v1
kind: Policy
metadata: {{name: watch}}
spec: {{type: collect, logs: [{{name: deck, paths: ["{log}"], from: beginning}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: fleet}}
spec: {{policies: {{collect: watch}}}}
"""


PLACE = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: pier}}
spec: {{address: {address}, port: {port}, tls: agent, proxy: dock}}
"""


class Lower(Proxy):
    """The machine of a Proxy Manager that knows no way but another one; that may visit it, too."""

    def __init__(self, fleet, name, groups, above, **more):
        self.above, self.visited_at = above, free_ports(1)[0]
        toml = f'[collect]\nlogs = ["{fleet.folder}"]\n'
        toml += f'[service]\nhosts = ["{ADDRESS}"]\nport = {self.visited_at}\n'
        super().__init__(fleet, name, groups, toml=toml, **more)

    def popham(self, *words, **options):
        if words[:1] == ("enroll",):
            join = replace(JoinString.parse(words[1]), urls=(self.above.url,))
            words = ("enroll", join.encode(), *words[2:])
        return super().popham(*words, **options)


@pytest.fixture(scope="module")
def fleet(founding):
    fleet = founding().found()
    for name in ("docks", "piers", "quay"):
        fleet.group(name, heartbeat="1s")
    return fleet


@pytest.fixture(scope="module")
def dock(fleet):
    return Proxy(fleet, "dock", ["piers", "quay"], group="docks").join()


@pytest.fixture(scope="module")
def pier(fleet, dock):
    return Lower(fleet, "pier", ["quay"], dock, group="piers").join()


@pytest.fixture(scope="module")
def quay(fleet, pier):
    permitted = f'[collect]\nlogs = ["{fleet.folder}"]\n'
    machine = pier.machine("quay-1", "quay", toml=TOML + permitted, run=False)
    fleet.publish("quay", machine, "welcome")
    machine.start()
    fleet.until(machine.settled, "the Manager sees it in sync")
    return machine


def test_f_t4_a_policy_reaches_an_agent_behind_two_proxies(fleet, quay):
    assert quay.has("welcome")
    assert quay.view["via"] == CHAINED
    fleet.publish("quay", quay, "second")
    fleet.until(lambda: quay.has("second") and quay.settled(), "it has the second")


def test_f_t4_what_an_operation_did_behind_two_proxies_comes_back(fleet, quay):
    made = fleet.client.order("run", {"agents": ["quay-1"]}, args={"name": "say"})
    fleet.until(lambda: fleet.client.operation(made["name"])["state"] == "over", "it is over")
    (target,) = fleet.client.targets(made["name"])
    assert target["state"] == "succeeded"


def test_f_t4_lines_of_a_log_behind_two_proxies_are_stored_once_although_one_is_killed(fleet, quay, dock):
    log = fleet.folder / "deck.log"
    log.write_text("".join(f"{line}\n" for line in LINES[:30]))
    fleet.apply(WATCH.format(log=log))

    def stored():
        page = fleet.client.records("logs", {"agent": ["quay-1"], "limit": 500})
        return sorted(row["body"] for row in page["items"])

    fleet.until(lambda: len(stored()) >= 30, "the first are stored")
    dock.end(signal.SIGKILL)
    with log.open("a") as file:
        file.writelines(f"{line}\n" for line in LINES[30:])
    dock.start()
    fleet.until(lambda: len(stored()) >= len(LINES), "all are stored")
    assert stored() == sorted(LINES)


@pytest.mark.parametrize("name", CHAINED)
def test_rel_8_a_proxy_of_a_chain_that_is_killed_and_started_again_goes_on(fleet, quay, dock, pier, name):
    proxy = {"dock": dock, "pier": pier}[name]
    proxy.end(signal.SIGKILL)
    text = f"after {name} was killed"
    fleet.publish("quay", quay, text)
    proxy.start()
    fleet.until(lambda: quay.has(text) and quay.settled(), "it has what came meanwhile")
    assert quay.view["via"] == CHAINED


@pytest.mark.parametrize("preset", ["Pull by visit", "Push over the Manager's connection"])
def test_f_t4_the_upper_proxy_dials_the_lower_one_which_dials_nobody(fleet, quay, pier, preset):
    """Last: from here on the agent behind both is reached by visits of the one at the other."""
    fleet.group("piers", preset=preset, heartbeat="1s")
    fleet.apply(PLACE.format(address=ADDRESS, port=pier.visited_at))
    if not pier.status["service"].get("address"):
        pier.popham("service", "start")
    mode = preset.split()[0].lower()
    fleet.until(lambda: (pier.view["mode"], pier.view["dialer"]) == (mode, "manager"), "it is visited")
    assert pier.view["via"] == ["dock"]
    hops = [(hop["to"], hop["dials"]) for hop in pier.view["detail"]["path"]]
    assert hops == [("dock", "dock"), ("pier", "dock")]
    text = f"by {mode}"
    fleet.publish("quay", quay, text)
    fleet.until(lambda: quay.has(text) and quay.settled(), "what changes reaches the agent behind both")
    assert quay.view["via"] == CHAINED
