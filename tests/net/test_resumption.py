"""Connections that are made anew resume the TLS session of the last one."""

import pytest

from popham.errors import LinkError
from popham.net import tls
from popham.net.tls import ResumingContext


@pytest.fixture
def made(monkeypatch):
    """Every TLS object of a dialer, in the order in which they were made."""
    found, wrap = [], ResumingContext.wrap_bio

    def noted(self, *args, **rest):
        found.append(wrap(self, *args, **rest))
        return found[-1]

    monkeypatch.setattr(ResumingContext, "wrap_bio", noted)
    return found


def resumed(made):
    return [one.session_reused for one in made]


async def exchange_anew(dialer):
    """Make one exchange over a connection of its own."""
    answer = await dialer.exchange(b"1")
    await dialer.aclose()
    return answer


async def test_f_l1_each_new_connection_of_an_agent_resumes_the_session_of_the_last(
    serve, dial, service, authority, listener_context, made
):
    listener = await serve(context=listener_context)
    cert, key, _ = authority.files("agent", "agent-1")
    dialer = dial(listener, context=tls.client_context(authority.pem, cert, key))
    for _ in range(4):
        assert await exchange_anew(dialer) == b"answer:1"
    assert resumed(made) == [False, True, True, True]
    shown = {peer.certificate for peer in service.peers}
    assert len(shown) == 1
    assert None not in shown, "upstream sees the certificate on a resumed connection too"


async def test_f_p1_a_held_link_resumes_too_and_is_resumed_from(
    serve, dial, authority, listener_context, made
):
    listener = await serve(context=listener_context)
    dialer = dial(listener, context=tls.client_context(authority.pem))
    for _ in range(2):
        link = await dialer.hold()
        await link.send(b"3")
        assert await anext(aiter(link)) == b"reply:3"
        await link.close()
        await exchange_anew(dialer)
    # What is still open is used again, so a link and the round after it share no connection.
    assert resumed(made)[0] is False
    assert all(resumed(made)[1:])


async def test_sec_1_a_session_is_never_taken_to_another_server(
    serve, dial, make_authority, listener_context, authority, made
):
    context = tls.client_context(authority.pem)
    listener = await serve(context=listener_context)
    await exchange_anew(dial(listener, context=context))
    stranger = make_authority()
    other = await serve(context=tls.server_context(*stranger.files("manager", "127.0.0.1")))
    with pytest.raises(LinkError) as caught:
        await dial(other, context=context).exchange(b"1")
    assert caught.value.code == "link.tls"
    assert resumed(made)[-1] is False


async def test_f_l1_a_listener_that_was_restarted_and_knows_no_session_is_met_by_a_whole_handshake(
    serve, dial, authority, listener_context, made
):
    context = tls.client_context(authority.pem)
    listener = await serve(context=listener_context)
    await exchange_anew(dial(listener, context=context))
    files = authority.files("manager", "127.0.0.1", "localhost")
    other = await serve(context=tls.server_context(*files))
    assert await exchange_anew(dial(other, context=context)) == b"answer:1"
    assert resumed(made) == [False, False]


async def test_sec_1_another_name_is_refused_although_there_is_a_session(
    serve, dial, authority, listener_context, made
):
    context = tls.client_context(authority.pem)
    listener = await serve(context=listener_context)
    await exchange_anew(dial(listener, context=context))
    files = authority.files("elsewhere", "elsewhere.example")
    other = await serve(context=tls.server_context(*files))
    with pytest.raises(LinkError) as caught:
        await dial(other, context=context).exchange(b"1")
    assert caught.value.code == "link.tls"
    assert len(made) == 2
