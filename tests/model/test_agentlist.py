"""``agentlist.cfg`` as Systemwalker SQC writes it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.model import agentlist
from popham.model.agentlist import decode, read_agentlist
from popham.model.definition import SourceFile, check
from popham.model.names import NAME
from popham.model.yaml_text import write_yaml

LIST = """\
# agents of the branch
[AgentList]
web1.example,23440
web2.example/SQC,80   # behind Apache
  web3.example/SQC , 443

[2001:DB8::7],23440,proxy.example,3128
192.0.2.9/a/b,8080,[2001:db8::1],3128
"""


def read(text):
    found = read_agentlist(text, "agentlist.cfg")
    return [entry.definition for entry in found.entries], found


def urls(text):
    return [definition.url for definition in read(text)[0]]


def test_f_l5_entries_are_hosts_with_alias_port_and_web_proxy():
    definitions, found = read(LIST)
    assert found.findings == ()
    assert [(one.url, one.tls, one.http_proxy) for one in definitions] == [
        ("https://web1.example:23440", "agent", ""),
        ("http://web2.example:80/SQC", "off", ""),
        ("https://web3.example:443/SQC", "web", ""),
        ("https://[2001:db8::7]:23440", "agent", "http://proxy.example:3128"),
        ("http://192.0.2.9:8080/a/b", "off", "http://[2001:db8::1]:3128"),
    ]
    assert [one.name for one in definitions] == [
        "web1.example",
        "web2.example",
        "web3.example",
        "2001-db8-7",
        "192.0.2.9",
    ]
    assert [entry.line for entry in found.entries] == [3, 4, 5, 7, 8]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("[AgentList]\n", ""),
        lambda text: text.replace("[AgentList]", " [ agentlist ] "),
        lambda text: "[Other]\nx = y\n" + text + "[Common]\nnot an entry\n",
        lambda text: text.removesuffix("\n"),
    ],
)
def test_f_l5_it_is_read_however_it_was_saved(change):
    assert urls(change(LIST)) == urls(LIST)
    assert read(change(LIST))[1].findings == ()


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "shift_jis", "latin-1"])
def test_f_l5_comments_are_in_any_coding(coding):
    data = f"# {'日本' if coding == 'shift_jis' else 'é'}\n{LIST}".encode(coding)
    assert urls(decode(data)) == urls(LIST)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("web1", "has 1 field; an entry has 2, or 4 with a web proxy"),
        ("web1,80,proxy", "has 3 fields"),
        ("web1,80,proxy,1,2", "has 5 fields"),
        ("web1,http", "port: 'http' is no port"),
        ("web1,0", "port: 0 is no port"),
        ("web1,65536", "port: 65536 is no port"),
        ("web1,٣", "is no port"),
        (",80", "host: '' is no host name"),
        ("web 1,80", "host: 'web 1' is no host name"),
        ("2001:db8::7::1,80", "is no host name"),
        ("[2001:db8::7,80", "is no host name"),
        ("web1/,80", "has no alias behind its '/'"),
        ("web1/a?b,80", "alias: 'a?b' is no prefix"),
        ("web1/SQC/v1/visit,80", "already has /v1/visit"),
        ("web1,80,,3128", "proxy host: '' is no host name"),
        ("web1,80,proxy,x", "proxy port: 'x' is no port"),
        ("web1,80,u:hunter2@proxy,3128", "users and passwords do not belong here"),
        ("u:hunter2@web1,80,x", "users and passwords do not belong here"),
        ("x" * 3000 + ",80", "longer than 2048 characters"),
        ("web9,80", "web9:80 stands twice, first on line 1"),
    ],
)
def test_f_o15_a_wrong_line_is_named_with_file_and_number_and_the_others_work(line, says):
    definitions, found = read(f"web9,80\n{line}\nweb10,80\n")
    assert [one.address for one in definitions] == ["web9", "web10"]
    (error,) = found.findings
    assert (error.code, error.source, error.line, found.wrong) == (
        "definition.agentlist",
        "agentlist.cfg",
        2,
        1,
    )
    assert says in error.problem
    assert error.hint
    assert "hunter2" not in str(error)


def test_findings_are_bounded_and_counted(monkeypatch):
    found = read_agentlist("x\n" * 5000, "a")
    assert (len(found.findings), found.wrong) == (agentlist.FINDINGS_MAX, 5000)
    monkeypatch.setattr(agentlist, "AGENT_DEFINITIONS_MAX", 2)
    found = read_agentlist("a,1\nb,1\nc,1\n", "a")
    assert [error.problem for error in found.findings] == ["there are more than 2 entries"]


def names(text):
    return {one.where: one.name for one in read(text)[0]}


def test_names_are_unique_and_say_more_where_a_host_has_several_entries():
    assert names("a,1\na/SQC,80\nb,1\n") == {"a:1": "a-1", "a:80/SQC": "a-80-sqc", "b:1": "b"}
    # What another host is called already has a digest behind it.
    found = names("a,1\na,2\na-1,5\n")
    assert found["a-1:5"] == "a-1"
    assert found["a:1"].startswith("a-1-")
    assert found["a:2"] == "a-2"


PARTS = st.sampled_from(["a", "a-1", "web1.example", "[::1]", "10.0.0.1", "a-b", "x" * 60, "A"])
PREFIXES = st.sampled_from(["", "/SQC", "/sqc", "/a/b", "/a-b"])
ENTRIES = st.builds(lambda host, alias, port: f"{host}{alias},{port}", PARTS, PREFIXES, st.integers(1, 30))


@given(st.lists(ENTRIES, max_size=30), st.randoms())
@settings(deadline=None)
def test_names_are_legal_unique_and_the_same_in_any_order(lines, random):
    once = names("\n".join(lines))
    shuffled = list(lines)
    random.shuffle(shuffled)
    assert names("\n".join(shuffled)) == once
    assert len(set(once.values())) == len(once)
    assert all(NAME.fullmatch(name) for name in once.values())


@given(st.one_of(st.text(max_size=200), st.lists(ENTRIES | st.text(max_size=20), max_size=20).map("\n".join)))
@settings(max_examples=60, deadline=None)
def test_any_text_is_entries_and_findings_and_each_entry_is_a_definition(text):
    definitions, found = read(text)
    assert len(found.findings) == found.wrong
    assert all(error.line and error.hint for error in found.findings)
    documents = [
        write_yaml(
            {
                "apiVersion": "popham/v1",
                "kind": "Agent",
                "metadata": {"name": one.name},
                "spec": one.as_dict(),
            }
        )
        for one in definitions
    ]
    read_back = check([SourceFile(f"{number}.yaml", one) for number, one in enumerate(documents)])
    assert [wanted.definition for wanted in read_back.agents] == definitions


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data):
    read_agentlist(decode(data), "a")
