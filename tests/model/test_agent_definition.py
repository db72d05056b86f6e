"""``kind: Agent``: where an agent is visited."""

import base64
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.agent_definition import (
    AgentDefinition,
    Tls,
    VisitPlace,
    read_address,
    read_agent_definition,
)
from popham.model.definition import DefinitionSetError, SourceFile, check

HEAD = "apiVersion: popham/v1\nkind: Agent\nmetadata: {name: web1}\nspec:\n"
DER = base64.b64encode(b"\x30\x03\x02\x01\x07").decode()
PEM = f"-----BEGIN CERTIFICATE-----\n{DER}\n-----END CERTIFICATE-----\n"
SECRET = "ada:hunter2"


def defined(text):
    return check([SourceFile("a.yaml", text)]).agents[0]


def only(text):
    with pytest.raises(DefinitionSetError) as caught:
        check([SourceFile("a.yaml", text)])
    assert len(caught.value.errors) == 1, [str(error) for error in caught.value.errors]
    return caught.value.errors[0]


def test_an_address_alone_is_an_agents_own_service():
    found = defined(HEAD + "  address: web1.example\n").definition
    assert found == AgentDefinition(name="web1", address="web1.example")
    assert found.place() == VisitPlace("https://web1.example:23440", "agent")


def test_f_l6_everything_that_may_be_said_is_in_the_place():
    pem = PEM.replace("\n", "\n    ")
    found = defined(
        HEAD + "  address: Web1.Example.\n  port: 8443\n  prefix: /SQC/\n  tls: web\n"
        f"  ca: |\n    {pem}\n  http_proxy: http://proxy:3128\n"
        "  http_proxy_password: 'bob:p@ss:w/rd'\n  password: 'ada:hunter2'\n"
    ).definition
    place = found.place()
    assert place.url == "https://web1.example:8443/SQC"
    assert (place.tls, place.password, place.ca) == ("web", SECRET, PEM)
    parts = urlsplit(place.http_proxy)
    assert (parts.hostname, parts.port) == ("proxy", 3128)
    assert [unquote(word) for word in (parts.username, parts.password)] == ["bob", "p@ss:w/rd"]
    assert AgentDefinition.from_dict("web1", found.as_dict()) == found


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("192.0.2.7", "http://192.0.2.7:23440"),
        ("'[2001:DB8:0::7]'", "http://[2001:db8::7]:23440"),
        ("'2001:db8::7'", "http://[2001:db8::7]:23440"),
        ("'::1'", "http://[::1]:23440"),
        ("web_1", "http://web_1:23440"),
        ("7up.example", "http://7up.example:23440"),
    ],
)
def test_f_o10_an_address_is_a_host_or_an_ip_address_of_either_family(address, url):
    assert defined(f"{HEAD}  address: {address}\n  tls: off\n").definition.url == url


@pytest.mark.parametrize(
    ("spec", "code", "line", "says"),
    [
        ("  port: 80\n", "agent", 5, "the agent 'web1' has no address"),
        ("  address:\n", "agent", 5, "has no address"),
        ("  address: 7\n", "agent", 5, "address: 7 is no host name"),
        ("  address: web 1\n", "agent", 5, "'web 1' is no host name and no IP address"),
        ("  address: 256.1.1.1\n", "agent", 5, "'256.1.1.1' is no host name and no IP address"),
        ("  address: '0x7f.1'\n", "agent", 5, "is no host name"),
        ("  address: 127.1\n", "agent", 5, "is no host name"),
        ("  address: '[192.0.2.7'\n", "agent", 5, "is no host name"),
        ("  address: '[web1]'\n", "agent", 5, "is no host name"),
        ("  address: '2001:db8::7::'\n", "agent", 5, "is no host name"),
        ("  address: 'web1:80'\n", "agent", 5, "is no host name"),
        ("  address: 'https://web1'\n", "agent", 5, "is no host name"),
        ("  address: 'user:hunter2@web1'\n", "agent", 5, "this is no host name"),
        ("  address: 'fe80::1%eth0'\n", "agent", 5, "names an interface of one machine"),
        ("  address: 0.0.0.0\n", "agent", 5, "is no address of one machine"),
        ("  address: '::'\n", "agent", 5, "is no address of one machine"),
        ("  address: 224.0.0.1\n", "agent", 5, "is no address of one machine"),
        ("  address: a..b\n", "agent", 5, "is no host name"),
        ("  address: -a\n", "agent", 5, "is no host name"),
        ("  address: a\n  port: 0\n", "agent", 6, "port: 0 is no port"),
        ("  address: a\n  port: 65536\n", "agent", 6, "is no port"),
        ("  address: a\n  port: '80'\n", "agent", 6, "is no port"),
        ("  address: a\n  port: true\n", "agent", 6, "is no port"),
        ("  address: a\n  prefix: /a/../b\n", "agent", 6, "is no prefix"),
        ("  address: a\n  prefix: /a?b\n", "agent", 6, "is no prefix"),
        ("  address: a\n  prefix: /a b\n", "agent", 6, "is no prefix"),
        ("  address: a\n  prefix: /a%2fb\n", "agent", 6, "is no prefix"),
        ("  address: a\n  prefix: /SQC/v1/visit\n", "agent", 6, "already has /v1/visit"),
        ("  address: a\n  tls: none\n", "agent", 6, "tls: 'none' is none of agent, web, off"),
        ("  address: a\n  tls: false\n", "agent", 6, "is none of agent, web, off"),
        ("  address: a\n  ca: x\n", "agent", 6, "is no certificate in PEM"),
        ("  address: a\n  http_proxy: proxy:3128\n", "agent", 6, "is no URL of a web proxy"),
        ("  address: a\n  http_proxy: http://proxy\n", "agent", 6, "is no URL of a web proxy"),
        ("  address: a\n  http_proxy: http://proxy:0\n", "agent", 6, "is no URL of a web proxy"),
        ("  address: a\n  http_proxy: http://proxy:99999\n", "agent", 6, "is no URL of a web proxy"),
        ("  address: a\n  http_proxy: https://proxy:3128\n", "agent", 6, "spoken to in plain HTTP"),
        ("  address: a\n  http_proxy: http://proxy:3128/x\n", "agent", 6, "is no URL of a web proxy"),
        ("  address: a\n  http_proxy: http://u:hunter2@proxy:1\n", "agent", 6, "do not belong here"),
        ("  address: a\n  http_proxy_password: u:p\n", "agent", 6, "there is no http_proxy"),
        ("  address: a\n  password: hunter2\n", "agent", 6, "password: this is no user and password"),
        ("  address: a\n  password: ':hunter2'\n", "agent", 6, "this is no user and password"),
        ("  address: a\n  password: [hunter2]\n", "agent", 6, "this is no user and password"),
        ('  address: a\n  password: "u:hunter2\\n"\n', "agent", 6, "this is no user and password"),
        ("  address: a\n  uid: web1\n", "agent", 6, "is no uid of an agent"),
        ("  address: a\n  uid: 7\n", "agent", 6, "is no uid of an agent"),
        ("  address: a\n  pasword: u:hunter2\n", "unknown_key", 6, "has no key 'pasword'"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_code_hint_and_line_and_never_a_password(spec, code, line, says):
    error = only(HEAD + spec)
    assert (error.code, error.source, error.line) == (f"definition.{code}", "a.yaml", line)
    assert says in error.problem
    assert error.hint
    assert "hunter2" not in str(error)


def test_certificates_are_for_web_servers_and_keys_for_nobody():
    body = PEM.replace("\n", "\n    ")
    assert "only asked for with 'tls: web'" in only(f"{HEAD}  address: a\n  ca: |\n    {body}\n").problem
    for wrong in (
        PEM.replace("CERTIFICATE", "PRIVATE KEY"),
        PEM.replace(DER, "!!!"),
        PEM.replace(DER, base64.b64encode(b"x").decode()),
        PEM[:40],
        PEM + PEM.replace("END", "ENND"),
        " " * 60_000,
    ):
        spec = {"address": "a", "tls": "web", "ca": wrong}
        with pytest.raises(DefinitionError, match="ca: "):
            read_agent_definition("web1", spec)
    assert read_agent_definition("web1", {"address": "a", "tls": "web", "ca": PEM + PEM}).ca == PEM + PEM


def test_two_definitions_of_one_place_or_of_one_agent_are_named_with_each_other():
    other = HEAD.replace("web1", "web2") + "  address: '[2001:DB8::7]'\n  tls: off\n"
    error = only(f"{HEAD}  address: 2001:db8::7\n---\n{other}")
    assert (error.code, error.line) == ("definition.agent_place", 11)
    assert error.problem == "address: [2001:db8::7]:23440 is the place of agent definition 'web1'"
    uid = "  uid: 0191d5a8-0000-7000-8000-000000000001\n"
    error = only(f"{HEAD}  address: a\n{uid}---\n{HEAD.replace('web1', 'web2')}  address: b\n{uid}")
    assert (error.code, error.line) == ("definition.agent_uid", 13)
    assert "already has the agent definition 'web1'" in error.problem


def test_labels_belong_to_the_agent_itself():
    error = only(HEAD.replace("{name: web1}", "{name: web1, labels: {a: b}}") + "  address: a\n")
    assert (error.code, error.hint) == (
        "definition.agent",
        "Label the agent itself: popham label agent web1 KEY=VALUE",
    )


def test_what_is_printed_of_one_has_no_password():
    found = AgentDefinition(
        name="w", address="a", http_proxy="http://p:1", http_proxy_password=SECRET, password=SECRET
    )
    assert "hunter2" not in f"{found!r} {found.place()!r} {found}"


HOSTS = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{1,8}){0,3}", fullmatch=True)
ADDRESSES = st.one_of(HOSTS, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))


@given(
    st.builds(
        AgentDefinition,
        name=st.just("web1"),
        address=HOSTS,
        port=st.integers(1, 65535),
        prefix=st.sampled_from(["", "/SQC", "/a/b.c"]),
        tls=st.sampled_from(Tls),
        http_proxy=st.sampled_from(["", "http://proxy:3128", "http://[::1]:1"]),
        password=st.from_regex(r"[a-zé:]{0,8}", fullmatch=True).map(lambda text: f"u:{text}"),
    )
)
def test_what_is_kept_reads_back_as_it_was(definition):
    assert read_agent_definition("web1", definition.as_dict()) == definition
    assert AgentDefinition.from_dict("web1", definition.as_dict() | {"later": 1}) == definition
    assert urlsplit(definition.url).port == definition.port


@given(st.one_of(st.text(max_size=40), ADDRESSES))
def test_f_y12_whatever_is_taken_as_an_address_is_one_host_of_a_url(text):
    try:
        found = read_address(text)
    except ValueError as error:
        problem, hint = error.args
        assert problem
        assert hint
        return
    url = urlsplit(AgentDefinition(name="a", address=found).url)
    assert (url.hostname, url.port, url.path, url.username) == (found, 23440, "", None)
    assert read_address(found) == found


@given(
    st.dictionaries(
        st.sampled_from(["address", "port", "prefix", "tls", "ca", "http_proxy", "password", "uid", "x"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.text(max_size=12), st.lists(st.text(max_size=3))
        ),
    )
)
def test_any_spec_is_read_or_refused_as_a_definition(spec):
    code, found = "", None
    try:
        found = read_agent_definition("web1", spec)
    except DefinitionError as error:
        code = error.code
    assert code in {"", "definition.agent", "definition.unknown_key"}
    assert found is None or read_agent_definition("web1", found.as_dict()) == found
