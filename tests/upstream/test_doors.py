"""The registry, walked against the agents' door as the hub keeps it."""

import random

import pytest

from popham.manager.book import ManagerBook
from popham.manager.bundles import Bundles
from popham.manager.definitions import found_fleet
from popham.manager.grant import Grant, Role
from popham.manager.tokens import create_token
from popham.model.registry import ROUTES, IdentityKind, Listener
from popham.net.seam import Peer, Request
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentDescription, AgentToServer, AnyValue, KeyValue
from popham.store.memory import MemoryStore
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock
from popham.upstream.book import Identity
from popham.upstream.hub import Hub

CALLERS = [IdentityKind.NONE, IdentityKind.AGENT, IdentityKind.STOCK]
DOOR = [route for route in ROUTES if route.listener is Listener.AGENTS and route.path != "/livez"]
OPAMP = [route for route in DOOR if route.path == "/v1/opamp"]
OTHERS = [route for route in DOOR if route.path != "/v1/opamp"]
UID = "01a200ad-621a-7147-92f0-76e398e0575f"


@pytest.fixture(scope="module")
def keys():
    return make_keys(VirtualClock())


@pytest.fixture
async def door(keys):
    clock = VirtualClock()
    store = MemoryStore()
    now = clock.now()

    def begin(tx):
        found_fleet(tx, Bundles(keys.director), now=now)
        return create_token(
            tx,
            Grant(actor="test", role=Role.ADMIN, source="memory"),
            keys,
            kind="stock",
            group="fleet",
            uses=None,
            lifetime=None,
            accepts=True,
            cidr="",
            now=now,
            draw=random.Random(7).randbytes,
        )

    made = await store.write(begin)
    book = ManagerBook(store, keys, clock)
    await book.load()
    trust = {f"/v1/trust/{name}": b"document" for name in ("ca", "root", "targets")}
    hub = Hub(book, clock, endpoint=lambda: "wss://manager/v1/opamp", trust=trust)

    def show(caller) -> Peer:
        if caller is IdentityKind.STOCK:
            return Peer(address="127.0.0.1", bearer=made.secret)
        if caller is IdentityKind.AGENT:
            return Peer(address="127.0.0.1", identity=Identity(caller=caller, uid=UID))
        return Peer(address="127.0.0.1")

    return hub, show


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("route", OPAMP, ids=lambda route: route.method)
async def test_sec_4_rounds_and_links_are_for_those_the_registry_names(door, route, caller):
    hub, show = door
    refusal = hub.admit(show(caller), held=route.method == "GET", uid=b"")
    assert (refusal is None) == route.allows(caller)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("route", OTHERS, ids=lambda route: route.path)
async def test_sec_4_every_other_path_is_for_those_the_registry_names(door, route, caller):
    hub, show = door
    path = route.path.replace("{digest}", "0" * 64).replace("{stream}", "logs")
    response = await hub.other(Request(method=route.method, path=path, peer=show(caller)))
    refused = response.status in {401, 403}
    assert refused != route.allows(caller), response.body


async def test_sec_4_a_persons_token_opens_nothing_at_the_agents_door(door):
    hub, _ = door
    peer = Peer(address="127.0.0.1", bearer="pop_0123456789abcdef_secret")
    assert hub.admit(peer, held=False, uid=b"").status == 401
    response = await hub.other(Request(method="GET", path="/v1/trust/ca", peer=peer))
    assert response.status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1/agents", 404),
        ("GET", "/v1/trust/../keys/ca.key", 404),
        ("GET", "/v1/content/sha256/" + "../" * 21 + "x", 404),
        ("POST", "/v1/trust/ca", 405),
        ("GET", "/v1/content/sha256/" + "A" * 64, 404),
    ],
)
async def test_sec_4_what_does_not_stand_in_the_registry_is_not_served(door, method, path, status):
    hub, show = door
    response = await hub.other(Request(method=method, path=path, peer=show(IdentityKind.AGENT)))
    assert response.status == status


async def test_sec_2_a_stranger_may_send_little(door):
    hub, show = door
    for caller, allowed in ((IdentityKind.NONE, False), (IdentityKind.STOCK, True)):
        peer = show(caller)
        assert hub.admit(peer, held=False, uid=b"") is None
        pair = KeyValue(key="k", value=AnyValue(string_value="x" * 20_000))
        message = AgentToServer(
            instance_uid=bytes(range(16)),
            capabilities=1,
            agent_description=AgentDescription(non_identifying_attributes=[pair]),
        )
        answer = hub.round(peer, message.SerializeToString())
        data = answer if isinstance(answer, bytes) else await answer
        said = parse_upstream(data)
        assert ("too_large" in said.error_response.error_message) != allowed


async def test_an_agent_that_is_not_known_yet_brings_its_streams_later(door):
    hub, show = door
    response = await hub.other(Request(method="POST", path="/v1/streams/logs", peer=show(IdentityKind.AGENT)))
    assert (response.status, response.headers["Retry-After"]) == (503, "30")
