"""Agents that the Manager dials: real processes and real sockets."""

import signal

import pytest

from popham.testing.ports import free_ports

DEFINITION = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: {name}}}
spec: {{{spec}}}
"""
SPOTS = {"127.0.0.1": "127.0.0.1", "::1": "'::1'"}


def service(host="127.0.0.1", port=None):
    """Return the configuration of an agent's service, and its port."""
    port = port or free_ports(1, host)[0]
    return f'[service]\nport = {port}\nhosts = ["{host}"]\n', port


def visited(fleet, name, group, **where):
    """Return a machine whose service is on from the start, and its port."""
    toml, port = service(**where)
    machine = fleet.machine(name, group, toml=toml, run=False)
    machine.popham("service", "enable")
    return machine.start(), port


def reached(machine, dialer, *, connected=False):
    view = machine.view
    return (view["dialer"], view["fallback"], view["connected"]) == (dialer, "", connected)


def failing(machine, code):
    return ((machine.view["visit"] or {}).get("code")) == code


def test_f_l2_an_agent_is_visited_and_opens_nothing_outward(fleet):
    fleet.group("pull", preset="Pull by visit", heartbeat="2s")
    machine, port = visited(fleet, "pulled", "pull")
    fleet.publish("pull", machine, "one")
    fleet.until(lambda: machine.has("one") and machine.settled(), "it has what it should have")
    fleet.until(lambda: reached(machine, "manager"), "it is visited")
    visit = machine.view["visit"]
    assert (visit["url"], visit["mode"], visit["interval"]) == (f"https://127.0.0.1:{port}", "pull", 2.0)
    assert machine.view["service"] == f"https://127.0.0.1:{port}"
    before = visit["last"] or 0.0
    fleet.until(lambda: (machine.view["visit"]["last"] or 0.0) > before, "it is visited again")
    fleet.publish("pull", machine, "two")
    fleet.until(lambda: machine.has("two") and machine.settled(), "a visit brings what is new")
    assert machine.view["age"] <= machine.view["age_bound"]


def test_f_p2_a_link_that_the_manager_holds_brings_what_is_new_at_once(fleet):
    fleet.group("held", preset="Push over the Manager's connection", heartbeat="1h")
    machine, _ = visited(fleet, "held-1", "held")
    fleet.until(lambda: reached(machine, "manager", connected=True), "the Manager holds a link into it")
    fleet.publish("held", machine, "at once")
    fleet.until(lambda: machine.has("at once") and machine.settled(), "the link brings it")
    assert fleet.client.check_in([machine.name])[0]["state"] == "asked"
    large = "x" * 400_000
    fleet.publish("held", machine, large)
    fleet.until(lambda: machine.has(large) and machine.settled(), "what is large is brought beside the link")


def test_f_c3_switching_the_dialer_is_one_command_and_needs_no_restart(fleet):
    fleet.group("both", preset="Push", heartbeat="1h")
    machine, _ = visited(fleet, "both-1", "both")
    fleet.until(lambda: reached(machine, "agent", connected=True), "it holds its link")
    fleet.group("both", preset="Pull by visit", heartbeat="2s")
    fleet.until(lambda: reached(machine, "manager"), "it is visited")
    fleet.publish("both", machine, "visited")
    fleet.until(lambda: machine.has("visited") and machine.settled(), "a visit brings it")
    fleet.popham("dial", machine.name, "--by", "agent")
    fleet.until(lambda: reached(machine, "agent"), "its assignment lets it dial")
    fleet.popham("dial", machine.name, "--by", "group")
    fleet.until(lambda: reached(machine, "manager"), "its group's settings hold again")
    assert machine.process.poll() is None


def test_f_l3_while_the_service_is_off_the_agent_is_reached_the_old_way_and_why_says_so(fleet):
    fleet.group("off", preset="Push", heartbeat="1h")
    toml, _ = service()
    machine = fleet.machine("off-1", "off", toml=toml)
    fleet.until(lambda: reached(machine, "agent", connected=True), "it holds its link")
    fleet.group("off", preset="Pull by visit", heartbeat="2s")
    fleet.until(lambda: machine.view["fallback"] == "visit.off", "it says that its service is off")
    fleet.until(lambda: machine.view["sync"] == "pending", "which is not what is wanted")
    why = fleet.client.why(machine.name)
    assert why["sentence"] == "its group wants the Manager to dial, and its service is off"
    assert "popham agent service start" in why["step"]
    fleet.publish("off", machine, "still reached")
    fleet.until(lambda: machine.has("still reached"), "it is reached the old way")
    machine.popham("service", "start")
    fleet.until(lambda: reached(machine, "manager") and machine.settled(), "it is visited")
    machine.popham("service", "stop")
    fleet.until(lambda: machine.view["fallback"] == "visit.off", "it dials again")
    fleet.publish("off", machine, "and again")
    fleet.until(lambda: machine.has("and again"), "it is reached the old way again")


def test_f_y12_where_a_definition_says_is_where_it_is_visited_and_what_is_wrong_there_is_named(fleet):
    fleet.group("defined", preset="Pull by visit", heartbeat="2s")
    machine, port = visited(fleet, "defined-1", "defined")
    fleet.until(lambda: reached(machine, "manager"), "it is visited where it says")
    (nobody,) = free_ports(1)
    fleet.apply(DEFINITION.format(name=machine.name, spec=f"address: 127.0.0.1, port: {nobody}"))
    fleet.until(lambda: failing(machine, "visit.refused"), "nothing listens where the definition says")
    visit = machine.view["visit"]
    assert (visit["url"], visit["definition"]) == (f"https://127.0.0.1:{nobody}", machine.name)
    assert str(nobody) in visit["problem"]
    assert "popham agent service start" in visit["hint"]
    assert "visits fail" in fleet.client.why(machine.name)["sentence"]
    alias = f"address: 127.0.0.1, port: {fleet.people_port}, prefix: /SQC, tls: agent"
    fleet.apply(DEFINITION.format(name=machine.name, spec=alias))
    fleet.until(
        lambda: machine.view["visit"]["code"] not in {"", "visit.refused"}, "what answers there is no agent"
    )
    fleet.apply(DEFINITION.format(name=machine.name, spec=f"address: 127.0.0.1, port: {port}"))
    fleet.until(lambda: failing(machine, ""), "it is visited again")
    definition = fleet.client.agent_definition(machine.name)
    fleet.until(
        lambda: fleet.client.agent_definition(machine.name)["state"] == "visited", "the definition says so"
    )
    assert definition["uid"] == machine.view["uid"]
    fleet.client.delete_agent_definition(machine.name)
    fleet.until(lambda: machine.view["visit"]["definition"] == "", "it is visited where it says again")


def test_another_agent_that_answers_is_named_and_not_believed(fleet):
    fleet.group("pair", preset="Pull by visit", heartbeat="2s")
    one, _ = visited(fleet, "pair-1", "pair")
    two, port = visited(fleet, "pair-2", "pair")
    for machine in (one, two):
        fleet.until(lambda machine=machine: reached(machine, "manager"), "both are visited")
    fleet.apply(DEFINITION.format(name=one.name, spec=f"address: 127.0.0.1, port: {port}"))
    fleet.until(lambda: failing(one, "visit.identity"), "the other one answers")
    assert "pair-2 answers instead" in one.view["visit"]["problem"]
    assert failing(two, "")
    fleet.client.delete_agent_definition(one.name)
    fleet.until(lambda: failing(one, ""), "it is visited again")


@pytest.mark.parametrize("host", SPOTS)
def test_f_l12_an_agent_that_may_not_dial_is_born_accepted_and_kept_by_visits(fleet, host):
    name = "born4" if host == "127.0.0.1" else "born6"
    fleet.group(name, preset="Pull by visit", heartbeat="2s")
    toml, port = service(host)
    machine = fleet.unjoined(name)
    machine.config.write_text(machine.config.read_text() + toml)
    fleet.apply(DEFINITION.format(name=name, spec=f"address: {SPOTS[host]}, port: {port}"))

    def state():
        return fleet.client.agent_definition(name)["state"]

    fleet.until(lambda: state() == "fails", "nobody is there yet")
    machine.popham("enroll", "--listen", fleet.join(name, accept=False))
    machine.start()
    fleet.until(lambda: state() == "waits to be accepted", "it asks to be admitted")
    fleet.client.admit(name, "accept")
    fleet.publish(name, machine, "born")
    fleet.until(lambda: machine.has("born") and machine.settled(), "it has what it should have")
    assert reached(machine, "manager")
    fleet.until(lambda: state() == "visited", "the definition says so")
    assert machine.view["certificate_until"]
    machine.end(signal.SIGKILL)
    fleet.until(lambda: failing(machine, "visit.refused"), "it is not there")
    machine.start()
    fleet.until(lambda: failing(machine, ""), "its restart costs a repeat and nothing else")


def test_f_l2_a_restart_of_the_manager_loses_no_visited_agent(founding):
    fleet = founding().found()
    fleet.group("kept", preset="Pull by visit", heartbeat="2s")
    machine, _ = visited(fleet, "kept-1", "kept")
    fleet.until(lambda: reached(machine, "manager"), "it is visited")
    fleet.end_manager()
    fleet.start_manager()
    fleet.publish("kept", machine, "after")
    fleet.until(lambda: machine.has("after") and machine.settled(), "visits go on")
    fleet.until(lambda: reached(machine, "manager"), "it is visited again")
