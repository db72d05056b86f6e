"""The examples of topologies: what they define is accepted, every configuration is read, and who dials whom fits.

Each has a drawing, and its commands are commands of this program.
"""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from click.testing import CliRunner

from popham.agent.settings import load_settings as load_agent
from popham.cli.main import cli
from popham.manager.settings import load_settings as load_manager
from popham.model.communication import CommunicationSettings, Dialer, settings_from_definition
from popham.model.definition import SourceFile, check
from popham.proxy.settings import load_settings as load_proxy

FOLDER = Path(__file__).parents[2] / "examples"
NAMES = ("direct", "proxy", "chain", "mailbox", "walled", "failover")
WITH_PROXIES = NAMES[1:]
COMMAND = re.compile(r"^\$ popham (.+)$", re.MULTILINE)
PROXIES = {"proxy": 1, "chain": 2, "mailbox": 1, "walled": 1, "failover": 2}


def definitions(name):
    path = FOLDER / name / "fleet.yaml"
    return check([SourceFile(name=path.name, text=path.read_text(encoding="utf-8"))])


def proxies(name):
    return {one.name: one.definition for one in definitions(name).proxies}


def settings(group):
    """Return the settings of a group, and those of its locations."""
    own = settings_from_definition(group.communication, CommunicationSettings())
    spots = [spot.communication for spot in group.locations or () if spot.communication]
    return [own, *(settings_from_definition(spot, own) for spot in spots)]


def readme(name):
    return (FOLDER / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_f_t2_check_accepts_the_topology(name):
    done = CliRunner().invoke(cli, ["check", "-f", str(FOLDER / name)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", NAMES)
def test_the_machines_configurations_of_the_topology_are_read(name):
    assert load_agent(FOLDER / name / "agent.toml", env={}).files.roots == ("/etc/popham.d",)
    manager = load_manager(FOLDER / name / "manager.toml", state=None, env={}, overrides={})[0]
    assert manager.urls[0] == "https://manager.example:4320"
    found = [load_proxy(path, env={}) for path in sorted((FOLDER / name).glob("proxy*.toml"))]
    assert bool(found) is (name != "direct")
    assert all(one.address.port == 4320 for one in found)


@pytest.mark.parametrize("name", NAMES)
def test_the_topology_has_the_proxies_of_its_name(name):
    assert len(proxies(name)) == PROXIES.get(name, 0)


@pytest.mark.parametrize("name", WITH_PROXIES)
def test_sec_30_every_proxy_is_given_groups_of_the_topology(name):
    groups = {group.name for group in definitions(name).groups}
    for proxy, found in proxies(name).items():
        assert found.groups, proxy
        assert set(found.groups) <= groups, proxy


@pytest.mark.parametrize("name", WITH_PROXIES)
def test_a_group_dials_only_proxies_that_it_was_given(name):
    held = proxies(name)
    doors = {(host, found.port): proxy for proxy, found in held.items() for host in found.names}
    used = set()
    for group in definitions(name).groups:
        for place in settings(group):
            for one in place.servers:
                url = urlsplit(one.url)
                if url.hostname == "manager.example":
                    continue
                proxy = doors[(url.hostname, url.port)]
                used.add(proxy)
                assert group.name in held[proxy].groups, f"{group.name} dials {proxy}"
    assert used == set(doors.values()), "a proxy that has a name and is not dialled"


@pytest.mark.parametrize("name", NAMES)
def test_who_is_visited_is_dialled_by_somebody_who_was_told_where(name):
    found = definitions(name)
    visited = [group.name for group in found.groups if settings(group)[0].dialer is Dialer.MANAGER]
    assert bool(visited) is (name in {"mailbox", "walled"})
    assert bool(found.agents) is bool(visited)
    for agent in found.agents:
        assert (agent.definition.proxy in proxies(name)) is (name == "walled")


def test_f_c8_shops_of_each_subnet_have_their_own_proxy_first_and_the_manager_last():
    (shops,) = [group for group in definitions("failover").groups if group.name == "shops"]
    hosts = [
        [urlsplit(server.url).hostname for server in sorted(found.servers)] for found in settings(shops)[1:]
    ]
    assert hosts == [
        ["north.example", "south.example", "manager.example"],
        ["south.example", "north.example", "manager.example"],
    ]


def test_the_addresses_of_the_machines_that_are_visited_are_let_in():
    allowed = load_agent(FOLDER / "walled" / "agent.toml", env={}).service.allow
    (network,) = [ip_network(f"{one}/24", strict=False) for one in allowed]
    agents = definitions("walled").agents
    assert all(ip_address(urlsplit(one.definition.url).hostname) in network for one in agents)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_the_topology_draws_it_and_names_its_files(name):
    text = readme(name)
    drawing = re.search(r"^```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert drawing
    assert drawing[1].isascii()
    assert "who dials" in drawing[1]
    assert "/tcp" in drawing[1]
    assert all(proxy in drawing[1] for proxy in proxies(name))
    missing = [
        path.name for path in (FOLDER / name).iterdir() if path.suffix in {".toml", ".yaml"}
        if f"`{path.name}`" not in text
    ]  # fmt: skip
    assert not missing


@pytest.mark.parametrize("page", [*(f"examples/{name}/README.md" for name in NAMES), "docs/howto/proxies.md"])
def test_the_commands_of_the_page_are_commands(page):
    found = COMMAND.findall((FOLDER.parent / page).read_text(encoding="utf-8"))
    assert found
    for line in found:
        command, words = cli, line.split()
        while words and isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word := words.pop(0))
            assert command, f"popham {line}: there is no {word}"
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        unknown = [word for word in words if word.startswith("-") and word not in known]
        assert not unknown, f"popham {line}: {unknown}"
