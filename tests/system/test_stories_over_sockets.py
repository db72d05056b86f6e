"""The session stories over real sockets with TLS: in each of the four cells, and through nginx where the Manager dials.

The Manager and six agents, with all their parts, share this process.  Each story is told in all six ways at once,
and each test is the verdict of one of them.
"""

import asyncio
import os
from dataclasses import dataclass

import pytest
import pytest_asyncio
from tests import stories
from tests.stories import STORIES, in_force, see

import popham.agent.app
from popham.agent.apply import Applier
from popham.model.cell import Dialer, Mode
from popham.opamp.wire import HELD_MESSAGE_LIMIT
from popham.testing.ports import free_ports
from popham.trust.identity import load_certificate, read_identity

from .stage import ADMIN, House, Stage
from .web_servers import Nginx

FRONT = """
server {{
  listen 127.0.0.1:{front} ssl;
  ssl_certificate web.pem;
  ssl_certificate_key web.key;
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $popham_connection;
  client_max_body_size 4m;
  location /pull/ {{ proxy_pass http://unix:{socket}:/; }}
  location /push/ {{ proxy_pass http://127.0.0.1:{agent}; }}
}}
map $http_upgrade $popham_connection {{ default upgrade; "" ""; }}
"""
WAYS = {
    f"{mode}-dialled-by-{dialer}{through}": ((mode, dialer), through)
    for dialer in Dialer
    for mode in Mode
    for through in (("", "-through-nginx") if dialer is Dialer.MANAGER else ("",))
}
MISSING = f"NOT TESTED: {Nginx.program} is missing: install Debian's package nginx"
LARGE = 300_000
"""Bytes of a body that stands beside no bundle: it is fetched, or brought."""
LOCATIONS = 60


@dataclass
class Way:
    """How an agent's service is reached: the port behind the relay, and what each end is told of it."""

    port: int
    spec: dict
    toml: str
    tls: bool = True


class Notes(Applier):
    """Applies, and counts what it was given."""

    sets = 0

    async def apply(self, policies):
        self.sets += 1
        await super().apply(policies)


# What is told where time is real only.


async def only_the_end_that_is_to_dial_opens_connections(stage):
    """A held link is opened once; by pull there is a connection for a while."""
    await in_force(stage)
    mode, dialer = stage.cell
    asked, other = (stage.down, stage.up) if dialer is Dialer.MANAGER else (stage.up, stage.down)
    before = asked.opened, other.opened
    await stage.publish("news")
    await see(stage, "news")
    assert other.opened == before[1]
    assert asked.opened - before[0] <= (0 if mode is Mode.PUSH else 20)


async def an_answer_that_is_lost_costs_a_repeat(stage):
    """It is not applied twice."""
    await in_force(stage)
    sets = stage.sets()
    await stage.lose_answers()
    await stage.publish("unheard")
    await stage.until(lambda: stage.lost, 1.0)
    await stage.heal()
    await see(stage, "unheard")
    assert stage.sets() == sets + 1


async def whatever_its_size_it_comes(stage):
    """A body too large to stand beside a bundle, and a bundle too large for a held link."""
    text = f"{stage.name} {'x' * LARGE}"
    stage.locations = LOCATIONS
    try:
        await stage.publish(text)
        await see(stage, text)
        assert len(stage.book.wanted(stage.name).envelope) > HELD_MESSAGE_LIMIT
    finally:
        stage.locations = 0


async def a_certificate_is_renewed(stage):
    """The agent shows the new one from then on."""

    def serial():
        return read_identity(load_certificate(stage.agent.state.certificate())).serial

    before = serial()
    credentials = stage.agent._end._credentials
    stage.clock.ahead = credentials.due - stage.clock.now() + 60
    await stage.until(lambda: serial() != before, 2 * stage.heartbeat)
    stage.clock.ahead = 0.0
    await stage.cut()
    await stage.heal()
    await stage.publish("by the new one")
    await see(stage, "by the new one")
    assert (await stage.service.agent(ADMIN, stage.name)).certificate_until


ALL = (
    *STORIES,
    only_the_end_that_is_to_dial_opens_connections,
    an_answer_that_is_lost_costs_a_repeat,
    whatever_its_size_it_comes,
    a_certificate_is_renewed,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages(tmp_path_factory, sockets, web_authority):
    """Return the stages by their ways; without nginx, those that need none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(popham.agent.app, "Applier", Notes)
        folder = tmp_path_factory.mktemp("s")
        nginx = Nginx() if os.access(Nginx.program, os.X_OK) else None
        found = {}
        house = House(folder, nginx)
        try:
            ways = _ways(nginx, sockets / "visit.sock", web_authority)
            await house.found()
            for number, (name, (cell, _)) in enumerate(WAYS.items()):
                if name in ways:
                    found[name] = Stage(folder, house, f"agent-{number}", cell, ways[name])
            yield found
            await asyncio.gather(*(stage.close() for stage in found.values()))
        finally:
            if house.manager is not None:
                await house.stop()
            if nginx is not None:
                nginx.close()


def _ways(nginx, socket, authority):
    """Return way → how its agent is reached; nginx is started on the way there."""
    front, behind, *ports = free_ports(2 + len(WAYS))
    found = {}
    for name, (_, through) in WAYS.items():
        if not through:
            port = ports.pop()
            toml = f'[service]\nport = {port}\nhosts = ["127.0.0.1"]\n'
            found[name] = Way(port, {"address": "127.0.0.1"}, toml)
    if nginx is None:
        return found
    certificate, key = authority.issue_listener(["localhost"])
    nginx.write("web.pem", certificate.decode())
    nginx.write("web.key", key.decode(), 0o600)
    nginx.start(FRONT.format(front=front, socket=socket, agent=behind), front)
    spec = {"address": "localhost", "tls": "web", "ca": authority.pem.decode()}
    by_socket = f'[service]\nsocket = "{socket}"\nsocket_group = "{nginx.group}"\n'
    by_port = f"[service]\nport = {behind}\ntls = false\n"
    for mode, toml in ((Mode.PULL, by_socket), (Mode.PUSH, by_port)):
        name = f"{mode}-dialled-by-{Dialer.MANAGER}-through-nginx"
        found[name] = Way(front, spec | {"prefix": f"/{mode}"}, toml)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ALL, ids=lambda one: one.__name__)
async def told(request, stages):
    """Tell one story in all ways at once; return way → what went wrong, or None."""
    story, house = request.param, next(iter(stages.values())).house
    house.gate = asyncio.Barrier(len(stages))

    async def tell(stage):
        try:
            if story is stories.the_first_round_is_at_start:
                await stage.order(stage.own_cell, stories.LONG)
            else:
                await stage.settle_in()
            await story(stage)
        except BaseException:
            await house.gate.abort()
            raise

    results = await asyncio.gather(*(tell(stage) for stage in stages.values()), return_exceptions=True)
    return dict(zip(stages, results, strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_f_p2_f_l2_f_l4_the_story(told, way):
    if way not in told:
        pytest.skip(MISSING)
    if told[way] is not None:
        raise told[way]


def test_f_l4_visits_and_links_went_through_nginx(stages):
    nginx = next(iter(stages.values())).house.front
    if nginx is None:
        pytest.skip(MISSING)
    said = (nginx.folder / "access.log").read_text()
    assert '"POST /pull/v1/visit HTTP/1.1" 200 ' in said
    assert '"POST /pull/v1/visit?sha256=' in said
    assert '"GET /push/v1/visit HTTP/1.1" 101 ' in said
    assert '"POST /push/v1/visit?sha256=' in said
