"""Programs that an operation runs: bounded in time and in what is kept, and ended with all that they started (F.O4)."""

import asyncio
import os
import resource

import pytest

from popham.agent.apply import at_once
from popham.agent.operations.kinds import HALF, Means, run_named
from popham.agent.programs import Programs
from popham.agent.settings import AgentSettings
from popham.errors import PolicyError

GIGABYTE = 1024**3


def means_of(tmp_path, seconds=60.0, **commands):
    """Return what runs these commands; nothing else of it is there."""
    settings = AgentSettings(commands=commands, command_timeout=seconds)
    programs = Programs(settings, tmp_path / "staged", at_once)
    rest = dict.fromkeys(
        ("check_in", "collect", "restart", "diagnose", "rotate", "keyid", "upload", "dials", "paused"), None
    )
    return Means(run=programs.run, seconds=seconds, **rest)


async def test_f_o4_a_program_says_how_it_ended_and_the_first_of_what_it_printed(tmp_path):
    argv = ("/bin/sh", "-c", "echo out; echo err >&2; exit 4")
    done = await run_named("look", means_of(tmp_path, look=argv))
    assert (done.code, done.text) == ("operation.exit", "look ended with exit status 4: out\nerr")
    assert done.output == b""


async def test_f_o4_a_program_that_prints_a_gigabyte_needs_no_memory_for_it(tmp_path):
    argv = ("/bin/sh", "-c", f"echo begin; head -c {GIGABYTE} /dev/zero; echo end")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = await run_named("look", means_of(tmp_path, look=argv))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024  # kilobytes
    assert done.code == ""
    assert done.text == "look ended with exit status 0: what it printed is no text"
    assert done.output.startswith(b"begin\n\0")
    assert done.output.endswith(b"\0end\n")
    assert done.left_out == GIGABYTE + len("begin\nend\n") - 2 * HALF
    assert f"[{done.left_out} bytes left out]".encode() in done.output
    assert len(done.output) < 2 * HALF + 100


async def test_f_o4_what_is_no_plain_text_is_shown_with_escapes_and_kept_as_it_was(tmp_path):
    argv = ("/bin/sh", "-c", r"printf 'a warning: \033[31mb'")
    done = await run_named("look", means_of(tmp_path, look=argv))
    assert "\x1b" not in done.text
    assert "a warning" in done.text
    assert done.output == b"a warning: \x1b[31mb"


@pytest.mark.parametrize("taken_back", [False, True])
async def test_f_o4_a_program_that_takes_too_long_or_is_taken_back_is_ended_with_its_group(
    tmp_path, taken_back
):
    """What it started holds a pipe open; that ends when the last of them does."""
    held = tmp_path / "held"
    os.mkfifo(held)
    script = f"(exec sleep 600 > {held}) & wait"
    seconds = 600.0 if taken_back else 1.0
    means = means_of(tmp_path, seconds, look=("/bin/sh", "-c", script))
    running = asyncio.ensure_future(run_named("look", means))
    async with asyncio.timeout(30):
        reading = await asyncio.to_thread(held.open, "rb")  # once there is somebody who writes
    with reading:
        if taken_back:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            done = await running
            assert (done.code, done.text) == ("operation.exit", "look was ended after 1 s")
        async with asyncio.timeout(30):
            assert await asyncio.to_thread(reading.read) == b""


async def test_f_o4_whenever_it_is_taken_back_nothing_that_it_started_lives_on(tmp_path):
    for turns in range(12):
        held = tmp_path / f"held-{turns}"
        os.mkfifo(held)
        script = f"(exec sleep 60 > {held}) & wait"
        reading = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
        running = asyncio.ensure_future(run_named("look", means_of(tmp_path, look=("/bin/sh", "-c", script))))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        async with asyncio.timeout(30):
            await asyncio.wait({running})
        assert running.cancelled()
        # It ends once nobody holds the other end, which may take a moment after the kill.
        os.set_blocking(reading, True)
        async with asyncio.timeout(30):
            assert await asyncio.to_thread(os.read, reading, 1) == b""
        os.close(reading)


async def test_f_o4_a_program_that_cannot_be_started_is_an_error_with_its_reason(tmp_path):
    means = means_of(tmp_path, look=(str(tmp_path / "missing"),))
    with pytest.raises(PolicyError, match="cannot be started") as caught:
        await run_named("look", means)
    assert caught.value.code == "policy.command"
