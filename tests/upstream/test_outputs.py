"""Outputs of operations: brought by agents that dial, by the door that content has, and no others."""

import pytest

from popham.model.names import digest
from popham.model.operation import OUTPUT_LIMIT
from popham.net.seam import Limits, Peer, Request
from popham.testing.direct import ADMIN, DirectManager
from popham.upstream.shedding import Load, Shedder

from .ordering import NONCES, Ordered, directive, output

BODY = b"what it printed\n" * 1000
NAME = digest(BODY)


def test_the_largest_output_is_what_a_listener_reads_at_most():
    assert Limits().other == OUTPUT_LIMIT


@pytest.fixture
async def printed(ordered):
    """An agent whose operation succeeded, and whose output is wanted."""
    answer = await ordered.say(ordered.result(NONCES[0], output=output(BODY)))
    assert list(directive(answer).want_outputs) == [NAME]
    return ordered


async def bring(manager, peer, body=BODY, name=NAME, method="POST"):
    request = Request(method=method, path=f"/v1/outputs/{name}", peer=peer, body=body)
    response = await manager.hub.other(request)
    return response.status, response.body.decode()


async def test_f_o4_an_output_is_asked_for_until_it_was_brought(manager, ordering, printed):
    assert list(directive(await printed.say()).want_outputs) == [NAME]
    assert await bring(manager, printed.agent.peer()) == (204, "")
    assert ordering.kept == {NAME: BODY}
    assert directive(await printed.say()) is None
    assert manager.hub.counts.outputs == 1
    status, text = await bring(manager, printed.agent.peer())
    assert (status, "not_found.output" in text) == (404, True)


async def test_sec_what_nobody_asked_for_is_not_taken(manager, ordering, printed):
    other = Ordered(manager, await manager.add_agent("b", "lab"))
    for peer, body, name, expected in (
        (printed.agent.peer(), b"other", digest(b"other"), (404, "not_found.output")),
        (printed.agent.peer(), b"other", NAME, (400, "trust.blob")),
        (printed.agent.peer(), BODY, NAME.upper(), (404, "not_found.output")),
        (printed.agent.peer(), bytes(OUTPUT_LIMIT + 1), NAME, (413, "wire.too_large")),
        (other.agent.peer(), BODY, NAME, (404, "not_found.output")),
        (Peer(address="192.0.2.9"), BODY, NAME, (401, "grant.missing")),
        (await manager.stock_peer("lab"), BODY, NAME, (403, "grant.not_permitted")),
    ):
        status, text = await bring(manager, peer, body, name)
        assert (status, expected[1] in text) == (expected[0], True), text
    status, text = await bring(manager, printed.agent.peer(), method="GET")
    assert (status, "wire.method" in text) == (405, True)
    assert ordering.kept == {}


async def test_sec_an_agent_that_was_revoked_brings_nothing(manager, ordering, printed):
    peer = printed.agent.peer()
    await manager.service.revoke(ADMIN, printed.agent.uid)
    await manager.bring()
    assert (await bring(manager, peer))[0] in {401, 403}
    assert ordering.kept == {}


async def test_rel_21_under_load_outputs_are_sent_away_as_content_is(manager, ordering, printed):
    manager.hub._shedder = Shedder(lambda: Load(10.0), lambda: 42.0)
    request = Request(method="POST", path=f"/v1/outputs/{NAME}", peer=printed.agent.peer(), body=BODY)
    response = await manager.hub.other(request)
    assert (response.status, response.headers["Retry-After"]) == (503, "42")
    assert ordering.kept == {}


async def test_where_nothing_is_ordered_no_output_is_taken(keys):
    manager = DirectManager(keys)
    await manager.start()
    agent = await manager.add_agent("a")
    status, text = await bring(manager, agent.peer())
    assert (status, "not_found.output" in text) == (404, True)
