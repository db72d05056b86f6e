"""Policies of type ``collect``: their normal form, and what they may not ask for."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.definition import SourceFile, check
from popham.model.policy import check_policy
from popham.model.size import parse_size
from popham.model.types.collect_pattern import TEXT_MAX, check_pattern


def refusal(spec):
    with pytest.raises(DefinitionError) as caught:
        check_policy("collect", spec)
    return caught.value


def probe(**keys):
    return {"probes": [{"name": "p", **keys}]}


def threshold(**keys):
    return {"thresholds": [{"name": "t", "item": "system.memory.utilization", **keys}]}


def log(**keys):
    return {"logs": [{"name": "l", "paths": ["/var/log/x"], **keys}]}


def test_the_normal_form_is_what_was_said_in_seconds_and_bytes():
    spec = {
        "interval": "5m",
        "summary": {"interval": "30s"},
        "limits": {"bytes": "512MiB", "age": "7d", "records": 1000.0},
        "bandwidth": "1MiB",
        "upload": {"logs": "off"},
        "logs": [{"name": "l", "paths": ["/var/log/x"], "attributes": {"interval": "5m"}}],
        "probes": [{"name": "p", "tcp": "localhost:22", "timeout": "1.5s"}],
    }
    assert check_policy("collect", spec) == {
        "interval": 300.0,
        "summary": {"interval": 30.0},
        "limits": {"bytes": 512 * 2**20, "age": 7 * 86_400.0, "records": 1000},
        "bandwidth": 2**20,
        "upload": {"logs": "off"},
        "logs": [{"name": "l", "paths": ["/var/log/x"], "attributes": {"interval": "5m"}}],
        "probes": [{"name": "p", "tcp": "localhost:22", "timeout": 1.5}],
    }
    assert check_policy("collect", {}) == {}


def test_ways_to_say_the_same_have_one_form():
    assert check_policy("collect", {"interval": "1m"}) == check_policy("collect", {"interval": 60})
    assert check_policy("collect", {"bandwidth": "1KiB"}) == check_policy("collect", {"bandwidth": 1024})


@pytest.mark.parametrize(
    ("spec", "code", "said"),
    [
        (
            {"metrics": {"cpus": True}},
            "definition.unknown_key",
            "metrics of a policy of type 'collect' has no key 'cpus'",
        ),
        (probe(tpc="x:1"), "definition.unknown_key", "has no key 'tpc'"),
        ({"interval": "60"}, "definition.collect", "interval: '60' is not of the form"),
        ({"interval": "0.5s"}, "definition.collect", "interval: 0.5 is less than 1"),
        ({"bandwidth": "1MB"}, "definition.collect", "bandwidth: '1MB' is not of the form"),
        (probe(), "definition.collect", "probes.0: asks nothing"),
        (probe(tcp="a:1", dns="a"), "definition.collect", "probes.0: asks tcp and dns"),
        (probe(tcp="a:65536"), "definition.collect", "has no such port"),
        (probe(http="http://[::1]:0/"), "definition.collect", "has no such port"),
        (probe(http="http://me:secret@host/"), "definition.collect", "probes.0.http"),
        (
            probe(tcp="a:1", expect={"status": 200}),
            "definition.collect",
            "probes.0.expect.status: tcp has none",
        ),
        (probe(dns="a", expect={"address": "x"}), "definition.collect", "neither an address nor a range"),
        (log(paths=["/var/log/../x"]), "definition.collect", "no path in its shortest form"),
        (log(paths=["/var/log/x**"]), "definition.collect", "no path in its shortest form"),
        (
            log(multiline={"start": "(a+)+"}),
            "definition.collect",
            "logs.0.multiline.start: it may be tried in too many ways",
        ),
        (log(encoding="utf-7"), "definition.collect", "logs.0.encoding"),
        ({"commands": [{"name": "a", "command": "/bin/sh"}]}, "definition.collect", "commands.0.command"),
        (threshold(), "definition.collect", "thresholds.0: has neither 'warning' nor 'error'"),
        (threshold(error={}), "definition.collect", "thresholds.0.error: names nothing"),
        (threshold(error={"above": 1, "below": 0}), "definition.collect", "names above and below"),
        (threshold(warning={"above": 2}, error={"above": 1}), "definition.collect", "comes before 'warning'"),
        (threshold(warning={"below": 1}, error={"below": 2}), "definition.collect", "comes before 'warning'"),
        (threshold(warning={"above": 2}, error={"below": 1}), "definition.collect", "goes another way"),
        (
            threshold(error={"above": 1}, samples="3 of 2"),
            "definition.collect",
            "thresholds.0.samples: '3 of 2'",
        ),
        (threshold(error={"above": 1}, samples="0 of 2"), "definition.collect", "is not between '1 of 1'"),
        (
            threshold(error={"above": 1}, when=[{"from": "8", "to": "9:00"}]),
            "definition.collect",
            "thresholds.0.when.0: times: '8' is no time of day",
        ),
        ({"watermarks": []}, "definition.unknown_key", "has no key 'watermarks'"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place_and_what_to_do(spec, code, said):
    error = refusal(spec)
    assert error.code == code
    assert said in error.problem
    assert error.hint


def test_a_name_stands_once_and_lists_are_bounded():
    entry = {"name": "c", "command": "look"}
    assert "stands twice" in refusal({"commands": [entry, entry]}).problem
    many = [{"name": f"c{number}", "command": "look"} for number in range(65)]
    assert "has 65 entries" in refusal({"commands": many}).problem
    attributes = {f"a{number}": "x" for number in range(65)}
    assert "logs.0.attributes" in refusal(log(attributes=attributes)).problem


def test_a_refusal_names_the_line():
    text = """\
apiVersion: popham/v1
kind: Policy
metadata: {name: shop}
spec:
  type: collect
  probes:
    - name: shop
      http: http://localhost/
      timeout: 2h
"""
    with pytest.raises(DefinitionError) as caught:
        check([SourceFile("shop.yaml", text)])
    found = caught.value.errors[0]
    assert (found.code, found.line) == ("definition.collect", 9)
    assert found.problem == "probes.0.timeout: 7200.0 is more than 60"


@pytest.mark.parametrize(
    ("text", "size"), [("512B", 512), ("64KiB", 65_536), ("1MiB", 2**20), ("2GiB", 2**31)]
)
def test_a_size_has_a_unit(text, size):
    assert parse_size(text, "bytes") == size


@pytest.mark.parametrize("text", ["1", "1MB", "1.5MiB", "-1B", "1 MiB", 5, None])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(DefinitionError) as caught:
        parse_size(text, "bytes")
    assert caught.value.code == "definition.size"


# Regular expressions.


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?",
        r"\[?(?P<level>DEBUG|INFO|WARN(?:ING)?|ERROR)\]? ",
        r"(?:\d{1,3}\.){3}\d{1,3} ",
        r"[^\]\s]+\s+\S",
        r"[]a]{2}",
        r"\S",
        r"(?:ab)*c",
    ],
)
def test_expressions_that_logs_need_are_taken(pattern):
    check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|aa)+$",
        "(?:a*){2,}b",
        ".*.*.*x",
        "a{0,9}" * 12,
        "(a?){20}" + "a{20}" + "(?:b?){20}",
        "(?:x{1,99999}){1,99999}",
        r"(a)\1",
        "(?=a)",
        "(?i)a",
        "(?P=x)",
        "(",
        "a**",
        "x" * 257,
        "(?:" * 100 + ")" * 100 + "x" * 10,
        "(((){255}){255}){255}",
        r"(?:(?:(?:^|\b){255}){255}){255}",
    ],
)
def test_expressions_that_may_hold_a_machine_up_and_those_without_a_meaning_are_refused(pattern):
    with pytest.raises(ValueError, match=r".+"):
        check_pattern(pattern)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(r"ab.\d[]^()?:*+{}2,1|$-"), max_size=24))
def test_an_expression_that_is_taken_ends_soon_on_any_line(pattern):
    try:
        check_pattern(pattern)
    except ValueError:
        return
    # What is tried in too many ways takes longer than this suite may.
    for line in ("a" * TEXT_MAX, "ab" * (TEXT_MAX // 2), "a2" * (TEXT_MAX // 2), "]" * TEXT_MAX):
        re.match(pattern, line)
