"""The bundle for support has what support needs, and no secret (F.O4, SEC-53)."""

import base64
import io
import json
import logging
import os
import tarfile

import pytest
from tests.agent.orders import UID

from popham.agent.apply import at_once
from popham.agent.operations import diagnosis
from popham.agent.operations.diagnosis import Sources, diagnose, hide, pack
from popham.agent.operations.ledger import Entry, Ledger, describe_entries, read_entries
from popham.agent.records import Join
from popham.agent.settings import AgentSettings, OperationsSettings
from popham.agent.state import MemoryAgentState
from popham.errors import StateError
from popham.log import RecentLines
from popham.model.operation import OUTPUT_LIMIT, OperationState
from popham.testing.virtual import VirtualClock
from popham.trust.keys import IdentityKey

CANARY = "canary-7f3a9c"
MEMBERS = {
    *("versions.json", "settings.json", "status.json", "findings.json", "operations.json"),
    *("policies.json", "files.json", "facts.json", "log.txt"),
}


def open_bundle(data):
    """Return name → text of the members."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        return {name.rpartition("/")[2]: tar.extractfile(name).read().decode() for name in tar.getnames()}


@pytest.fixture
def state():
    found = MemoryAgentState()
    found.create_identity(UID, IdentityKey.create())
    found.save_join(
        Join(urls=("https://manager:4320",), ca=b"", ca_sha256="", root_sha256="", seed=os.urandom(32))
    )
    return found


def sources_of(state, **rest):
    given = {
        "settings": AgentSettings(),
        "state": state,
        "clock": VirtualClock(),
        "status": dict,
        "journal": list,
        "newest": lambda: None,
        "in_force": lambda: None,
        "files": dict,
        "facts": dict,
        "findings": find_nothing,
    }
    return Sources(**(given | rest))


async def find_nothing():
    return []


async def find_canary():
    return [{"check": "port", "text": f"token={CANARY}", "credentials": CANARY}]


async def test_sec_53_a_secret_that_is_planted_anywhere_does_not_leave_the_machine(state, request):
    pem, seed = state.identity_key().pem.decode(), state.join().seed
    settings = AgentSettings(
        commands={"fetch": ("/usr/bin/curl", "--token", CANARY, f"--password={CANARY}", "-s")},
        labels={"password": CANARY, "env": "prod", "feed": f"https://me:{CANARY}@feed.example/"},
        operations=OperationsSettings(run=("fetch",)),
    )
    log = logging.getLogger("canary")
    recent = RecentLines()
    log.addHandler(recent)
    request.addfinalizer(lambda: log.removeHandler(recent))
    log.warning("it said password: %s and %s", CANARY, pem)
    log.warning("a header", extra={"authorization": f"Bearer {CANARY}"})
    status = {
        "error": f"secret={CANARY}",
        "deep": [{"join": f"pop1.{CANARY}", "api_key": CANARY}],
        "seeds": [
            seed.hex(),
            base64.urlsafe_b64encode(seed).decode().rstrip("="),
            base64.b64encode(seed).decode(),
        ],
        "pem": pem,
        "lines": pem.splitlines(),
    }
    sources = sources_of(
        state,
        settings=settings,
        status=lambda: status,
        journal=recent.lines,
        facts=lambda: {"host.name": "web", "note": f"api_key={CANARY}"},
        files=lambda: {"/etc/a": "0" * 64},
        findings=find_canary,
    )
    members = open_bundle(await diagnose(sources, at_once))
    assert set(members) == MEMBERS
    whole = "\n".join(members.values())
    assert CANARY not in whole
    assert [line for line in pem.splitlines() if "-----" not in line and line in whole] == []
    assert [form for form in status["seeds"] if form.rstrip("=") in whole] == []
    assert '"env": "prod"' in members["settings.json"]
    assert "/etc/a" in members["files.json"]
    assert "it said" in members["log.txt"]


async def test_sec_53_what_commands_printed_is_not_in_it(state):
    entry = Entry(
        nonce="0" * 32,
        operation="op1",
        kind="run",
        issued=0,
        expires=1,
        state=OperationState.SUCCEEDED,
        text=f"look ended with exit status 0: {CANARY}",
    )
    Ledger(state.room, 0.0).begin(entry, 0.0)
    described = describe_entries(read_entries(state.room))
    sources = sources_of(state, status=lambda: {"operations": described, "serial": 3})
    members = open_bundle(await diagnose(sources, at_once))
    assert CANARY not in "".join(members.values())
    assert json.loads(members["operations.json"])[0]["operation"] == "op1"
    assert json.loads(members["status.json"])["serial"] == 3


async def test_f_o4_a_part_that_cannot_be_had_says_why_and_the_others_are_there(state):
    def fail():
        raise StateError("corrupt", "placed.json is damaged")

    members = open_bundle(await diagnose(sources_of(state, files=fail), at_once))
    assert json.loads(members["files.json"])["failure"]["code"] == "state.corrupt"
    assert json.loads(members["versions.json"])["generation"] >= 3


async def test_f_o4_a_bundle_has_at_most_a_mebibyte_whatever_there_is_to_say(state):
    files = {f"/etc/{number}/{os.urandom(30).hex()}": os.urandom(32).hex() for number in range(20_000)}
    lines = [os.urandom(500).hex() for _ in range(2000)]
    sources = sources_of(state, files=lambda: files, journal=lambda: lines)
    data = await diagnose(sources, at_once)
    assert len(data) <= OUTPUT_LIMIT
    listed = json.loads(open_bundle(data)["files.json"])
    assert (len(listed["files"]), listed["left_out"]) == (diagnosis.FILES, 19_000)


def test_a_bundle_that_is_too_large_is_packed_again_with_less():
    members = {f"{number}.json": os.urandom(100_000).hex() for number in range(20)}
    data = pack(members, [], [], 0.0)
    assert len(data) <= OUTPUT_LIMIT
    assert all("left_out" in text for text in list(open_bundle(data).values())[:-1])


def test_sec_53_what_follows_an_option_of_a_secret_name_is_hidden_and_nothing_else():
    assert hide(["--token", "x", "-v", "--name", "web"]) == ["--token", "[hidden]", "-v", "--name", "web"]
