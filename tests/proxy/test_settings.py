"""Local configuration of a Proxy Manager: an agent's, and its door."""

from pathlib import Path

import msgspec
import pytest

from popham.agent.settings import load_settings as load_agent
from popham.errors import ConfigError
from popham.net.listen_settings import Address
from popham.proxy.settings import RelaySettings, load_settings
from popham.proxy.spool.bounds import Limits


def write(folder, text):
    path = folder / "proxy.toml"
    path.write_text(text)
    return path


def test_without_a_file_it_listens_for_agents_and_permits_nothing(tmp_path):
    found = load_settings(tmp_path / "proxy.toml", env={})
    assert (found.state, found.listen.agents) == ("/var/lib/popham/proxy", "0.0.0.0:4320")
    assert found.files.roots == ()
    assert found.kind == "proxy"
    assert found.socket_path == Path("/var/lib/popham/proxy/agent.sock")
    assert found.service.listens_on == 23440


def test_an_agents_keys_and_its_own_stand_in_one_file(tmp_path):
    text = f"""
name = "dock"
[files]
roots = ["{tmp_path}"]
[listen]
agents = "[::1]:4321"
[limits]
links_per_identity = 3
[peers]
deny = ["10.0.0.0/8"]
[relay]
bytes = 1073741824
age = 3600
"""
    found = load_settings(write(tmp_path, text), env={"POPHAM_RELAY__CACHE": "33554432"})
    assert found.files.roots == (str(tmp_path),)
    assert Address.parse(found.listen.agents, "") == Address(("::1",), 4321)
    assert (found.limits.links_per_identity, found.relay.age, found.relay.cache) == (3, 3600.0, 32 * 1024**2)
    assert (found.relay.bounds().bytes, found.relay.bounds().age) == (1024**3, 3600.0)
    assert not found.peers.read().admits("10.1.2.3", 0.0)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("[listen]\nagents = 'everywhere'", "config.address", "listen.agents: 'everywhere' is no address"),
        ("[listen]\nagents = '0.0.0.0:99999'", "config.address", "listen.agents"),
        ("[listen]\npeople = '[::]:8443'", "config.unknown_key", "'listen.people'"),
        ("[relay]\nbytes = 1", "config.value", "relay.bytes"),
        ("[relay]\nage = 'long'", "config.value", "relay.age"),
        ("[limits]\nconnections = 1", "config.value", "limits.connections"),
        ("[peers]\nallow = ['here']", "config.peers", "peers.allow"),
        ("[files]\nroots = ['here']", "config.path", "files.roots"),
    ],
)
def test_a_wrong_key_is_one_sentence_that_names_it_and_the_file(tmp_path, text, code, says):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, env={})
    assert caught.value.code == code
    assert says in caught.value.problem
    assert str(path) in caught.value.problem
    assert "\n" not in str(caught.value)


def test_an_agent_has_no_door_for_agents(tmp_path):
    with pytest.raises(ConfigError, match="there is no key 'listen'"):
        load_agent(write(tmp_path, "[listen]\nagents = '0.0.0.0:4320'"), env={})


def test_the_reference_names_the_bounds_of_what_is_relayed_as_they_are():
    page = (Path(__file__).parents[2] / "docs/reference/proxy-configuration.md").read_text()
    units = {"MiB": 1024**2, "GiB": 1024**3, "h": 3600}
    said = {}
    for line in page.splitlines():
        if line.startswith("| `relay."):
            _, key, _, default, _ = line.split("|", 4)
            number, unit = default.split()
            said[key.strip(" `").removeprefix("relay.")] = float(number) * units[unit]
    assert said == msgspec.structs.asdict(RelaySettings())
    bounds = RelaySettings().bounds()
    assert bounds == Limits(), "what is kept where nothing is configured"
