"""The file of contexts."""

import stat
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.cli.contexts import Context, Contexts, _encode, contexts_path
from popham.errors import ConfigError

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def put(path, **contexts):
    found = Contexts.load(path)
    for name, context in contexts.items():
        found = found.put(name, context)
    found.save()
    return Contexts.load(path)


def test_what_is_saved_is_loaded_again(tmp_path):
    path = tmp_path / "deep" / "config.toml"
    demo = Context(url="https://127.0.0.1:8443", ca=PEM, token="pop_a_b")
    found = put(path, demo=demo, lab=Context(url="https://lab:8443", token="pop_c_d"))
    assert (found.current, found.items["demo"]) == ("lab", demo)


def test_sec_46_the_file_is_for_its_owner_only(tmp_path):
    found = put(tmp_path / "config.toml", demo=Context(url="https://h", token="t"))
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o600
    assert not found.is_exposed()
    found.path.chmod(0o644)
    assert found.is_exposed()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_the_file(text):
    held = Contexts(path=None, current=text, items={"a": Context(url="u", token=text)})
    data = tomllib.loads(_encode(held))
    assert data["current"] == text
    assert data["contexts"]["a"].get("token", "") == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("current = ", "cannot be read"),
        ("curent = 'a'", "unknown key 'curent'"),
        ("contexts = 3", "no table"),
        ("[contexts.a]\ntoken = 'x'", "has no 'url'"),
        ("[contexts.a]\nurl = 'https://h'\ntokn = 'x'", "unknown key 'tokn'"),
        ("[contexts.a]\nurl = 3", "is no text"),
    ],
)
def test_a_wrong_file_is_refused_with_one_sentence(tmp_path, text, problem):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        Contexts.load(path)


def test_an_oversized_file_is_refused(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="larger than"):
        Contexts.load(path)


def test_the_environment_goes_before_the_file(tmp_path):
    found = put(tmp_path / "c.toml", demo=Context(url="https://a", ca=PEM, token="old"))
    assert found.chosen("", {"POPHAM_TOKEN": "new"}) == Context(url="https://a", ca=PEM, token="new")


def test_the_token_of_the_file_is_never_sent_to_another_manager(tmp_path):
    found = put(tmp_path / "c.toml", demo=Context(url="https://a", ca=PEM, token="secret"))
    with pytest.raises(ConfigError) as caught:
        found.chosen("", {"POPHAM_URL": "https://evil"})
    assert caught.value.code == "config.no_token"


def test_a_token_and_a_ca_may_stand_in_files(tmp_path):
    (tmp_path / "token").write_text("pop_x_y\n")
    (tmp_path / "ca.pem").write_text(PEM)
    environ = {
        "POPHAM_URL": "https://a",
        "POPHAM_TOKEN_FILE": str(tmp_path / "token"),
        "POPHAM_CA": str(tmp_path / "ca.pem"),
    }
    found = Contexts.load(tmp_path / "none.toml").chosen("", environ)
    assert found == Context(url="https://a", ca=PEM, token="pop_x_y")


def test_an_unknown_context_names_the_nearest(tmp_path):
    found = put(tmp_path / "c.toml", demo=Context(url="https://a", token="t"))
    with pytest.raises(ConfigError) as caught:
        found.chosen("dmeo", {})
    assert caught.value.hint == "Did you mean 'demo'?"


def test_without_a_context_the_hint_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match="no Manager is chosen") as caught:
        Contexts.load(tmp_path / "none.toml").chosen("", {})
    assert "popham init" in caught.value.hint


def test_the_path_follows_the_variables():
    assert str(contexts_path({"POPHAM_CONFIG": "/x/c.toml"})) == "/x/c.toml"
    assert str(contexts_path({"XDG_CONFIG_HOME": "/x", "HOME": "/h"})) == "/x/popham/config.toml"
    assert (
        str(contexts_path({"XDG_CONFIG_HOME": "relative", "HOME": "/h"})) == "/h/.config/popham/config.toml"
    )
