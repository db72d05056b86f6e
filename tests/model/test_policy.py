import json

import pytest

from popham.errors import DefinitionError
from popham.model import policy as policies
from popham.model.names import digest
from popham.model.policy import Policy, check_policy

ENTRY = {"path": "/etc/popham.d/motd", "content": "hi"}


def files(**entry):
    return {"files": [ENTRY | entry]}


def refusal(kind, spec):
    with pytest.raises(DefinitionError) as caught:
        check_policy(kind, spec)
    return caught.value


def test_a_policy_of_type_files_is_brought_to_one_form():
    spec = files(mode="644", owner="root") | {"reload": "nginx", "validate": None}
    assert check_policy("files", spec) == {
        "files": [{"path": "/etc/popham.d/motd", "content": "hi", "mode": "0644", "owner": "root"}],
        "reload": "nginx",
    }


def test_the_digest_covers_type_and_body():
    one = Policy(name="a", type="files", body={"x": 1})
    assert one.sha256 == digest(one.encoded())
    assert json.loads(one.encoded()) == {"type": "files", "body": {"x": 1}}
    assert one.sha256 == Policy(name="b", type="files", body={"x": 1}, revision=7).sha256
    assert one.sha256 != Policy(name="a", type="otelcol", body={"x": 1}).sha256


def test_an_unknown_type_names_the_nearest_right_one():
    error = refusal("file", {})
    assert (error.code, error.hint) == ("definition.policy_type", "Did you mean 'files'?")


@pytest.mark.parametrize(
    "path",
    [
        "etc/motd",
        "/etc/../motd",
        "/etc/./motd",
        "/etc//motd",
        "//etc/motd",
        "/etc/motd/",
        "/",
        "",
        "/etc/mo\0td",
        "/etc/mo\ntd",
        "/" + "x" * 256,
        "/" + "/".join(["x" * 200] * 30),
        None,
        5,
    ],
)
def test_sec_6_a_path_that_is_not_absolute_and_plain_is_refused(path):
    assert refusal("files", files(path=path)).code == "definition.path"


@pytest.mark.parametrize("mode", [644, 0o644, "abc", "0888", "64", "000644", True, None, ""])
def test_a_mode_that_is_not_octal_text_is_refused(mode):
    assert refusal("files", files(mode=mode)).code == "definition.mode"


@pytest.mark.parametrize("owner", ["Root", 0, "a b", "x" * 40, "-r"])
def test_an_owner_that_is_no_account_name_is_refused(owner):
    assert refusal("files", files(owner=owner)).code == "definition.account"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"files": []},
        {"files": {}},
        {"files": ["x"]},
        {"files": [{"path": "/a"}]},
        {"files": [{"path": "/a", "content": 5}]},
    ],
)
def test_a_policy_without_files_or_content_is_refused(spec):
    assert refusal("files", spec).code == "definition.files"


def test_a_path_that_stands_twice_is_refused():
    assert refusal("files", {"files": [ENTRY, ENTRY]}).code == "definition.files"


def test_a_file_below_another_file_is_refused():
    error = refusal("files", {"files": [ENTRY, {"path": ENTRY["path"] + "/deep/x", "content": ""}]})
    assert error.code == "definition.files"
    assert "lies below '/etc/popham.d/motd'" in error.problem


@pytest.mark.parametrize("name", ["/usr/sbin/nginx", "nginx -t", ["nginx"], "", 5, "a;b"])
def test_a_policy_cannot_bring_a_command(name):
    assert refusal("files", files() | {"reload": name}).code == "definition.command"


def test_an_unknown_key_names_the_nearest_right_one():
    assert refusal("files", {"file": []}).hint == "Did you mean 'files'?"
    assert refusal("files", files(ownr="x")).hint == "Did you mean 'owner'?"
    assert refusal("otelcol", {"confg": {}}).hint == "Did you mean 'config'?"


@pytest.mark.parametrize("config", [None, {}, [], "x"])
def test_an_otelcol_policy_without_configuration_is_refused(config):
    assert refusal("otelcol", {"config": config}).code == "definition.otelcol"


def test_an_otelcol_policy_keeps_its_configuration():
    assert check_policy("otelcol", {"config": {"receivers": {}}}) == {"config": {"receivers": {}}}


def test_sec_9_a_body_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(policies, "MAX_BODY", 100)
    assert refusal("files", files(content="x" * 100)).code == "definition.size"
