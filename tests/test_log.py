"""Log lines: no secret in them, and nothing that steers a terminal or forges a line."""

import io
import json
import logging
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import ConfigError, PolicyError
from popham.log import (
    MAX_TEXT,
    HumanLines,
    JsonLines,
    RecentLines,
    escape,
    keep_recent_lines,
    redact,
    set_up_logging,
    writes_to_journal,
)

SECRETS = [
    "pop_ab12_SECRETcanary",
    "pops_ab12_SECRETcanary",
    "pop1.SECRETcanary",
    "Authorization: Bearer SECRETcanary",
    "password=SECRETcanary",
    'password: "SECRETcanary and more"',
    '{"token": "SECRETcanary"}',
    "--token=SECRETcanary",
    "api_key = SECRETcanary",
    "https://me:SECRETcanary@feed.example/x",
    "-----BEGIN PRIVATE KEY-----\nSECRETcanary\n-----END PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----\nSECRETcanary",
]
HOSTILE = [
    "\x1b[31mred",
    "a\nforged line",
    "a\rb",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2028x",
    "\x00",
    "\x7f",
    "\ud800",
]


@pytest.fixture
def root():
    """Put the root logger back as it was."""
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = before[0], before[1]


@pytest.fixture(params=["human", "journal", "json"])
def said(request):
    """Return what one record becomes, as text."""
    form = {"human": HumanLines(), "journal": HumanLines(journal=True), "json": JsonLines()}[request.param]

    def say(message, *args, exc_info=None, level=logging.INFO, **extra):
        record = logging.LogRecord("popham.agent", level, "", 0, message, args, exc_info)
        vars(record).update(extra)
        return form.format(record)

    return say


def caught(error):
    try:
        raise error
    except type(error) as raised:
        return type(raised), raised, raised.__traceback__


@pytest.mark.parametrize("text", SECRETS)
def test_sec_53_what_looks_like_a_secret_is_hidden_wherever_it_stands(said, text):
    lines = [
        said(text),
        said("heard %s", text),
        said("heard", answer=text),
        said("heard", answer={"deep": [text]}),
        said("failed", exc_info=caught(ValueError(text))),
        said("failed", exc_info=caught(PolicyError("validate", text, text))),
    ]
    assert not [line for line in lines if "canary" in line]
    assert all("hidden" in line for line in lines)


@pytest.mark.parametrize(
    "key",
    ["token", "password", "key", "api_key", "client_secret", "seed", "key_pem", "Authorization", "cookie"],
)
def test_sec_53_values_under_telling_keys_are_hidden(said, key):
    assert "canary" not in said("x", **{key: "canary"})
    assert "canary" not in said("x", answer={key: ["canary"]})
    assert "canary" not in said(f"x %({key})s", {key: "canary"})


def test_ids_of_keys_and_tokens_are_no_secrets():
    plain = {"keyid": "ab", "token_id": "cd", "monkey": "ef", "key": None, "keys": "", "token": True}
    assert redact(plain) == plain


@pytest.mark.parametrize("text", HOSTILE)
def test_sec_13_text_of_others_cannot_steer_a_terminal_or_forge_a_line(said, text):
    for line in (said(text), said("%s", text), said("x", name_of_agent=text), said("x", **{f"f{text}": "1"})):
        assert line == escape(line)
        assert "\n" not in line


@given(st.text())
def test_sec_13_escaped_text_has_nothing_left_to_escape(text):
    assert escape(escape(text)) == escape(text)
    assert escape(text).isprintable() or not escape(text).isascii()


def test_an_unexpected_error_has_its_traceback_and_ours_only_its_sentence(said):
    assert "Traceback" in said("failed", exc_info=caught(ValueError("x")))
    line = said("failed", exc_info=caught(PolicyError("root", "No such root.", "Add it")))
    assert "Traceback" not in line
    assert "policy.root" in line
    assert "Add it" in line


def test_a_line_is_bounded(said):
    assert len(said("x" * 100_000)) < MAX_TEXT + 200


def test_in_the_journal_every_line_carries_its_priority(said):
    form = HumanLines(journal=True)
    record = logging.LogRecord("a", logging.ERROR, "", 0, "x", (), caught(ValueError("y")))
    assert all(line.startswith("<3>") for line in form.format(record).splitlines())


def test_a_human_line_has_time_level_part_message_and_fields():
    record = logging.LogRecord("popham.agent", logging.INFO, "", 0, "serial %d applied", (7,), None)
    record.created, record.group, record.text = 0.5, "fleet", "two words"
    assert HumanLines().format(record) == (
        '1970-01-01T00:00:00.500Z info    popham.agent: serial 7 applied group=fleet text="two words"'
    )


def test_a_json_line_is_one_object():
    record = logging.LogRecord("popham.agent", logging.WARNING, "", 0, "late", (), None)
    record.created, record.seconds = 0.5, 3
    assert json.loads(JsonLines().format(record)) == {
        "time": "1970-01-01T00:00:00.500Z",
        "level": "warning",
        "part": "popham.agent",
        "message": "late",
        "seconds": 3,
    }


def test_setting_up_replaces_what_was_there_and_obeys_the_level(root):
    stream = io.StringIO()
    set_up_logging(stream=io.StringIO())
    set_up_logging(level="warning", stream=stream, as_json=True)
    logging.getLogger("popham.agent").info("quiet")
    logging.getLogger("popham.agent").warning("loud")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["loud"]
    assert len(root.handlers) == 1


def test_an_unknown_level_is_refused(root):
    with pytest.raises(ConfigError, match="no log level"):
        set_up_logging(level="loud")


def test_only_the_stream_of_the_journal_gets_its_marks(tmp_path, root):
    with (tmp_path / "out").open("w") as stream:
        status = os.fstat(stream.fileno())
        env = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert writes_to_journal(stream, env)
        assert not writes_to_journal(stream, {})
        assert not writes_to_journal(stream, {"JOURNAL_STREAM": "1:1"})
        assert not writes_to_journal(io.StringIO(), env)
        set_up_logging(stream=stream, env=env)
        logging.getLogger("popham").error("x")
    assert (tmp_path / "out").read_text() == "<3>popham: x\n"


def test_the_newest_lines_are_kept_within_bounds_and_without_secrets(root):
    recent = keep_recent_lines()
    root.setLevel(logging.INFO)
    for number in range(2100):
        root.info("line %d token=SECRETcanary", number)
    lines = recent.lines()
    assert len(lines) == 2000
    assert "line 2099" in lines[-1]
    assert "SECRETcanary" not in "".join(lines)
    for _ in range(100):
        root.info("x" * 8000)
    assert sum(map(len, recent.lines())) <= 256 * 1024


def test_a_line_longer_than_all_that_is_kept_leaves_nothing():
    recent = RecentLines(size=10)
    recent.handle(logging.LogRecord("popham", logging.INFO, "", 0, "long enough", (), None))
    assert recent.lines() == []
