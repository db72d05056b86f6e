"""Definitions of kind Proxy, as they are read, kept and refused."""

import pytest

from popham.errors import DefinitionError
from popham.model.definition import DefinitionSetError, check
from popham.model.documents import SourceFile
from popham.model.proxy_definition import ProxyDefinition, read_proxy_definition

UID = "0191d5a8-0000-7000-8000-00000000000a"


def read(**spec):
    return read_proxy_definition("dock", spec)


def test_what_is_left_out_has_a_default_and_is_not_written():
    found = read()
    assert (found.groups, found.agents, found.names, found.port, found.custody) == ((), (), (), 4320, {})
    assert found.as_dict() == {}
    assert ProxyDefinition.from_dict("dock", {}) == found


def test_a_full_definition_is_kept_as_it_was_written():
    found = read(
        groups=["paris", "rome", "paris"],
        agents=["web-1", UID.upper()],
        names=["Dock.example", "[2001:db8::7]"],
        port=4321,
        custody={"logs": "hop", "events": "end to end"},
    )
    assert found.as_dict() == {
        "groups": ["paris", "rome"],
        "agents": ["web-1", UID],
        "names": ["dock.example", "2001:db8::7"],
        "port": 4321,
        "custody": {"events": "end to end", "logs": "hop"},
    }
    assert ProxyDefinition.from_dict("dock", found.as_dict()) == found


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"groups": "paris"}, "groups: 'paris' is no list"),
        ({"groups": ["Paris!"]}, "groups: 'Paris!' cannot be the name of a group"),
        ({"agents": [7, "A b"]}, "agents: 7 cannot be the name of a agent"),
        ({"names": ["a b"]}, "names: 'a b' is no host name and no IP address"),
        ({"names": ["0.0.0.0"]}, "names: '0.0.0.0' is no address of one machine"),
        ({"names": [f"h{number}.example" for number in range(33)]}, "names: there are more than 32"),
        ({"port": 0}, "port: 0 is no port"),
        ({"custody": ["hop"]}, "custody: ['hop'] is no mapping"),
        ({"custody": {"log": "hop"}}, "custody: there is no stream 'log'"),
        ({"custody": {"logs": "end"}}, "custody: 'end' is none of hop, end to end"),
    ],
)
def test_a_wrong_value_is_named(spec, problem):
    with pytest.raises(DefinitionError) as caught:
        read(**spec)
    assert (caught.value.code, caught.value.problem) == ("definition.proxy", problem)
    assert caught.value.hint


def test_an_unknown_key_is_refused_with_its_line():
    text = (
        "apiVersion: popham/v1\nkind: Proxy\nmetadata: {name: dock}\nspec:\n  groups: [paris]\n  group: x\n"
    )
    with pytest.raises(DefinitionSetError) as caught:
        check([SourceFile("a.yaml", text)])
    assert (caught.value.source, caught.value.line) == ("a.yaml", 6)


def test_a_set_has_its_proxies_and_the_agents_that_they_visit():
    proxy = "apiVersion: popham/v1\nkind: Proxy\nmetadata: {name: dock}\nspec: {groups: [fleet]}\n"
    agent = (
        "apiVersion: popham/v1\nkind: Agent\nmetadata: {name: web1}\nspec: {address: 10.0.0.1, proxy: dock}\n"
    )
    found = check([SourceFile("a.yaml", f"{proxy}---\n{agent}")])
    assert [one.definition.groups for one in found.proxies] == [("fleet",)]
    assert found.agents[0].definition.proxy == "dock"
    assert found.agents[0].definition.as_dict() == {"address": "10.0.0.1", "proxy": "dock"}


def test_labels_belong_to_the_agent():
    text = "apiVersion: popham/v1\nkind: Proxy\nmetadata: {name: dock, labels: {a: b}}\nspec: {}\n"
    with pytest.raises(DefinitionSetError, match="labels: a definition of kind Proxy has none"):
        check([SourceFile("a.yaml", text)])
