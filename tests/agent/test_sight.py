"""What this machine lets location criteria look at: no Manager can have it look beyond that (SEC-6)."""

import logging

import pytest

from popham.agent.settings import load_settings
from popham.agent.sight import LocationSettings, Sight, plan_look
from popham.errors import ConfigError
from popham.model.criteria import Condition, Kind
from popham.model.location import PROBES_MAX
from popham.testing.virtual import pass_time

from .orders import OFFICE, rules_of

SIGHT = Sight(
    LocationSettings(
        environment=("SITE",),
        files=("/etc/popham/site", "/etc/popham.d"),
        reachable=("*.corp.example:443", "10.0.0.0/8:443", "[fd00::/8]:*", "db1.cafe:5432"),
        names=("intranet", "*.corp.example"),
    )
)


@pytest.mark.parametrize(
    ("kind", "value", "allowed"),
    [
        (Kind.ENVIRONMENT, "SITE=pa*", True), (Kind.ENVIRONMENT, "SITE", True), (Kind.ENVIRONMENT, "API_TOKEN=h*", False), (Kind.ENVIRONMENT, "SITES", False),
        (Kind.FILE, "/etc/popham/site", True), (Kind.FILE, "/etc/popham.d/a/b", True), (Kind.FILE, "/etc/popham.d", True), (Kind.FILE, "/etc/popham.dd", False),
        (Kind.FILE, "/etc/popham/site/..", False), (Kind.FILE, "/etc/popham.d/../shadow", False), (Kind.FILE, "//etc/popham.d/a", False), (Kind.FILE, "/srv/keys", False),
        (Kind.REACHABLE, "a.corp.example:443", True), (Kind.REACHABLE, "A.B.Corp.Example.:443", True), (Kind.REACHABLE, "a.corp.example:22", False), (Kind.REACHABLE, "corp.example:443", False),
        (Kind.REACHABLE, "10.1.2.3:443", True), (Kind.REACHABLE, "[::ffff:10.1.2.3]:443", True), (Kind.REACHABLE, "11.1.2.3:443", False), (Kind.REACHABLE, "10.1.2.3:22", False),
        (Kind.REACHABLE, "[fd00::1]:22", True), (Kind.REACHABLE, "[fe80::1]:22", False), (Kind.REACHABLE, "db1.cafe:5432", True), (Kind.REACHABLE, "167838211:443", False),
        (Kind.DNS_NAME, "intranet=10.0.0.0/8", True), (Kind.DNS_NAME, "x.corp.example", True), (Kind.DNS_NAME, "secret.evil.example", False),
        (Kind.ADDRESS, "10.0.0.0/8", True), (Kind.HOST_NAME, "till-*", True), (Kind.MANAGER, "reachable", True), (Kind.INTERFACE, "vpn", True),
    ],
)  # fmt: skip
def test_sec_6_only_what_the_machine_names_is_looked_at(kind, value, allowed):
    assert SIGHT.allows(Condition(kind, value)) is allowed
    free = kind in {Kind.ADDRESS, Kind.HOST_NAME, Kind.MANAGER, Kind.INTERFACE}
    assert Sight(LocationSettings()).allows(Condition(kind, value)) is free


def test_sec_6_other_variables_never_reach_the_criteria():
    assert SIGHT.choose({"SITE": "paris", "API_TOKEN": "hush"}) == {"SITE": "paris"}
    assert Sight(LocationSettings()).choose({"API_TOKEN": "hush"}) == {}


def test_sec_6_what_is_not_permitted_is_unknown_and_said(orders, caplog):
    caplog.set_level(logging.WARNING)
    orders.sight = Sight(LocationSettings())
    orders.boot()

    async def story():
        orders.host.put(environment={"API_TOKEN": "hush"}, files={"/etc/shadow": False})
        has, lacks = {"environment": "API_TOKEN=h*"}, {"not": {"file": "/etc/shadow"}}
        await orders.order(rules_of(check=10.0, office=has, lab=lacks), default="away", office="work")
        await pass_time(100)
        assert orders.where == "default"
        assert orders.locator.unseen == ("environment API_TOKEN=h*", "file /etc/shadow")
        (said,) = [one for one in caplog.messages if one.startswith("not looked at")]
        assert said.endswith(": environment API_TOKEN=h*, file /etc/shadow")
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        assert orders.locator.unseen == ()

    orders.tell_story(story)


def test_what_one_look_cannot_do_is_unknown_too_and_the_list_of_it_is_bounded(orders):
    files = [f"/f{number}=" for number in range(PROBES_MAX + 8)]
    rules = rules_of(office={"file": files}, lab={"dns_name": ["a", "a=10.0.0.0/8"]})
    outlook = plan_look(rules, lambda _: True)
    assert len(outlook.wanted.files) + len(outlook.wanted.names) == PROBES_MAX
    assert outlook.wanted.names == {"a"}
    assert len(outlook.unseen) == 9

    async def story():
        orders.sight = Sight(LocationSettings())
        orders.boot()
        await orders.order(rules, default="away")
        assert len(orders.locator.unseen) == 17
        assert orders.locator.unseen[-1] == "26 more"

    orders.tell_story(story)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('environment = ["SITE=x"]', "location"), ('files = ["etc/site"]', "path"), ('files = ["/etc/../x"]', "path"), ('names = ["a b"]', "location"),
        ('reachable = ["a.example"]', "location"), ('reachable = ["10.0.0.*:443"]', "location"), ('reachable = ["10.0.0.0/33:443"]', "location"),
        ('reachable = ["a.example:0"]', "location"), ('reachable = ["a.example:٤٤"]', "location"), ('names = "x"', "value"), ('name = ["x"]', "unknown_key"),
    ],
)  # fmt: skip
def test_what_would_permit_nothing_is_refused_when_the_agent_starts(tmp_path, line, code):
    path = tmp_path / "agent.toml"
    path.write_text(f"[location]\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, env={})
    assert caught.value.code == f"config.{code}"


def test_a_machine_permits_no_look_by_default(tmp_path):
    assert load_settings(tmp_path / "agent.toml", env={}).location == LocationSettings()
