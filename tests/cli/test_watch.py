"""``-w``: what is printed again, and what is not."""

import json

import httpx2


class Ticks:
    """Waits for nothing, and interrupts after so many ticks."""

    def __init__(self, ticks):
        self.left = ticks
        self.waits = []

    def __call__(self, seconds):
        self.waits.append(seconds)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def page(*items):
    return {"items": list(items), "cursor": ""}


def test_only_changed_rows_are_printed_again(popham, manager, agent):
    manager.on(
        "GET /agents",
        page(agent(1), agent(2)),
        page(agent(1, age=1.0, last_contact=5.0, next_contact=6.0), agent(2)),
        page(agent(1), agent(2, sync="failed")),
    )
    ticks = Ticks(3)
    found = popham("get", "agents", "-w", wait=ticks)
    title, *rows = found.stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["web-1", "web-2", "web-2"]
    assert ("NAME" in title, ticks.waits) == (True, [1.0, 1.0, 1.0])


def test_an_interrupt_ends_with_130(popham, manager, agent):
    manager.on("GET /agents", page(agent(1)))
    assert popham("get", "agents", "-w", wait=Ticks(1)).exit_code == 130


def test_what_is_gone_is_told_on_stderr(popham, manager, agent):
    manager.on("GET /agents", page(agent(1), agent(2)), page(agent(1)))
    found = popham("get", "agents", "-w", wait=Ticks(2))
    assert "web-2 is gone" in found.stderr


def test_jsonl_prints_an_object_per_change(popham, manager, agent):
    manager.on("GET /agents", page(agent(1)), page(agent(1, applied=4)))
    found = popham("get", "agents", "-w", "-o", "jsonl", wait=Ticks(2))
    assert [json.loads(line)["applied"] for line in found.stdout.splitlines()] == [3, 4]


def test_a_manager_that_goes_away_is_waited_for_and_told_once(popham, manager, agent):
    manager.answers["GET /agents"] = [
        (200, page(agent(1))),
        (200, httpx2.ConnectError("refused")),
        (200, httpx2.ConnectError("refused")),
        (200, page(agent(1, sync="pending"))),
    ]
    found = popham("get", "agents", "-w", wait=Ticks(4))
    assert found.stderr.count("Still trying") == 1
    assert "pending" in found.stdout


def test_a_manager_that_is_away_from_the_start_is_an_error(popham, manager):
    manager.on("GET /agents", httpx2.ConnectError("refused"))
    assert popham("get", "agents", "-w").exit_code == 1


def test_a_refusal_ends_the_watch(popham, manager, agent):
    manager.on("GET /agents", page(agent(1)))
    manager.fail("GET /agents", 401, "grant.expired", "the token has expired")
    assert popham("get", "agents", "-w", wait=Ticks(3)).exit_code == 77


def test_forms_that_have_an_end_cannot_go_on(popham):
    assert popham("get", "agents", "-w", "-o", "json").exit_code == 64
