"""What a plan says should be looked at twice."""

import pytest
from tests.manager.conftest import ADMIN, VIEWER, group, policy
from tests.manager.test_costs import agent, fill

from popham.manager.publishing import Publishing
from popham.manager.risks import decides_network
from popham.model.documents import SourceFile

OWN = "{inheritance: {policies: {files: false, custom: false}}, policies: {files: motd, custom: null}}"
RELOAD = ", validate: check-shop, reload: reload-shop"


def files(name, *paths, more=""):
    listed = ", ".join(f"{{path: {path}, content: hi}}" for path in paths)
    return (
        f"apiVersion: popham/v1\nkind: Policy\nmetadata: {{name: {name}}}\n"
        f"spec: {{type: files, files: [{listed}]{more}}}\n"
    )


def custom(name, command):
    return (
        f"apiVersion: popham/v1\nkind: Policy\nmetadata: {{name: {name}}}\n"
        f"spec: {{type: custom, command: {command}, data: 1}}\n"
    )


async def risks(bench, *texts, **terms):
    planned = await bench.apply(*texts, dry_run=True, grant=VIEWER, **terms)
    return [(risk.code, risk.sentence) for risk in planned.risks]


@pytest.fixture
async def paris(bench):
    """Return a bench with a group of two agents that have a policy."""
    await bench.apply(policy(), group("paris", OWN))
    await fill(bench, [agent("u1", "paris"), agent("u2", "paris")])
    return bench


async def test_f_y18_a_change_of_content_alone_is_no_risk(paris):
    assert await risks(paris, policy(content="new")) == []


async def test_f_y18_commands_that_come_or_run_again_are_a_risk(paris):
    shop = policy(more=RELOAD)
    assert await risks(paris, shop) == [
        ("exec", "commands run on 2 agents: policy motd (check-shop, reload-shop)")
    ]
    await paris.apply(shop)
    assert [code for code, _ in await risks(paris, policy(content="new", more=RELOAD))] == ["exec"]
    assert await risks(paris, policy(content="new")) == []
    till = group("paris", OWN.replace("custom: null", "custom: till"))
    assert await risks(paris, custom("till", "till-setup"), till) == [
        ("exec", "commands run on 2 agents: policy till (till-setup)")
    ]


async def test_f_y18_many_agents_and_the_whole_fleet_are_a_risk(paris):
    paris.service._bundles.publishing = Publishing(ask_above=1)
    assert await risks(paris, policy(content="new")) == [("wide", "new content for 2 agents in 1 group")]
    assert await risks(paris, policy(content="new"), everyone=True) != []
    paris.service._bundles.publishing = Publishing(ask_above=2)
    assert await risks(paris, policy(content="new")) == []
    root = group("fleet", "{communication: {spread: 1m}}")
    assert await risks(paris, root) == [("wide", "new content for the whole fleet, 2 agents in 1 group")]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("{preset: Pull by heartbeat, heartbeat: 15m}", "mode, heartbeat"),
        ("{servers: [{url: 'https://a.example:4320', priority: 1}]}", "servers"),
        ("{spread: 1m}", ""),
    ],
)
async def test_f_y18_another_way_to_the_manager_is_a_risk(paris, settings, named):
    spec = f"{{inheritance: {{communication: false, policies: {{files: false}}}}, communication: {settings}}}"
    said = f"the way to the Manager changes for 2 agents of paris: {named}"
    assert await risks(paris, group("paris", spec)) == ([("way", said)] if named else [])


async def test_f_y18_files_that_decide_the_network_are_a_risk_while_they_change(paris):
    motd, hosts = "/etc/popham.d/motd", "/etc/hosts"
    said = ("way", "what decides the network of 2 agents changes: /etc/hosts")
    assert await risks(paris, files("motd", motd, hosts)) == [said]
    await paris.apply(files("motd", motd, hosts))
    assert await risks(paris, files("motd", motd, hosts, "/etc/popham.d/more")) == []
    assert await risks(paris, files("motd", motd)) == [said, ("removes", "removed from 2 agents: /etc/hosts")]


async def test_f_y18_what_is_taken_from_agents_is_a_risk(paris):
    gone = OWN.replace("files: motd", "files: null")
    assert await risks(paris, group("paris", gone)) == [("removes", "taken from 2 agents: policy motd")]
    names = [f"/etc/popham.d/{n}" for n in range(8)]
    await paris.apply(files("motd", "/etc/popham.d/motd", *names))
    assert await risks(paris, policy()) == [
        ("removes", f"removed from 2 agents: {', '.join(names[:5])} and 3 more")
    ]


async def test_f_y18_groups_without_agents_risk_nothing_and_an_apply_tells_none(bench):
    await bench.apply(policy(), group("paris", OWN))
    assert await risks(bench, policy(more=RELOAD), group("paris", "{inheritance: {}}")) == []
    await fill(bench, [agent("u1", "paris")])
    assert (await bench.apply(policy(more=RELOAD))).risks == ()


async def test_f_y18_a_risk_of_what_has_the_same_content_twice_is_seen(paris):
    text = policy("copy", more=RELOAD)
    await paris.apply(text)
    assigned = group("paris", OWN.replace("files: motd", "files: copy"))
    assert [code for code, _ in await risks(paris, assigned)] == ["exec"]


async def test_a_plan_of_a_draft_tells_risks(paris):
    await paris.service.save_draft(ADMIN, "spring", [SourceFile("a.yaml", policy(more=RELOAD))])
    planned = await paris.service.plan_draft(VIEWER, "spring")
    assert [risk.code for risk in planned.plan.risks] == ["exec"]


@pytest.mark.parametrize(
    ("path", "decides"),
    [
        ("/etc/resolv.conf", True),
        ("/etc/network/interfaces", True),
        ("/etc/networks", True),
        ("/etc/iptables.rules", True),
        ("/etc/nftables/main.nft", True),
        ("/etc/ssl", True),
        ("/etc/pki/tls/cert.pem", True),
        ("/etc/hosts.allow", False),
        ("/etc/sslh.cfg", False),
        ("/srv/etc/hosts", False),
    ],
)
def test_which_paths_decide_the_network(path, decides):
    assert decides_network(path) is decides
