"""``popham send``: whom it serves by which way, what it tells of each, and what is held back until somebody says so."""

import signal

import pytest

from .conftest import group_of, policy_of
from .operations_lab import Lab

MACHINES = ("held", "beats", "till")


@pytest.fixture(scope="module")
def lab(fleet):
    return Lab(fleet, MACHINES)


def definitions(lab, text):
    """Return the definitions of all groups with a policy that says ``text``."""
    return "".join(
        policy_of(f"motd-{name}", lab[name].root / "motd", text)
        + group_of(name, lab.fleet.settings[name], f"motd-{name}")
        for name in MACHINES
    )


def said(lab, *words, text=None, code=0):
    """Return what ``popham send`` printed; ``text`` is what is published first."""
    if text is not None:
        return lab.fleet.popham("send", *words, "-f", "-", stdin=definitions(lab, text), code=code)
    return lab.fleet.popham("send", *words, code=code)


def has(lab, *names):
    """Return what the files of these machines say."""
    return [(lab[name].root / "motd").read_text() for name in names]


def test_f_y8_a_dry_run_names_the_targets_why_and_by_which_way(lab):
    lines = said(lab, "-g", "held,beats", "-g", "till", "--dry-run").stdout.splitlines()
    cells = {line.split()[0]: " ".join(line.split()[2:]) for line in lines[1:]}
    assert cells.keys() == set(MACHINES)
    assert cells["held"].startswith("in group held held link")
    assert cells["beats"].startswith("in group beats heartbeat")
    assert cells["till"].startswith("in group till visit")
    assert not lab.fleet.client.operations()
    nobody = said(lab, "-l", "site=nowhere", "--dry-run", code=1)
    assert "No agents are meant" in nobody.stderr


@pytest.mark.parametrize(
    ("targets", "served"),
    [
        (("-g", "held,till", "-g", "beats"), MACHINES),
        (("-s", "held,till"), ("held", "till")),
        (("-l", "site in (beats)"), ("beats",)),
        (("--all",), MACHINES),
    ],
    ids=["groups", "hosts", "labels", "all"],
)
def test_f_y9_f_l7_a_send_is_followed_until_each_target_has_it(lab, targets, served):
    text = f"for {' '.join(targets)}"
    done = said(lab, *targets, "-w", text=text)
    assert done.stdout.splitlines()[-1].endswith(f"send: {len(served)} of {len(served)} applied")
    assert has(lab, *served) == [text] * len(served)


def test_f_y9_an_unknown_host_is_named_and_the_good_ones_are_served(lab):
    done = said(lab, "-s", "held,nobody,beats", "-w", code=1)
    assert "there is no agent nobody" in done.stderr
    assert "2 of 2 applied" in done.stdout


def test_f_y9_a_target_that_refuses_a_policy_is_told_with_the_reason_and_others_are_served(lab):
    wrong = policy_of("motd-beats", "/nowhere/motd", "x")
    done = lab.fleet.popham("send", "--all", "-w", "-f", "-", stdin=wrong, code=1)
    assert "2 of 3 applied, 1 failed" in done.stdout
    assert "beats: " in done.stderr
    assert "(policy.root)" in done.stderr
    assert "3 of 3 applied" in said(lab, "--all", "-w", text="right again").stdout


def test_f_y9_what_is_sent_without_apply_is_held_until_somebody_says_so(lab):
    said(lab, "--all", "-w", text="before")
    done = said(lab, "--all", "--no-apply", "-w", text="after")
    assert "3 of 3 hold it" in done.stdout
    assert has(lab, *MACHINES) == ["before"] * 3
    assert "popham op apply" in lab["till"].popham("status").stdout
    applied = lab.fleet.popham("op", "apply", "-s", "till", "-w")
    assert "1 of 1 succeeded" in applied.stdout
    assert has(lab, *MACHINES) == ["before", "before", "after"]
    assert lab["till"].settled(), "it has what it should have from now on"
    (rollout,) = [one["id"] for one in lab.fleet.client.rollouts() if one["state"] == "held"]
    lab.fleet.popham("rollout", "promote", rollout, "--yes")
    lab.fleet.until(lambda: has(lab, *MACHINES) == ["after"] * 3, "all have it")


def test_f_y10_two_sends_at_once_are_both_told_what_happened(lab):
    first = lab.order("send")
    second = lab.order("send", "till", "held")
    assert set(first.over()) == set(MACHINES)
    assert {one["state"] for one in [*first.targets.values(), *second.over().values()]} == {"succeeded"}
    shown = lab.fleet.popham("op", "status", first.name).stdout
    assert "3 of 3 applied" in shown


def test_f_y8_f_l3_a_machine_whose_service_is_off_fails_at_once_with_port_and_command(lab):
    till = lab["till"]
    port = till.view["service"].rpartition(":")[2]
    till.end(signal.SIGKILL)
    done = said(lab, "--all", "-w", code=1)
    assert "2 of 3 applied, 1 failed" in done.stdout
    line = next(line for line in done.stderr.splitlines() if line.strip().startswith("till: "))
    assert f"nothing listens on port {port}" in line
    assert "(visit.refused)" in line
    assert "popham agent service start" in line
    # It is known by now, so the next one fails before anybody is asked.
    again = lab.fleet.popham("send", "-s", "till", code=1)
    assert "1 failed" in again.stdout
    assert "popham agent service start" in again.stderr
    till.start()
    on = ("service", "status")
    lab.fleet.until(lambda: not till.popham(*on, code=None).returncode, "its service is on")
    assert "1 of 1 applied" in said(lab, "-s", "till", "-w").stdout


def test_f_y8_a_visited_agent_that_dials_while_its_service_is_off_is_served_by_that_way(lab):
    till = lab["till"]
    till.popham("service", "stop")
    lab.fleet.until(lambda: till.view["fallback"] == "visit.off", "it dials by itself")
    assert "1 of 1 applied" in said(lab, "-s", "till", "-w").stdout
    till.popham("service", "start")
    lab.fleet.until(lab.is_there, "it is visited again")
