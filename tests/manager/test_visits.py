"""The Manager's side of visits: what is brought, whom a certificate has to name, and who is asked to be visited."""

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from popham.errors import VisitError
from popham.manager.live import Live
from popham.manager.settings import VisitsSettings
from popham.manager.visits import Visits
from popham.model.fleet import Admission
from popham.model.names import digest
from popham.net.seam import Limits
from popham.net.signing import Asked
from popham.net.visiting import Place, Reply, VisitDialer
from popham.trust.identity import load_certificate, make_csr
from popham.trust.keys import IdentityKey
from popham.upstream.hub import Hub
from popham.upstream.targets import Target
from popham.upstream.visit_dials import LACKS_BYTES, LazyDials, UnbornDials, find_lacking

from .conftest import policy
from .visiting import KEY, Fleet, number


@pytest.fixture
async def fleet(bench):
    found = Fleet(bench)
    await found.book.load()
    return found


def visits_of(fleet, settings=None):
    bench = fleet.bench
    hub = Hub(fleet.book, bench.clock, endpoint=lambda: "wss://manager", trust={})
    made = Visits(
        settings or VisitsSettings(),
        fleet.book,
        hub,
        bench.store,
        bench.keys,
        clock=bench.clock,
        draw=lambda: 0.5,
        limits=Limits(),
    )
    return made, hub


async def test_what_an_agent_lacks_is_brought_as_far_as_its_groups_bundle_names_it(fleet):
    await fleet.bench.apply(policy("motd", "hello"), policy("other", "secret"))
    await fleet.group(more=", policies: {files: motd}")
    await fleet.group("elsewhere", more=", policies: {files: other}")
    record = fleet.book.record(await fleet.agent())
    wanted, other = fleet.book.wanted("walled"), fleet.book.wanted("elsewhere")
    (named,), (foreign,) = wanted.blobs, other.blobs
    bundle = digest(wanted.envelope)
    record.lacks = (named, foreign, bundle, "0" * 64)
    assert find_lacking(fleet.book, record) == {named: wanted.blobs[named], bundle: wanted.envelope}
    record.admission = Admission.REVOKED
    assert find_lacking(fleet.book, record) == {}


async def test_bodies_with_secrets_are_not_brought_before_the_serial_that_their_group_asks_for(fleet):
    await fleet.bench.apply(policy("motd", "hello"))
    await fleet.group(more=", policies: {files: motd}")
    record = fleet.book.record(await fleet.agent())
    wanted = fleet.book.wanted("walled")
    (named,) = wanted.blobs
    record.lacks = (named,)
    fleet.book._wanted["walled"] = replace(wanted, guarded=frozenset({named}), minimum_serial=2)
    assert find_lacking(fleet.book, record) == {}
    fleet.say(record.uid, applied_serial=2)
    assert set(find_lacking(fleet.book, record)) == {named}


async def test_one_visit_brings_so_many_bytes_and_the_rest_waits(fleet):
    await fleet.group()
    record = fleet.book.record(await fleet.agent())
    part = bytes(LACKS_BYTES // 4)
    blobs = {digest(bytes([n])): part for n in range(6)}
    fleet.book._wanted["walled"] = replace(fleet.book.wanted("walled"), blobs=blobs)
    record.lacks = tuple(blobs)
    assert len(find_lacking(fleet.book, record)) == 4


async def test_the_certificate_at_an_agents_address_has_to_name_that_agent(fleet, keys):
    await fleet.group()
    uid, other = await fleet.agent(1), await fleet.agent(2)
    visits, _ = visits_of(fleet)

    def certificate(name):
        pem = keys.ca.issue_agent(make_csr(KEY, name), name, 1000)
        return load_certificate(pem).public_bytes(Encoding.DER)

    target = (await fleet.read())[uid]
    visits.dials.verify(target, certificate(uid))
    for name, who in ((other, "the agent web2 answers"), (number(9), "not known here")):
        with pytest.raises(VisitError) as caught:
            visits.dials.verify(target, certificate(name))
        assert caught.value.code == "visit.identity"
        assert who in caught.value.problem
    with pytest.raises(VisitError) as caught:
        visits.dials.verify(target, b"no certificate")
    assert "names no agent" in caught.value.problem


async def test_tls_is_verified_by_whom_the_place_says_and_not_before_birth(fleet):
    visits, _ = visits_of(fleet)

    def target(tls, uid="u", ca="", url="https://a"):
        place = Place(url, tls, ca=ca)
        return Target(uid=uid, name="a", place=place, mode="pull", interval=600.0)

    own, unborn = visits.dials.context(target("agent")), visits.dials.context(target("agent", uid=""))
    assert (own.verify_mode.name, own.check_hostname) == ("CERT_REQUIRED", False)
    assert unborn.verify_mode.name == "CERT_NONE"
    web = visits.dials.context(target("web"))
    assert (web.verify_mode.name, web.check_hostname) == ("CERT_REQUIRED", True)
    assert visits.dials.context(target("web")) is web, "one for all who are verified alike"
    assert visits.dials.context(target("off", url="http://a")) is None


async def test_the_way_to_an_agent_is_made_when_it_is_used_and_anew_after_it_was_closed(fleet):
    made = []

    class Dialer:
        closed = False

        async def post(self, asked):
            return asked

        async def hold(self, asked):
            return None, asked

        async def aclose(self):
            self.closed = True

    dials = LazyDials(lambda: made.append(Dialer()) or made[-1])
    await dials.aclose()
    assert made == []
    asked = Asked("POST", "", {})
    assert await dials.post(asked) is asked
    assert await dials.hold(asked) == (None, asked)
    await dials.aclose()
    await dials.post(asked)
    assert [one.closed for one in made] == [True, False]


@pytest.mark.parametrize("honest", [True, False])
async def test_f_l12_before_birth_tls_has_to_end_at_the_key_that_signs_what_comes(fleet, keys, honest):
    uid, other = number(1), IdentityKey.create()
    pem = keys.ca.issue_agent(make_csr(KEY if honest else other, uid), uid, 1000)

    class Dialer:
        def __init__(self, meet):
            self.meet = meet

        async def post(self, _asked):
            self.meet(load_certificate(pem).public_bytes(Encoding.DER))
            return Reply(200, {"signature-input": f'popham=("@status");keyid="{KEY.keyid}";tag="x"'}, b"")

    dials = UnbornDials(Dialer)
    if honest:
        assert (await dials.post(Asked("POST", "", {}))).status == 200
        return
    with pytest.raises(VisitError) as caught:
        await dials.post(Asked("POST", "", {}))
    assert caught.value.code == "visit.identity"


async def test_sec_nobody_takes_the_next_connection_of_a_birth(keys):
    pems = [
        keys.ca.issue_agent(make_csr(key, number(1)), number(1), 1000) for key in (KEY, IdentityKey.create())
    ]
    agent, other = (load_certificate(pem).public_bytes(Encoding.DER) for pem in pems)
    sent = []

    class Dialer:
        def __init__(self, meet):
            self.meet, self.shown = meet, [agent, other, agent]

        async def post(self, asked):
            self.meet(self.shown.pop(0))
            sent.append(asked)
            return Reply(200, {"signature-input": f'popham=("@status");keyid="{KEY.keyid}";tag="x"'}, b"")

        async def aclose(self):
            pass

    dials = UnbornDials(Dialer)
    await dials.post(Asked("POST", "", {}))
    with pytest.raises(VisitError) as caught:
        await dials.post(Asked("POST", "", {}))
    assert (caught.value.code, len(sent)) == ("visit.identity", 1), "nothing was said over it"
    await dials.aclose()
    assert (await dials.post(Asked("POST", "", {}))).status == 200


async def test_who_is_not_born_is_dialled_with_more_care_than_nobody(fleet):
    visits, _ = visits_of(fleet)

    def target(uid, tls):
        return Target(uid=uid, name="a", place=Place("https://a", tls), mode="pull", interval=600.0)

    found = [visits.dials.dial(target(*one)) for one in (("", "agent"), ("u", "agent"), ("", "web"))]
    assert [type(one) for one in found] == [UnbornDials, LazyDials, LazyDials]


async def test_a_dialer_for_every_kind_of_place_can_be_made(fleet):
    visits, _ = visits_of(fleet)
    for url, tls in (("https://a:1/SQC", "web"), ("http://[::1]:1", "off"), ("https://a", "agent")):
        target = Target(uid="", name="a", place=Place(url, tls), mode="pull", interval=600.0)
        dialer = visits.dials._make(target, lambda _der: None)
        assert isinstance(dialer, VisitDialer)
        await dialer.aclose()


async def test_check_in_has_a_visited_agent_visited_now(fleet):
    await fleet.group()
    uid = await fleet.agent()
    visits, hub = visits_of(fleet)
    live = Live(fleet.book, hub, visits)
    assert not live.check_in(uid)
    visits.targets.agent_changed(uid)
    await visits.targets.refresh()
    await visits.visitor._refresh()
    assert live.check_in(uid)
    assert live.visit(uid).next == fleet.bench.clock.now()
    assert not live.check_in(number(9))


async def test_a_check_in_of_one_that_dials_by_now_is_not_taken_for_asked(fleet):
    """That the mapping follows a moment later swallows nothing: whoever asked hears that nobody goes there."""
    await fleet.group()
    uid = await fleet.agent()
    visits, hub = visits_of(fleet)
    live = Live(fleet.book, hub, visits)
    visits.targets.agent_changed(uid)
    await visits.targets.refresh()
    await visits.visitor._refresh()
    await fleet.group(communication="{mode: pull, dialer: agent, heartbeat: 1h}")
    fleet.say(uid, dialer="agent")
    assert not live.check_in(uid)
    assert uid in visits.targets.read()


async def test_a_manager_whose_visits_are_off_visits_nobody_and_shows_none(fleet):
    await fleet.group()
    uid = await fleet.agent()
    visits, _ = visits_of(fleet, VisitsSettings(enabled=False))
    visits.targets.agent_changed(uid)
    await visits.targets.refresh()
    visits.reported(fleet.book.record(uid))
    assert visits.visit(uid) is None
    assert not visits.hasten(uid)


async def test_who_is_born_is_shown_the_trust_documents_of_this_fleet(fleet, keys):
    visits, _ = visits_of(fleet)
    shown = json.loads(visits.visitor._calling._documents)
    assert shown == {"ca": keys.ca.pem.decode(), "root": keys.root.decode(), "targets": keys.targets.decode()}


@pytest.mark.parametrize("proxy", ["https://proxy:1", "proxy", "http://"])
def test_a_web_proxy_that_is_none_is_refused(proxy):
    with pytest.raises(ValueError, match="http_proxy"):
        VisitsSettings(http_proxy=proxy)
