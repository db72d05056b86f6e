"""What a Proxy Manager's door shows: the certificate that the agent of its machine has at the time."""

import asyncio
import ssl
import uuid

import pytest

from popham.agent.records import Join
from popham.agent.state import AgentState
from popham.clock import SystemClock
from popham.errors import StateError
from popham.proxy.listening import Shown, read_names
from popham.statedir import StateDir
from popham.trust.ca import Authority
from popham.trust.identity import make_csr
from popham.trust.keys import IdentityKey

UID = str(uuid.UUID("0198c2a0-0000-7000-8000-000000000001"))
NAMES = ("dock.example", "127.0.0.1")


@pytest.fixture(scope="module")
def ca():
    return Authority.create("popham", SystemClock())


def issue(ca, key, names=NAMES):
    return ca.issue_agent(make_csr(key, UID), UID, role="proxy", names=names)


@pytest.fixture
def kept(ca, tmp_path):
    """Return the state of a machine that was accepted as a Proxy Manager, and where it is."""
    with StateDir.open(tmp_path / "state", "proxy", create=True) as directory:
        state, key = AgentState(directory), IdentityKey.create()
        state.save_join(Join(urls=("https://127.0.0.1:9",), ca=ca.pem, ca_sha256="", root_sha256=""))
        state.create_identity(UID, key)
        state.save_certificate(issue(ca, key))
        yield state, directory.root


async def dial(shown, ca, name="dock.example"):
    """Return the certificate that a dialer is shown, who asks for ``name``, DER."""
    server = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=shown.context
    )
    context = ssl.create_default_context(cadata=ca.pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        return found
    finally:
        server.close()
        await server.wait_closed()


async def test_f_t2_agents_are_shown_the_proxys_own_certificate_by_all_its_names(kept, ca):
    shown = Shown(*kept)
    assert shown.names == NAMES
    assert shown.endpoint(4320) == "wss://dock.example:4320/v1/opamp"
    for name in NAMES:
        assert await dial(shown, ca, name) == ssl.PEM_cert_to_DER_cert(kept[0].certificate().decode())
    with pytest.raises(ssl.SSLCertVerificationError):
        await dial(shown, ca, "another.example")
    assert sorted(path.name for path in kept[1].iterdir() if path.name.startswith(".tmp-")) == []


async def test_f_t2_a_renewed_certificate_and_a_new_key_are_shown_from_the_next_connection_on(kept, ca):
    state, _ = kept
    shown = Shown(*kept)
    first = await dial(shown, ca)
    state.save_certificate(issue(ca, state.identity_key(), ("pier.example",)))
    shown.renewed()
    assert await dial(shown, ca, "pier.example") != first
    assert shown.endpoint(4320) == "wss://pier.example:4320/v1/opamp"
    fresh = IdentityKey.create()
    state.save_next_key(fresh)
    state.change_key(issue(ca, fresh), b"{}")
    shown.renewed()
    found = ssl.DER_cert_to_PEM_cert(await dial(shown, ca)).encode()
    assert found.split() == state.certificate().split()


def test_f_t2_it_is_renewed_once_for_other_names_than_it_has(kept):
    shown = Shown(*kept)
    assert not shown.lacks(None)
    assert not shown.lacks(["127.0.0.1", "DOCK.example"])
    assert shown.lacks(["pier.example"])
    assert not shown.lacks(["pier.example"]), "it was asked for"
    assert not shown.lacks(list(NAMES))


async def test_a_machine_that_was_not_accepted_has_nothing_to_show(tmp_path):
    with StateDir.open(tmp_path / "state", "proxy", create=True) as directory, pytest.raises(StateError):
        Shown(AgentState(directory), directory.root)


def test_addresses_stand_in_brackets_where_they_have_to(ca, kept):
    state, _ = kept
    state.save_certificate(issue(ca, state.identity_key(), ("::1",)))
    assert Shown(*kept).endpoint(443) == "wss://[::1]:443/v1/opamp"
    assert read_names(ca.issue_agent(make_csr(state.identity_key(), UID), UID)) == ()
