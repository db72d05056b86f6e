"""One loader for every process: which source wins, and what is refused."""

from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.config import MAX_FILE, load
from popham.errors import ConfigError


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """A section."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 4320
    names: tuple[str, ...] = ()
    password: str | None = None
    timeout: float = 5.0
    plain: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the tests configure."""

    name: str
    listen: Listen = Listen()
    labels: dict[str, str] = {}
    spare: Listen | None = None
    cert_file: str | None = None


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "manager.toml"
    path.write_text('name = "file"\n')
    return path


def read(path, env=None, **overrides):
    return load(Settings, path=path, env=env or {}, overrides=overrides)


def refused(path, text=None, env=None, flags=None):
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(Settings, path=path, env=env or {}, overrides=flags or {})
    return caught.value


def test_a_flag_wins_over_environment_over_d_over_file_over_default(file):
    wins = [read(file).listen.port]
    file.write_text('name = "file"\nlisten.port = 1\n')
    wins.append(read(file).listen.port)
    (file.parent / "manager.toml.d").mkdir()
    (file.parent / "manager.toml.d/20.toml").write_text("listen.port = 3")
    (file.parent / "manager.toml.d/10.toml").write_text("listen.port = 2")
    (file.parent / "manager.toml.d/30.txt").write_text("no TOML")
    wins.append(read(file).listen.port)
    env = {"POPHAM_LISTEN__PORT": "4"}
    wins.append(read(file, env).listen.port)
    wins.append(load(Settings, path=file, env=env, overrides={"listen.port": 5}).listen.port)
    assert wins == [4320, 1, 3, 4, 5]


def test_tables_are_merged_and_lists_are_replaced(file):
    file.write_text('name = "x"\nlabels.a = "1"\nlisten.names = ["a", "b"]\nlisten.port = 1')
    found = read(file, {"POPHAM_LABELS__B": "2", "POPHAM_LISTEN__NAMES": "c"})
    assert found.labels == {"a": "1", "b": "2"}
    assert found.listen == Listen(port=1, names=("c",))


def test_a_flag_that_was_not_given_changes_nothing(file):
    assert read(file, name=None).name == "file"


def test_the_drop_in_directory_works_without_the_file(tmp_path):
    (tmp_path / "x.toml.d").mkdir()
    (tmp_path / "x.toml.d/a.toml").write_text('name = "a"')
    assert read(tmp_path / "x.toml").name == "a"


def test_variables_are_read_by_the_type_of_their_key(file):
    env = {
        "POPHAM_NAME": "007",
        "POPHAM_LISTEN__PORT": "99",
        "POPHAM_LISTEN__NAMES": '["a,b", "c"]',
        "POPHAM_LISTEN__TIMEOUT": "2.5",
        "POPHAM_LISTEN__PLAIN": "true",
        "POPHAM_LABELS": '{a = "1"}',
        "POPHAM_SPARE__PORT": "7",
    }
    found = read(file, env)
    assert found.name == "007"
    assert found.listen == Listen(port=99, names=("a,b", "c"), timeout=2.5, plain=True)
    assert found.labels == {"a": "1"}
    assert found.spare == Listen(port=7)


def test_a_file_variable_holds_the_value_in_a_file(file, tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    env = {"POPHAM_LISTEN__PASSWORD_FILE": str(tmp_path / "secret")}
    assert read(file, env).listen.password == "s3cret"


def test_a_key_that_ends_in_file_is_a_key_of_its_own(file):
    assert read(file, {"POPHAM_CERT_FILE": "/x.pem"}).cert_file == "/x.pem"


def test_a_value_given_in_two_ways_is_refused(file, tmp_path):
    (tmp_path / "secret").write_text("a")
    env = {"POPHAM_LISTEN__PASSWORD_FILE": str(tmp_path / "secret"), "POPHAM_LISTEN__PASSWORD": "b"}
    error = refused(file, env=env)
    assert error.code == "config.twice"
    assert error.problem.count("POPHAM_LISTEN__PASSWORD") == 2


def test_variables_of_other_programs_are_left_alone(file):
    assert read(file, {"POPHAM_URL": "https://x", "PATH": "/bin", "POPHAM_": "", "NAME": "y"}).name == "file"


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ('nmae = "x"', "nmae", "Did you mean 'name'?"),
        ('name = "x"\nlisten.prot = 1', "listen.prot", "Did you mean 'port'?"),
        ('name = "x"\nspare.prot = 1', "spare.prot", "Did you mean 'port'?"),
        ('name = "x"\nquite_other = 1', "quite_other", "Known here: cert_file, labels, listen, name, spare"),
    ],
)
def test_an_unknown_key_is_named_with_file_and_the_nearest_right_one(file, text, key, hint):
    error = refused(file, text)
    assert (error.code, error.hint) == ("config.unknown_key", hint)
    assert error.problem == f"{file}: there is no key {key!r}"


def test_an_unknown_key_of_a_drop_in_names_the_drop_in(file):
    (file.parent / "manager.toml.d").mkdir()
    (file.parent / "manager.toml.d/a.toml").write_text("prot = 1")
    assert "manager.toml.d/a.toml: there is no key 'prot'" in refused(file).problem


def test_an_unknown_key_of_the_environment_or_of_a_flag_names_it(file):
    error = refused(file, env={"POPHAM_LISTEN__PROT": "1"})
    assert error.problem == "environment variable POPHAM_LISTEN__PROT: there is no key 'listen.prot'"
    assert error.hint == "Did you mean 'port'?"
    assert refused(file, flags={"listen.prot": 1}).problem.startswith("flag --listen-prot: ")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("name = 1", "name"),
        ('name = "x"\nlisten.port = "99"', "listen.port"),
        ('name = "x"\nlisten.port = 70000', "listen.port"),
        ('name = "x"\nlisten.names = ["a", 1]', "listen.names[1]"),
        ('name = "x"\nlisten = 1', "listen"),
        ('name = "x"\nlabels.a = 1', "labels.a"),
    ],
)
def test_a_wrong_type_or_range_is_named_with_file_and_key(file, text, key):
    error = refused(file, text)
    assert error.code == "config.value"
    assert error.problem.startswith(f"{file}: {key}: expected ")


def test_a_missing_key_says_how_to_set_it(file):
    error = refused(file, "")
    assert error.code == "config.missing_key"
    assert error.problem == f"{file}: name is not set"
    assert "POPHAM_NAME" in error.hint


def test_broken_toml_is_named_with_its_line(file):
    assert "line 2" in refused(file, 'name = "x"\n= 1').problem
    file.write_bytes(b"\xff")
    assert refused(file).code == "config.syntax"


def test_a_file_that_cannot_be_read_or_is_too_large_is_refused(file, tmp_path):
    assert refused(tmp_path).code == "config.unreadable"
    assert refused(file, env={"POPHAM_NAME_FILE": str(tmp_path / "none")}).code == "config.unreadable"
    assert refused(file, "#" * (MAX_FILE + 1)).code == "config.size"


def test_sec_53_no_error_repeats_a_value(file):
    env = {"POPHAM_LISTEN__PORT": "s3cret"}
    assert "s3cret" not in str(refused(file, env=env))
    assert "s3cret" not in str(refused(file, 'name = "x"\nlisten.password = ["s3cret"]'))
    assert "s3cret" not in str(refused(file, 'name = "x"\nlisten.password = "s3cret'))


@given(st.dictionaries(st.text(), st.text(), max_size=4))
def test_any_environment_gives_settings_or_one_clear_error(env):
    env = {f"POPHAM_{name}": value for name, value in env.items()} | {"POPHAM_NAME": "x"}
    try:
        assert load(Settings, path=None, env=env, overrides={}).name == "x"
    except ConfigError as error:
        # Only what names a table with '__' can be wrong; other programs' variables are none of ours.
        assert error.code.startswith("config.")  # noqa: PT017  # either way is right
        assert any("__" in name.removeprefix("POPHAM_") for name in env)


@given(
    st.sampled_from(
        ["NAME", "LISTEN", "LISTEN__PORT", "LISTEN__NAMES", "LABELS", "LABELS__", "SPARE", "LISTEN__"]
    ),
    st.text(),
)
def test_any_value_gives_settings_or_one_clear_error(key, value):
    try:
        load(Settings, path=None, env={f"POPHAM_{key}": value}, overrides={"name": "x"})
    except ConfigError as error:
        assert error.code.startswith("config.")  # noqa: PT017  # either way is right
