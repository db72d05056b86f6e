"""Policies that are poison (REL-11): each leaves the machine as it was, with one sentence that has a code."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popham.agent.apply import Applied, Applier
from popham.agent.settings import AgentSettings, FilesSettings
from popham.errors import PolicyError
from popham.model.bundle import PolicyRef
from popham.model.names import digest
from popham.model.status import Outcome

from .conftest import make_policy, make_typed


def ref(kind="files", name="web"):
    return PolicyRef(type=kind, name=name, revision=1, sha256="0" * 64, length=1)


def signed(body, kind="files"):
    """Return a policy as a Manager gone bad might sign it: nothing was checked."""
    return Applied(ref(kind), body)


@pytest.fixture
async def kept(machine):
    """Return a machine with a good set in force."""
    machine.commands = {"check": machine.noting("check"), "reload": machine.noting("reload")}
    await machine.applier().apply([make_policy((machine.root / "a", "good"), name="good")])
    return machine


async def refused(machine, *policies, code):
    """Apply beside what is in force; return the error after looking that the machine is whole."""
    before, folders = machine.tree(), machine.folders()
    with pytest.raises(PolicyError) as caught:
        await machine.applier().apply([make_policy((machine.root / "a", "changed"), name="good"), *policies])
    error = caught.value
    assert error.code == code, error
    assert error.problem
    assert error.hint
    assert "\n" not in str(error)
    assert len(str(error)) < 1500
    assert (machine.tree(), machine.folders()) == (before, folders)
    assert not (machine.state / "apply/journal.json").exists()
    assert not (machine.state / "apply/staged").exists()
    return error


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except FileNotFoundError:
        return False


async def is_gone(pid):
    while is_running(pid):  # noqa: ASYNC110  # the kernel decides when
        await asyncio.sleep(0)
    return True


# What cannot be read.


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"body": null}',
        b'{"body": []}',
        b'{"body": {}, "body": {}}',
        b'{"body": {"x": NaN}}',
        b'{"body": {"x": 1e999}}',
        b'{"body": ' + b"[" * 100_000,
        b'{"body": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b"1" * 10_000,
        b'{"body": {"x": ' + b"9" * 10_000 + b"}}",
    ],
    ids=range(16),
)
def test_rel_11_bytes_that_are_no_policy_are_refused(encoded):
    with pytest.raises(PolicyError) as caught:
        Applied.read(ref(), encoded)
    assert caught.value.code == "policy.malformed"
    assert "'web' is malformed" in caught.value.problem


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"files": None},
        {"files": {}},
        {"files": [None]},
        {"files": [{}]},
        {"files": [{"path": "ROOT/b"}]},
        {"files": [{"path": "ROOT/b", "content": 5}]},
        {"files": [{"path": "ROOT/b", "content": "\ud800"}]},
        {"files": [{"path": "ROOT/b", "content": "", "content_template": ""}]},
        {"files": [{"path": 5, "content": ""}]},
        {"files": [{"path": "ROOT/b", "content": "", "secret": "yes"}]},
        {"files": [{"path": "ROOT/b", "content": ""}], "validate": ["/bin/sh"]},
    ],
    ids=range(12),
)
async def test_rel_11_a_body_of_another_form_is_refused(kept, body):
    text = json.dumps(body).replace("ROOT", str(kept.root))
    error = await refused(kept, signed(json.loads(text)), code="policy.malformed")
    assert "Upgrade" in error.hint or "UTF-8" in error.hint


def nested(depth, value=1):
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("depth", [100, 300, 900, 5000])
async def test_rel_11_a_body_that_is_nested_without_end_is_applied_or_refused(kept, depth):
    kept.otelcol = kept.otelcol.__class__(path=str(kept.folder / "otelcol.yaml"))
    kept.commands["till"] = ("/bin/false", "{phase}")
    for kind, body in (
        ("otelcol", {"config": nested(depth)}),
        ("custom", {"command": "till", "data": 1, "schema": nested(depth)}),
        ("custom", {"command": "till", "data": nested(depth), "schema": {"additionalProperties": True}}),
        ("files", {"files": nested(depth)}),
    ):
        try:
            await kept.applier().apply([signed(body, kind)])
        except PolicyError as error:
            assert error.code in {"policy.malformed", "policy.validate"}  # noqa: PT017  # it may also be applied
        await kept.applier().apply([make_policy((kept.root / "a", "good"), name="good")])
        assert kept.tree() == {"a": (b"good", 0o644)}


async def test_rel_11_a_body_with_one_field_more_than_are_known_is_read_by_those_that_are(kept):
    entry = {"path": str(kept.root / "b"), "content": "1"} | {f"field{n}": n for n in range(21)}
    await kept.applier().apply([signed({"files": [entry], "extra": [1] * 21})])
    assert kept.tree() == {"b": (b"1", 0o644)}


async def test_rel_11_a_body_with_one_field_less_than_is_needed_is_refused(kept):
    await refused(kept, signed({"files": [{"content": "1"}]}), code="policy.malformed")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "path": st.text(max_size=12) | _JSON,
        "content": st.text(max_size=8) | _JSON,
        "content_template": st.text("{} factslabels.", max_size=20) | _JSON,
        "directory": _JSON,
        "mode": st.text("01234567", max_size=5) | _JSON,
        "owner": st.text(max_size=8),
        "secret": _JSON,
    },
)


@given(
    kind=st.sampled_from(["files", "custom", "otelcol"]),
    body=st.dictionaries(
        st.sampled_from(["files", "validate", "reload", "config", "command", "data", "schema"]),
        st.lists(_ENTRY, max_size=2) | _JSON,
        max_size=5,
    ),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
def test_rel_11_no_body_brings_anything_but_a_sentence_with_a_code(machine, kind, body):
    machine.otelcol = machine.otelcol.__class__(path=str(machine.root / "otelcol.yaml"))
    machine.commands = {"true": ("/bin/true",), "till": ("/bin/true", "{phase}")}
    with contextlib.suppress(PolicyError):
        asyncio.run(machine.applier().apply([signed(body, kind)]))
    assert {path.name for path in machine.root.iterdir()} <= {"otelcol.yaml"}


# Templates.


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ facts.no_such }}", "no fact 'no_such'"),
        ("{{ labels.no_such }}", "no label 'no_such'"),
        ('{{ include "motd" }}', "no place to fill"),
        ("{{ facts.", "no place to fill"),
        ("{{" * 100_000, "no place to fill"),
        ("{{ labels.long }}" * 3000, "more than 16777216 bytes"),
    ],
    ids=["fact", "label", "include", "cut off", "many", "bomb"],
)
async def test_rel_11_a_template_that_cannot_be_filled_is_refused(kept, template, said):
    kept.labels = {"long": "x" * 10_000}
    body = {"files": [{"path": str(kept.root / "b"), "content_template": template}]}
    began = time.monotonic()
    error = await refused(kept, signed(body), code="policy.template")
    assert said in error.problem
    assert time.monotonic() - began < 5


async def test_rel_11_what_a_template_is_filled_with_is_not_read_as_a_template_again(kept):
    kept.labels = {"loop": "{{ labels.loop }}{{ labels.loop }}"}
    body = {"files": [{"path": str(kept.root / "b"), "content_template": "{{ labels.loop }}"}]}
    await kept.applier().apply([signed(body)])
    assert (kept.root / "b").read_text() == "{{ labels.loop }}{{ labels.loop }}"


# Commands.


def wanted(machine, **rest):
    return make_policy((machine.root / "b", "new"), **rest)


async def test_rel_11_a_policy_that_reads_well_and_fails_validate_changes_nothing(kept):
    kept.commands["check"] = ("/bin/sh", "-c", "echo it would kill >&2; exit 7")
    error = await refused(kept, wanted(kept, validate="check"), code="policy.validate")
    assert "ended with exit status 7: it would kill" in error.problem


async def test_rel_11_a_validate_that_is_killed_says_by_what(kept):
    kept.commands["check"] = ("/bin/sh", "-c", "kill -SEGV $$")
    error = await refused(kept, wanted(kept, validate="check"), code="policy.validate")
    assert f"ended by signal {int(signal.SIGSEGV)}" in error.problem


async def test_rel_11_a_validate_that_hangs_is_ended_with_all_it_started(kept):
    kept.command_timeout = 0.3
    pids = kept.folder / "pids"
    script = f"trap '' TERM INT HUP; sleep 60 & echo $! $$ > {pids}; wait; sleep 60"
    kept.commands["check"] = ("/bin/sh", "-c", script)
    error = await refused(kept, wanted(kept, validate="check"), code="policy.validate")
    assert "was ended after 0.3 s" in error.problem
    for pid in pids.read_text().split():
        assert await is_gone(int(pid))


async def test_rel_11_what_a_validate_leaves_behind_is_ended_though_it_says_yes(kept):
    pids = kept.folder / "pids"
    kept.commands["check"] = ("/bin/sh", "-c", f"sleep 60 & echo $! > {pids}")
    await kept.applier().apply([wanted(kept, validate="check")])
    assert await is_gone(int(pids.read_text()))


@pytest.mark.parametrize("role", ["validate", "reload"])
async def test_rel_11_endless_output_is_dropped_and_ended(kept, role):
    kept.command_timeout = 0.3
    kept.commands["yes"] = ("/usr/bin/yes", "x" * 100)
    error = await refused(kept, wanted(kept, **{role: "yes"}), code=f"policy.{role}")
    assert "was ended after 0.3 s: xxx" in error.problem
    assert len(error.problem) < 700


async def test_rel_11_a_validate_that_spins_is_ended_by_its_time(kept):
    kept.command_timeout = 0.3
    kept.commands["check"] = ("/bin/sh", "-c", "while :; do :; done")
    error = await refused(kept, wanted(kept, validate="check"), code="policy.validate")
    assert "was ended after 0.3 s" in error.problem


SPIN = f"""
import os, sys, time
while True:
    soft = open("/proc/self/limits").read()
    if "Max data size             {1 << 30}" in soft: break
if os.fork() == 0:
    os.setsid()
    open(sys.argv[1], "w").write(str(os.getpid()))
    while True: pass
while not os.path.exists(sys.argv[1]): pass
"""


async def test_rel_11_what_slips_away_from_a_validate_has_no_more_processor_time_than_it_had(kept):
    kept.command_timeout = 1.0
    pid = kept.folder / "pid"
    kept.commands["check"] = (sys.executable, "-c", SPIN, "{dir}/../pid")
    await kept.applier().apply([wanted(kept, validate="check")])
    slipped = int((kept.state / "apply/pid").read_text())
    assert not pid.exists()
    async with asyncio.timeout(20):
        assert await is_gone(slipped)


HUNGRY = f"""
while "Max data size             {1 << 30}" not in open("/proc/self/limits").read(): pass
try: bytearray({2 << 30})
except MemoryError: raise SystemExit("no memory for this") from None
"""


async def test_rel_11_a_validate_that_wants_all_memory_gets_a_part(kept):
    kept.commands["check"] = (sys.executable, "-c", HUNGRY)
    error = await refused(kept, wanted(kept, validate="check"), code="policy.validate")
    assert "no memory for this" in error.problem


async def test_rel_11_a_reload_has_no_bounds_but_time_since_it_may_start_what_stays(kept):
    kept.commands["reload"] = ("/bin/sh", "-c", f"sleep 0.1; ulimit -t > {kept.log}; ulimit -d >> {kept.log}")
    await kept.applier().apply([wanted(kept, reload="reload")])
    assert kept.noted() == ["unlimited", "unlimited"]


async def test_rel_11_a_program_that_is_gone_is_named(kept):
    kept.commands["check"] = ("/no/such/program",)
    error = await refused(kept, wanted(kept, validate="check"), code="policy.command")
    assert "/no/such/program" in error.problem


async def test_rel_11_a_check_of_data_is_bounded_as_a_validate_is(kept):
    kept.command_timeout = 0.3
    kept.commands["till"] = ("/bin/sh", "-c", "test {phase} = apply || sleep 60")
    error = await refused(
        kept, make_typed("custom", {"command": "till", "data": 1}, "till"), code="policy.validate"
    )
    assert "(check) was ended after 0.3 s" in error.problem


async def test_rel_11_after_any_of_these_a_good_set_is_applied_as_ever(kept):
    await refused(kept, signed({"files": [{}]}), code="policy.malformed")
    settings = AgentSettings(state=str(kept.state), files=FilesSettings(roots=(str(kept.root),)))
    await Applier(settings, kept.state / "apply").apply([wanted(kept)])
    assert kept.tree() == {"b": (b"new", 0o644)}


# The whole way: signed, fetched, refused.


@pytest.mark.parametrize(
    "poison", [b"{", b"{}", b'{"body": ' + b"[" * 50_000], ids=["cut off", "empty", "deep"]
)
def test_rel_11_a_signed_body_that_is_no_policy_leaves_the_last_good_set_in_force(orders, poison):
    good = orders.ref

    def ref(name):
        if name != "poison":
            return good(name)
        orders.state.put_blob(digest(poison), poison)
        return PolicyRef(type="files", name=name, revision=1, sha256=digest(poison), length=len(poison))

    orders.ref = ref

    async def story():
        await orders.order(default="motd")
        await orders.order(default="poison")
        progress = orders.enforcer.progress
        assert (progress.outcome, progress.error_code) == (Outcome.FAILED, "policy.malformed")
        assert progress.error.startswith("policy 'poison' is malformed: ")
        assert orders.applied == [("motd",)]
        await orders.restart()
        await orders.settle()
        assert orders.enforcer.progress.outcome is Outcome.FAILED
        await orders.order(default="better")
        assert orders.applied[-1] == ("better",)
        assert orders.enforcer.progress.outcome is Outcome.APPLIED

    orders.tell_story(story)
