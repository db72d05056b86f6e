"""Operations in the four cells: real processes, sockets and web of trust, ordered by the command line."""

import base64
import io
import json
import tarfile

import pytest

from .operations_lab import CANARY, CELLS, Lab

GRANT = ("grant", "create", "olga", "--role", "operator", "-g", "held", "--operation", "check-in")


@pytest.fixture(scope="module")
def lab(fleet):
    return Lab(fleet)


@pytest.fixture(scope="module")
def olga(lab):
    """The token of an operator who may have the agents of one group check in, and nothing else."""
    return lab.fleet.popham(*GRANT).stdout.strip()


def test_f_o4_a_check_in_of_all_is_watched_to_its_end(lab):
    done = lab.fleet.popham("op", "check-in", "--all", "-w")
    assert done.stdout.splitlines()[-1].endswith("check-in: 4 of 4 succeeded")


def test_f_o4_a_command_that_a_machine_allows_is_run_and_what_it_printed_is_shown(lab):
    done = lab.fleet.popham("op", "run", "say", "--all", "-w")
    assert {f"  {name}: say ended with exit status 0: said by {name}" for name in CELLS} <= set(
        done.stdout.splitlines()
    )
    name = done.stdout.split()[0]
    assert "said by till" in lab.fleet.popham("op", "output", name, "till").stdout
    shown = lab.fleet.popham("op", "status", name).stdout
    assert "4 of 4 succeeded" in shown
    assert "said by walled" in shown


def test_f_o4_a_command_that_no_machine_allows_is_refused_there_and_others_are_served(lab):
    refused = lab.fleet.popham("op", "run", "hidden", "--all", "-w", code=1)
    assert "0 of 4 succeeded, 4 failed" in refused.stdout
    assert refused.stderr.count("(operation.refused)") == len(CELLS)
    assert "Add it to 'run' under [operations] there" in refused.stderr
    assert lab.order("run", args={"name": "say"}).over()["held"]["state"] == "succeeded"


def test_f_o4_a_host_that_nobody_knows_is_named_and_the_good_ones_are_served(lab):
    done = lab.fleet.popham("op", "run", "say", "held", "nobody", "till", "-w", code=1)
    assert "there is no agent nobody" in done.stderr
    assert "2 of 2 succeeded" in done.stdout


def test_f_o4_a_command_that_fails_is_told_with_its_exit_status(lab):
    done = lab.fleet.popham("op", "run", "fail", "held", "beats", "-w", code=1)
    assert "held: fail ended with exit status 1 (operation.exit)" in done.stderr
    name = done.stdout.split()[0]
    # It may be told at once that it fails again.
    again = lab.fleet.popham("op", "retry", name, code=None)
    assert "run fail: 0 of 2 succeeded" in again.stdout
    assert lab.fleet.client.operations(limit=1)[0]["retry_of"] == name


@pytest.mark.parametrize("name", CELLS)
def test_f_o4_what_has_no_room_in_a_result_is_brought_whichever_end_dials(lab, name):
    found = [lab.order("run", name, args={"name": "many"}) for _ in range(2)]
    for ordered in found:
        output = ordered.over()[name]["output"]
        assert output["left_out"] > 0
        lab.fleet.until(lambda ordered=ordered: ordered.targets[name]["output"]["kept"], "it was brought")
        data = lab.fleet.client.output(ordered.name, name)
        assert len(data) == output["length"]
        assert data.startswith(b"1\n2\n")
        assert data.endswith(b"\n20000\n")


def secrets_of(machine):
    """Yield what is secret on a machine, in the forms in which it is kept."""
    kept = json.loads((machine.state / "identity.json").read_text())["key"]
    text = base64.b64decode(kept).decode()
    yield from (kept, text, *(line for line in text.splitlines() if "-----" not in line))


def test_f_o4_a_diagnosis_is_a_bundle_that_opens_and_says_no_secret(lab, tmp_path):
    lab.fleet.publish("held", lab["held"], f"{CANARY}-in-a-policy")
    lab.fleet.until(lab["held"].settled, "it has a policy with a secret")
    lab.order("run", args={"name": "telling"}).over()
    name = lab.fleet.popham("op", "diagnose", "--all", "-w").stdout.split()[0]
    for machine in lab.machines.values():
        to = tmp_path / f"{machine.name}.tar.gz"
        output = ("op", "output", name, machine.name, "--to", str(to))
        lab.fleet.until(lambda output=output: not lab.fleet.popham(*output, code=None).returncode, "it came")
        with tarfile.open(fileobj=io.BytesIO(to.read_bytes())) as tar:
            members = {one.name: tar.extractfile(one).read().decode() for one in tar.getmembers()}
        assert {"popham-diagnosis/settings.json", "popham-diagnosis/log.txt"} <= members.keys()
        assert json.loads(members["popham-diagnosis/findings.json"]), "the doctor was asked"
        whole = "\n".join(members.values())
        assert machine.name in whole
        for secret in (CANARY, "pop1.", *secrets_of(machine)):
            assert secret not in whole, (machine.name, secret)


def test_f_o4_a_restart_begins_the_program_anew_under_the_same_pid(lab):
    before = {name: machine.status["running_since"] for name, machine in lab.machines.items()}
    found = lab.op("restart", "--all").over()
    assert {one["state"] for one in found.values()} == {"succeeded"}, found
    lab.fleet.until(lab.is_there, "every agent is back")
    for name, machine in lab.machines.items():
        assert machine.process.poll() is None
        assert machine.status["running_since"] > before[name]


def test_f_o4_collection_is_paused_and_goes_on_and_both_ends_show_it(lab):
    def shown(name):
        here = lab[name].popham("status").stdout
        return "paused since" in here, "paused since" in lab.fleet.popham("describe", "agent", name).stdout

    lab.fleet.popham("op", "pause-collection", "held", "till", "-w")
    for name in ("held", "till"):
        lab.fleet.until(lambda name=name: shown(name) == (True, True), "both ends show it")
    assert shown("walled") == (False, False)
    refused = lab.fleet.popham("op", "collect", "held", "walled", "-w", code=1)
    assert "1 of 2 succeeded, 1 failed" in refused.stdout
    assert "Order resume-collection first (operation.paused)" in refused.stderr
    lab.fleet.popham("op", "resume-collection", "held", "till", "-w")
    lab.fleet.until(lambda: shown("till") == (False, False), "both ends show that it goes on")
    assert lab.op("collect", "--all").over()["held"]["state"] == "succeeded"


def test_f_o4_a_rotated_key_is_used_from_then_on_and_links_and_visits_go_on(lab):
    def spki():
        return {name: machine.view["detail"]["spki"] for name, machine in lab.machines.items()}

    before = spki()
    found = lab.op("rotate-key", "--all").over()
    assert {one["state"] for one in found.values()} == {"succeeded"}, found
    assert not set(before.values()) & set(spki().values())
    lab.fleet.until(lab.is_there, "each is reached by its way again")
    found = lab.op("check-in", "--all").over()
    assert {one["state"] for one in found.values()} == {"succeeded"}, found


def test_f_o4_operations_are_listed_with_filters(lab):
    whole = lab.fleet.popham("op", "list", "--limit", "200").stdout
    assert "rotate-key" in whole
    assert "rotate-key" not in lab.fleet.popham("op", "list", "--kind", "check-in").stdout
    assert not lab.fleet.popham("op", "list", "--open", "--agent", "walled").stdout
    assert "popham op check-in AGENT" in lab.fleet.popham("op", "list", "--author", "nobody").stderr


def test_f_o4_an_operator_may_order_what_its_token_names_and_nothing_else(lab, olga):
    done = lab.fleet.popham("op", "check-in", "-g", "held", "-w", POPHAM_TOKEN=olga)
    assert "1 of 1 succeeded" in done.stdout
    for words, named in (
        (("restart", "held"), "restart"),
        (("check-in", "beats"), "beats"),
        (("check-in", "--all"), "only in held"),
        (("run", "say", "held"), "run"),
    ):
        refused = lab.fleet.popham("op", *words, POPHAM_TOKEN=olga, code=77)
        assert "(grant.not_permitted)" in refused.stderr
        assert named in refused.stderr, refused.stderr
        assert not refused.stdout
    lab.fleet.popham("send", "-g", "held", POPHAM_TOKEN=olga, code=77)
    assert "op" in lab.fleet.popham("op", "list", POPHAM_TOKEN=olga).stdout, "looking is not limited"
    refused = lab.fleet.popham("apply", "-f", "-", stdin="", POPHAM_TOKEN=olga, code=None)
    assert refused.returncode != 0
