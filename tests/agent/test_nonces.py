"""Nonces of Proxy Managers: a state record names the newest that it was handed, and is signed anew only where that is wanted."""

import pytest

from popham.opamp.codec import custom, parse_agent, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1.popham_pb2 import Directive
from popham.testing.direct import DirectManager
from popham.trust.verify import open_state


@pytest.fixture
async def agent(keys):
    manager = DirectManager(keys)
    await manager.start()
    found = await manager.add_agent("a")
    await found.round()
    return found


async def direct(agent, **said):
    message = ServerToAgent(
        instance_uid=agent.end.uid, custom_message=custom(Directive(generation=5, **said))
    )
    await agent.end.receive(message.SerializeToString())


def report(agent, *, force=False):
    """Return the state record of the agent's next message; None if it says nothing."""
    message = agent.end.report(force=force)
    said = parse_custom(parse_agent(message).custom_message) if message is not None else None
    return None if said is None else open_state(said.state, public_der=agent.key.public.der, uid=agent.uid)


def change(agent):
    """Have something else to say."""
    agent.end.tell_facts({"host.name": f"renamed {agent.end.record().revision}"})


async def test_a_record_that_is_signed_names_the_newest_nonce_that_was_handed(agent):
    change(agent)
    assert report(agent).nonce == ""
    await direct(agent, nonce=b"\x01" * 16)
    await direct(agent, nonce=b"\x02" * 16)
    change(agent)
    assert report(agent).nonce == "02" * 16


async def test_a_new_nonce_alone_is_nothing_to_say(agent):
    change(agent)
    revision = report(agent).revision
    await direct(agent, nonce=b"\x01" * 16)
    assert report(agent) is None
    # What is said again for another reason is the same bytes.
    agent.end.opened()
    again = report(agent)
    assert (again.revision, again.nonce) == (revision, "")


async def test_where_it_is_wanted_the_record_is_signed_anew_once_for_each_nonce(agent):
    change(agent)
    revision = report(agent).revision
    agent.end.news.clear()
    await direct(agent, nonce=b"\x01" * 16, want_state=True)
    assert agent.end.news.is_set()
    anew = report(agent)
    assert anew.nonce == "01" * 16
    assert anew.revision > revision
    agent.end.news.clear()
    for _ in range(3):
        await direct(agent, nonce=b"\x01" * 16, want_state=True)
        assert report(agent) is None
    assert not agent.end.news.is_set()
    await direct(agent, nonce=b"\x02" * 16, want_state=True)
    last = report(agent)
    assert (last.nonce, last.revision > anew.revision) == ("02" * 16, True)


async def test_without_any_nonce_nothing_is_signed_anew(agent):
    change(agent)
    report(agent)
    await direct(agent, want_state=True)
    assert report(agent) is None


async def test_a_wish_is_met_by_a_record_that_is_signed_for_another_reason(agent):
    await direct(agent, nonce=b"\x01" * 16, want_state=True)
    change(agent)
    first = report(agent)
    assert first.nonce == "01" * 16
    assert report(agent) is None


@pytest.mark.parametrize("nonce", [b"", b"x" * 33, b"x" * 4096])
async def test_what_can_be_no_nonce_is_none(agent, nonce):
    await direct(agent, nonce=b"\x01" * 16)
    await direct(agent, nonce=nonce)
    change(agent)
    assert report(agent).nonce == "01" * 16


async def test_a_process_that_starts_anew_knows_no_nonce_and_signs_a_record_of_its_own(agent):
    await direct(agent, nonce=b"\x01" * 16)
    change(agent)
    before = report(agent)
    agent.start()
    after = report(agent, force=True)
    assert (before.nonce, after.nonce) == ("01" * 16, "")
    assert after.revision > before.revision
