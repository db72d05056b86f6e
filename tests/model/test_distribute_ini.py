"""Reading Distribute.ini: groups, hosts, what is wrong, and what has no counterpart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model import distribute_ini
from popham.model.agentlist import decode
from popham.model.distribute_ini import Folder, names_of, read_distribution
from popham.model.names import NAME, ROOT_GROUP


def folder(text, name="web", source="", beside=()):
    return Folder(name=name, source=source or f"{name}/Distribute.ini", text=text, beside=beside)


def read(*texts):
    """Return what files say that lie in folders a, b, c."""
    return read_distribution([folder(text, name) for text, name in zip(texts, "abc", strict=False)])


def hosts(found):
    return {target.group: [host.address for host in target.hosts] for target in found.targets}


@pytest.mark.parametrize(
    "text",
    [
        "[POLICY_DEF]\nDISTHOST = web1,web2\n",
        "[POLICY_DEF]\r\nDISTHOST=web1,web2\r\n",
        "\ufeff [ policy_def ] \n disthost= WEB1 , web2. ,\n",
        "; comment\n# comment\n[POLICY_DEF]\nDISTHOST = web1\nDISTHOST = web2 ; comment\n",
        '[POLICY_DEF]\nDISTHOST = "web1","web2"',
        "DISTHOST = web1,web2,web1",
    ],
)
def test_f_o15_distribute_ini_names_the_hosts_of_its_folder(text):
    found = read(text)
    assert hosts(found) == {"a": ["web1", "web2"]}
    assert (found.findings, found.wrong, found.left, found.left_count) == ((), 0, (), 0)


def test_f_o15_distribute_ini_without_hosts_is_a_group_without_hosts():
    assert hosts(read("[POLICY_DEF]\n\nDISTHOST =\n", "")) == {"a": [], "b": []}


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "shift_jis", "latin-1"])
def test_f_o15_distribute_ini_may_have_comments_in_any_coding(coding):
    data = f"; {'能' if coding != 'latin-1' else 'é'}\n[POLICY_DEF]\nDISTHOST = web1\n".encode(coding)
    assert hosts(read(decode(data))) == {"a": ["web1"]}


def test_what_is_quoted_of_a_japanese_file_can_be_read():
    found = read(decode("[配付]\nキー = 1\n".encode("cp932")))
    assert [one.text for one in found.left] == ["[配付] キー"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[POLICY_DEF\nDISTHOST = web1", 1, "has no ']'"),
        ("[POLICY_DEF]\nweb2\nDISTHOST = web1", 2, "no section, no 'KEY = value' and no comment"),
        ("[POLICY_DEF]\nDISTHOST = web 2,web1", 2, "'web 2' is no host name"),
        ("[POLICY_DEF]\n\nDISTHOST = 10.0.0.999,web1", 3, "is no host name"),
        ("[POLICY_DEF]\nDISTHOST = ada:geheim@web2,web1", 2, "nothing stands before it with '@'"),
    ],
)
def test_f_o15_distribute_ini_has_a_wrong_line_named_and_the_others_count(text, line, says):
    found = read(text)
    assert found.wrong == 1
    (finding,) = found.findings
    assert (finding.code, finding.source, finding.line) == ("definition.distribute", "a/Distribute.ini", line)
    assert says in finding.problem
    assert "geheim" not in str(finding)
    assert hosts(found) == {"a": ["web1"]}


def test_f_o15_distribute_ini_puts_a_host_of_two_groups_into_none():
    text = "[POLICY_DEF]\nDISTHOST = {}\n"
    found = read(text.format("web1,web2"), text.format("\nDISTHOST = web3,WEB1"), text.format("web1"))
    assert hosts(found) == {"a": ["web2"], "b": ["web3"], "c": []}
    assert [(one.source, one.line) for one in found.findings] == [
        ("b/Distribute.ini", 3),
        ("c/Distribute.ini", 2),
    ]
    assert "by a/Distribute.ini:2, in group 'a'" in found.findings[0].problem


def test_f_o15_distribute_ini_says_what_has_no_counterpart_and_what_to_do():
    text = "[POLICY_DEF]\nINTERVAL = secret\n[OTHER]\nDISTHOST = web9\n"
    found = read_distribution([folder(text, "Web Server", beside=("template.dat",))])
    assert hosts(found) == {"web-server": []}
    assert [(one.line, one.text) for one in found.left] == [
        (2, "INTERVAL"),
        (4, "[other] DISTHOST"),
        (0, "template.dat"),
    ]
    assert "kind Policy" in found.left[2].instead
    assert "web-server" in found.left[2].instead
    assert "secret" not in str(found)


def test_the_same_folder_twice_is_one_group():
    one = read_distribution([folder("DISTHOST=a"), folder("DISTHOST=b,a", source="other")])
    assert hosts(one) == {"web": ["a", "b"]}


def test_groups_have_names_that_follow_from_the_folders_alone():
    folders = ["PolicyGP01", "Web Server", "web_server", "WEB SERVER", "能", "Fleet", "x" * 90]
    found = names_of(folders)
    assert found == names_of(reversed(folders))
    assert len(set(found.values())) == len(folders)
    assert all(NAME.fullmatch(name) for name in found.values())
    assert (found["PolicyGP01"], found["web_server"]) == ("policygp01", "web_server")
    assert found["Web Server"].startswith("web-server-")
    assert ROOT_GROUP not in found.values()


def test_too_much_is_refused_and_too_many_hosts_are_left_out(monkeypatch):
    monkeypatch.setattr(distribute_ini, "HOSTS_MAX", 3)
    found = read("DISTHOST=a,b\nDISTHOST=c,d,e\nDISTHOST=f")
    assert hosts(found) == {"a": ["a", "b", "c"]}
    assert [(one.line, found.wrong) for one in found.findings] == [(2, 1)]
    with pytest.raises(DefinitionError, match="more than 256 files"):
        read_distribution([folder("")] * 257)
    with pytest.raises(DefinitionError, match="4 MiB"):
        read_distribution([folder("x" * (4 * 1024 * 1024 + 1))])


def test_of_many_wrong_lines_the_first_are_named_and_all_are_counted():
    found = read("wrong\n" * 500 + "[X]\n" + "k = v\n" * 300)
    assert (len(found.findings), found.wrong, len(found.left), found.left_count) == (100, 500, 100, 300)


LINES = st.sampled_from(
    [
        "[POLICY_DEF]",
        "[x",
        "[y]",
        "DISTHOST = a,b,[::1]",
        "DISTHOST=",
        "disthost=A,10.0.0.1,_",
        ";",
        "q",
        "k=v",
        "=",
        "][",
    ]
)


@given(
    texts=st.lists(st.lists(LINES | st.text(max_size=20), max_size=8).map("\n".join) | st.text(), max_size=4),
    names=st.lists(st.sampled_from(["a", "A", "fleet", "", "能", "x" * 80]), min_size=4, max_size=4),
)
def test_f_o15_distribute_ini_of_any_text_is_groups_and_findings(texts, names):
    found = read_distribution(
        [folder(text, name, source="f") for text, name in zip(texts, names, strict=False)]
    )
    assert all(NAME.fullmatch(target.group) for target in found.targets)
    keys = [host.name or host.address for target in found.targets for host in target.hosts]
    assert len(keys) == len(set(keys)), "no host is in two groups"
    assert all(NAME.fullmatch(host.name) for target in found.targets for host in target.hosts if host.name)
    assert all(one.line >= 1 and one.source == "f" for one in found.findings)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_text(data):
    read(decode(data))
