"""TLS of the listener and of the dialer, each refusal told apart."""

import asyncio
import datetime as dt
import random
import re
import socket
import ssl
import subprocess
import sys

import pytest
import uvloop

from popham.clock import SystemClock
from popham.errors import ConfigError, LinkError
from popham.net import tls
from popham.net.seam import Limits, Response

NOW = dt.datetime.now(dt.UTC)


async def refusal(dialer):
    with pytest.raises(LinkError) as caught:
        await dialer.exchange(b"")
    return caught.value


def shake_hands(server, context):
    """Take one connection; unlike asyncio, a blocking socket sends the alert of a failed handshake."""
    one, _ = server.accept()
    with one, pytest.raises(ssl.SSLError):
        context.wrap_socket(one, server_side=True)


async def test_sec_2_a_round_works_without_and_with_a_client_certificate(
    serve, dial, service, authority, listener_context
):
    listener = await serve(context=listener_context)
    cert, key, _ = authority.files("agent", "agent-1")
    assert await dial(listener, context=tls.client_context(authority.pem)).exchange(b"1") == b"answer:1"
    named = dial(listener, context=tls.client_context(authority.pem, cert, key), host="localhost")
    assert await named.exchange(b"2") == b"answer:2"
    link = await named.hold()
    await link.send(b"3")
    assert await anext(aiter(link)) == b"reply:3"
    der = ssl.PEM_cert_to_DER_cert(
        cert.read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    )
    assert [peer.certificate for peer in service.peers] == [None, der, der]


async def test_sec_2_a_body_for_another_path_is_read_of_those_with_a_certificate_and_up_to_its_limit(
    serve, dial, service, authority, listener_context
):
    service.serve = lambda _: Response(status=204)
    listener = await serve(context=listener_context, other=1_000)
    cert, key, _ = authority.files("agent", "agent-1")
    context = tls.client_context(authority.pem, cert, key)
    await dial(listener, context=context).upload("/v1/outputs/d", b"x" * 1_000)
    with pytest.raises(LinkError) as refused:
        await dial(listener, context=context).upload("/v1/outputs/d", b"x" * 1_001)
    assert refused.value.status == 413
    stranger = dial(listener, context=tls.client_context(authority.pem))
    await stranger.upload("/v1/outputs/d", b"x" * 1_000)
    assert [(request.method, len(request.body)) for request in service.requests] == [
        ("POST", 1_000),
        ("POST", 0),
    ]
    assert await dial(listener, context=context).exchange(b"x" * 1_001) == b"answer:" + b"x" * 1_001


async def test_sec_1_another_authority_is_refused(serve, dial, service, make_authority, listener_context):
    listener = await serve(context=listener_context)
    error = await refusal(dial(listener, context=tls.client_context(make_authority().pem)))
    assert error.code == "link.tls"
    assert re.search(rf"127.0.0.1:{listener.port} cannot be trusted: .*another authority", error.problem)
    assert service.rounds == []


async def test_sec_1_another_name_is_refused(serve, dial, authority):
    context = tls.server_context(*authority.files("other", "elsewhere.example"))
    listener = await serve(context=context)
    for host in ("127.0.0.1", "localhost"):
        error = await refusal(dial(listener, context=tls.client_context(authority.pem), host=host))
        assert error.code == "link.tls"
        assert "another name" in error.problem


@pytest.mark.parametrize(("start", "end", "words"), [(-9, -2, "has expired"), (2, 9, "is not valid yet")])
async def test_sec_1_an_expired_or_early_certificate_is_refused(serve, dial, authority, start, end, words):
    day = dt.timedelta(days=1)
    files = authority.files("old", "127.0.0.1", not_before=NOW + start * day, not_after=NOW + end * day)
    listener = await serve(context=tls.server_context(*files))
    error = await refusal(dial(listener, context=tls.client_context(authority.pem)))
    assert error.code == "link.tls"
    assert words in error.problem


async def test_sec_1_tls_1_2_is_refused_by_both_ends(serve, dial, authority, listener_context, old_tls):
    listener = await serve(context=listener_context)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", listener.port, ssl=old_tls)
    cert, key, _ = authority.files("old", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = asyncio.create_task(asyncio.to_thread(shake_hands, server, context))
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        error = await refusal(dial(url, context=tls.client_context(authority.pem)))
        await serving
    assert error.code == "link.tls"
    assert "does not speak TLS 1.3" in error.problem


async def test_sec_2_a_client_certificate_of_another_authority_never_reaches_the_service(
    serve, dial, service, authority, make_authority, listener_context
):
    listener = await serve(context=listener_context)
    cert, key, _ = make_authority().files("stranger", "agent-1")
    error = await refusal(dial(listener, context=tls.client_context(authority.pem, cert, key)))
    # asyncio drops the alert that a handshake fails with, so the dialling end can only guess.
    assert error.code in {"link.tls", "link.unreachable"}
    assert "certificate" in str(error)
    assert service.admitted == service.rounds == []


async def test_a_plain_listener_is_told_apart_from_a_tls_one(serve, dial, authority):
    listener = await serve()
    error = await refusal(dial(listener, context=tls.client_context(authority.pem)))
    assert error.code == "link.tls"
    assert "does not speak TLS" in error.problem


async def test_the_pin_look_up_believes_any_certificate(serve, dial, service, make_authority):
    context = tls.server_context(*make_authority().files("any", "nobody.example"))
    listener = await serve(context=context)
    assert await dial(listener, context=tls.unverified_context()).fetch("/v1/trust/ca", limit=100) == b"other"


def test_unusable_files_are_named(authority, tmp_path):
    cert, key, ca = authority.files("one", "localhost")
    other_cert, _, _ = authority.files("two", "localhost")
    broken = tmp_path / "broken.pem"
    broken.write_text("nonsense")
    for files, word in [
        ((tmp_path / "none.pem", key, ca), "none.pem"),
        ((other_cert, key, ca), "together"),
        ((cert, broken, ca), "together"),
        ((cert, key, broken), "no PEM"),
        ((cert, key, tmp_path / "no-ca.pem"), "no-ca.pem"),
    ]:
        with pytest.raises(ConfigError, match=word):
            tls.server_context(*files)
    with pytest.raises(ConfigError, match="PEM"):
        tls.client_context("nonsense")
    with pytest.raises(ConfigError, match="together or not at all"):
        tls.client_context(authority.pem, cert)


def test_sec_1_contexts_are_strict(authority, listener_context):
    client = tls.client_context(authority.pem)
    assert (client.check_hostname, client.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert client.minimum_version == listener_context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert len(client.get_ca_certs()) == 1
    assert (listener_context.verify_mode, listener_context.num_tickets) == (ssl.CERT_OPTIONAL, 1)


def test_a_filling_runs_on_uvloop(filling, service, authority, listener_context):
    limits = Limits()

    async def live():
        listener = filling.listener(
            service, context=listener_context, limits=limits, clock=SystemClock(), rng=random.Random(1)
        )
        await listener.start(["127.0.0.1"], 0)
        url = f"https://127.0.0.1:{listener.port}"
        dialer = filling.dialer(url, context=tls.client_context(authority.pem), limits=limits)
        assert await dialer.exchange(b"1") == b"answer:1"
        link = await dialer.hold()
        await link.send(b"2")
        messages = aiter(link)
        assert await anext(messages) == b"reply:2"
        stopping = asyncio.create_task(listener.stop(retry_window=1.0))
        with pytest.raises(LinkError, match="restarts"):
            await anext(messages)
        await stopping
        await dialer.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())
    assert service.handlers[0].codes == [1012]


def test_sec_1_an_agent_holds_no_list_of_authorities_of_its_machine():
    program = (
        "from popham.net.tls import without_authorities\n"
        "with without_authorities():\n"
        "    from aiohttp import connector\n"
        "import ssl\n"
        "print(len(connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), ssl.SSLContext.load_default_certs.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "load_default_certs"]
