"""Tests that stand beside what they are about: run on the fleet as it would be."""

import pytest
from tests.manager.conftest import ADMIN, VIEWER, group, policy

from popham.manager.rehearsal import Rehearsed, rehearse
from popham.model.definition import check
from popham.model.documents import SourceFile
from popham.model.findings import DefinitionSetError

OWN = "inheritance: {policies: {files: false}}, policies: {files: motd}"
TEST = "{name: paris has the motd, expect: {policies: {files: motd}, communication: {heartbeat: 5m, preset: Push}}}"
PARIS = group("paris", f"{{{OWN}, tests: [{TEST}]}}")
RULE = "apiVersion: popham/v1\nkind: Placement\nmetadata: {name: tills}\nspec: {selector: role=till, group: paris}\n"


async def test_f_y18_a_test_that_holds_is_kept_and_guards_later_edits(bench):
    await bench.apply(policy(), PARIS)
    before = await bench.serials()
    with pytest.raises(DefinitionSetError) as caught:
        await bench.apply(group("fleet", "{communication: {preset: Pull by heartbeat, heartbeat: 15m}}"))
    assert [(error.code, error.source, error.line) for error in caught.value.errors] == [
        ("definition.expectation", "", 0)
    ] * 2
    assert caught.value.errors[0].problem == (
        "test 'paris has the motd' of group 'paris' fails: communication.heartbeat is 900.0, expected '5m'"
    )
    assert await bench.serials() == before


@pytest.mark.parametrize("dry_run", [True, False])
async def test_f_y18_a_test_that_fails_names_its_line_and_nothing_is_applied(bench, dry_run):
    text = """
apiVersion: popham/v1
kind: Group
metadata: {name: paris}
spec:
  inheritance: {policies: {files: false}}
  policies: {files: motd}
  tests:
    - name: paris has another
      expect:
        policies: {files: issue, otelcol: null}
"""
    with pytest.raises(DefinitionSetError) as caught:
        await bench.apply(policy(), text, dry_run=dry_run)
    [error] = caught.value.errors
    assert (error.source, error.line) == ("1.yaml", 9)
    assert error.problem.endswith("policies.files is 'motd' (of group 'paris'), expected 'issue'")
    assert len(await bench.service.policies(VIEWER)) == 0


async def test_f_y18_tests_of_a_policy_are_about_groups_locations_and_labels(bench):
    tests = (
        ", tests: [{name: by group, given: {group: paris, location: office}, expect: {policies: {files: motd}}},"
        " {name: by labels, given: {labels: {role: till}}, expect: {policies: {files: other}}}]"
    )
    rules = "locations: [{name: default, default: true}, {name: office, when: {file: /x}, policies: {files: motd}}]"
    spec = f"{{inherits: false, policies: {{files: other}}, {rules}}}"
    result = await bench.apply(policy(more=tests), policy("other", "x"), group("paris", spec), RULE)
    assert {change.action for change in result.changes} == {"created"}
    assert len((await bench.service.policy(VIEWER, "motd")).spec["tests"]) == 2
    with pytest.raises(DefinitionSetError, match="'by labels' of policy 'motd' fails"):
        await bench.apply(RULE.replace("till,", "shop,"))
    with pytest.raises(DefinitionSetError, match="has no location 'office'"):
        await bench.apply(group("paris", "{inherits: true}"))


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        ("{name: a, expect: {}}", "expects nothing"),
        ("{name: a, expect: {polices: {}}}", "expect has no key 'polices'"),
        ("{expect: {policies: {files: a}}}", "is no name of a test"),
        (
            "{name: a, given: {group: x, labels: {a: b}}, expect: {policies: {files: a}}}",
            "cannot be used here",
        ),
        ("{name: a, given: {labels: {a: 1}}, expect: {policies: {files: a}}}", "cannot be used here"),
        ("{name: a, expect: {communication: {heartbeat: soon}}}", "is not a duration"),
        ("{name: a, expect: {policies: {fils: null}}}", "no policy type 'fils'"),
        ("7", "must be a mapping"),
    ],
)
def test_f_y18_a_test_that_is_none_is_refused_with_its_line(test, sentence):
    with pytest.raises(DefinitionSetError, match=sentence) as caught:
        check([SourceFile("a.yaml", group("paris", f"{{tests: [{test}]}}"))])
    assert (caught.value.source, caught.value.line) == ("a.yaml", 4)


def read(*texts):
    return check([SourceFile(f"{number}.yaml", text) for number, text in enumerate(texts)])


def test_f_y7_check_runs_tests_where_the_files_say_all():
    root = group("fleet", "{communication: {preset: Push}}")
    assert rehearse(read(policy(), root, PARIS)) == Rehearsed(held=1, waiting=0)
    assert rehearse(read(policy(), PARIS)) == Rehearsed(held=0, waiting=1)
    with pytest.raises(DefinitionSetError, match="expected '5m'") as caught:
        rehearse(read(policy(), root.replace("Push", "Push, heartbeat: 1h"), PARIS))
    assert (caught.value.source, caught.value.line) == ("2.yaml", 4)


async def test_f_y10_what_a_test_is_about_is_not_deleted_since_no_apply_would_be_possible_then(bench):
    tests = ", tests: [{name: tills, given: {labels: {role: till}}, expect: {policies: {files: motd}}}]"
    own = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"
    await bench.apply(policy(more=tests), group("paris", own), RULE)
    with pytest.raises(DefinitionSetError, match="test 'tills' of policy 'motd' fails"):
        await bench.service.delete_placement(ADMIN, "tills")
    about = tests.replace("labels: {role: till}", "group: paris")
    await bench.apply(policy(more=about))
    await bench.service.delete_placement(ADMIN, "tills")
    with pytest.raises(DefinitionSetError, match="there is no group 'paris'"):
        await bench.service.delete_group(ADMIN, "paris")
    assert (await bench.service.group(VIEWER, "paris")).name == "paris"
    await bench.apply(policy())
    await bench.service.delete_group(ADMIN, "paris")
