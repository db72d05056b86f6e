import pytest

from popham.errors import DefinitionError
from popham.model.definition import DefinitionSetError, SourceFile, check
from popham.model.findings import MAX_FINDINGS, Findings


def defined(*texts):
    return check([SourceFile(f"{number}.yaml", text) for number, text in enumerate(texts)])


def errors(*texts):
    with pytest.raises(DefinitionSetError) as caught:
        defined(*texts)
    return caught.value.errors


def group(name="paris", spec="{}", metadata=""):
    return f"apiVersion: popham/v1\nkind: Group\nmetadata: {{name: {name}{metadata}}}\nspec: {spec}\n"


def policy(name="motd", spec="{type: files, files: [{path: /etc/popham.d/motd, content: hi}]}"):
    return f"apiVersion: popham/v1\nkind: Policy\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def only(text):
    found = errors(text)
    assert len(found) == 1, [str(error) for error in found]
    return found[0]


def test_a_group_is_read_as_it_is_written():
    text = """\
apiVersion: popham/v1
kind: Group
metadata:
  name: paris
  labels: {site: fr}
  annotations: {note: "the second floor"}
spec:
  parent: branches
  inherits: true
  inheritance:
    policies: {files: false}
    communication: false
  communication: {preset: Pull by heartbeat, heartbeat: 1m}
  policies: {files: motd}
"""
    (found,) = defined(text).groups
    assert (found.name, found.parent, found.inherits) == ("paris", "branches", True)
    assert found.exceptions == {"files": False, "communication": False}
    assert found.policies == {"files": "motd"}
    assert found.communication == {"preset": "Pull by heartbeat", "heartbeat": "1m"}
    assert (found.labels, found.annotations) == ({"site": "fr"}, {"note": "the second floor"})
    assert (found.place.source, found.place.lines["policies.files"]) == ("0.yaml", 14)


def test_a_group_without_spec_inherits_everything_from_the_root():
    (found,) = defined("apiVersion: popham/v1\nkind: Group\nmetadata: {name: lab}\n").groups
    assert (found.parent, found.inherits, found.exceptions, found.communication) == ("fleet", True, {}, None)


def test_the_root_is_read_without_parent_and_does_not_inherit():
    (found,) = defined(group("fleet", "{communication: {mode: pull}}")).groups
    assert (found.parent, found.inherits) == ("", False)


def test_a_policy_is_read_in_its_types_form():
    (found,) = defined(policy()).policies
    assert found.type == "files"
    assert found.body == {"files": [{"path": "/etc/popham.d/motd", "content": "hi", "mode": "0644"}]}


def test_explicitly_no_policy_is_told_from_a_policy_that_is_not_named():
    (found,) = defined(group(spec="{inherits: false, policies: {files: null}}")).groups
    assert found.policies == {"files": None}


@pytest.mark.parametrize(
    ("text", "code", "line", "says"),
    [
        ("5\n", "form", 1, "a definition is 5"),
        ("[]\n", "form", 1, "must be a mapping"),
        ("apiVersion: v1\nkind: Group\n", "api_version", 1, "popham/v1"),
        ("apiVersion: popham/v1\nkind: Grop\nmetadata: {name: a}\n", "kind", 2, "Did you mean 'Group'?"),
        ("apiVersion: popham/v1\nkind: Group\n", "form", 1, "metadata is None"),
        ("apiVersion: popham/v1\nkind: Policy\nmetadata: {name: a}\n", "form", 1, "spec is None"),
        ("apiVersion: popham/v1\nkind: Group\nmetadata:\n  name: ../x\n", "name", 4, "cannot be the name"),
        (group() + "sepc: {}\n", "unknown_key", 5, "Did you mean 'spec'?"),
        (group(metadata=", lables: {}"), "unknown_key", 3, "Did you mean 'labels'?"),
        (group(spec="\n  parnt: a"), "unknown_key", 5, "Did you mean 'parent'?"),
        (group(spec="\n  parent: 'No Name'"), "name", 5, "cannot be the name of a group"),
        (group(spec="\n  inherits: maybe"), "flag", 5, "neither true nor false"),
        (group(spec="\n  inheritance:\n    polices: {}"), "unknown_key", 6, "Did you mean 'policies'?"),
        (group(spec="\n  inheritance:\n    policies:\n      file: false"), "policy_type", 7, "Did you mean 'files'?"),
        (group(spec="\n  inheritance:\n    policies:\n      files: 0"), "flag", 7, "neither true nor false"),
        (group(spec="\n  inheritance: []"), "form", 5, "inheritance is []"),
        (group(spec="\n  policies:\n    flies: motd"), "policy_type", 6, "Did you mean 'files'?"),
        (group(spec="\n  inherits: false\n  policies:\n    files: [a]"), "name", 7, "cannot be the name of a policy"),
        (group(spec="\n  inherits: false\n  communication: push"), "form", 6, "communication is 'push'"),
        (group(spec="\n  inherits: false\n  communication:\n    mod: pull"), "unknown_key", 7, "Did you mean 'mode'?"),
        (group(spec="\n  inherits: false\n  communication:\n    heartbeat: 8d"), "heartbeat", 7, "outside 1 s to 7 days"),
        (group(spec="\n  inherits: false\n  communication:\n    heartbeat: 0.5s"), "heartbeat", 7, "outside 1 s to 7 days"),
        (group(spec="\n  inherits: false\n  communication:\n    heartbeat: 300"), "duration", 7, "is not a duration"),
        (group(spec="\n  inherits: false\n  communication:\n    mode: pll"), "word", 7, "Did you mean 'pull'?"),
        (group("fleet", "\n  parent: a"), "root", 5, "has no parent"),
        (group("fleet", "\n  inherits: true"), "root", 5, "cannot inherit"),
        (group("fleet", "\n  inheritance: {communication: true}"), "root", 5, "cannot inherit"),
        (group(spec="\n  policies: {files: motd}"), "inherited", 5, "Set 'inheritance.policies.files: false'"),
        (group(spec="\n  communication: {mode: pull}"), "inherited", 5, "Set 'inheritance.communication: false'"),
        (group(metadata=", labels: {'a b': x}"), "labels", 3, "is not a name and a text"),
        (group(metadata=", labels: {a: 5}"), "labels", 3, "is not a name and a text"),
        (policy(spec="{}"), "policy_type", 4, "names no type"),
        (policy(spec="\n  type: flies\n  files: []"), "policy_type", 5, "Did you mean 'files'?"),
        (policy(spec="\n  type: files\n  fils: []"), "unknown_key", 6, "Did you mean 'files'?"),
        (policy(spec="\n  type: files\n  files:\n    - path: ../x\n      content: ''"), "path", 7, "absolute path"),
        (policy(spec="\n  type: files\n  private_to: 'A B'\n  files: [{path: /a, content: ''}]"), "name", 6, "group"),
    ],
)  # fmt: skip
def test_f_y7_what_is_wrong_is_refused_with_code_line_and_hint(text, code, line, says):
    error = only(text)
    assert (error.code, error.source, error.line) == (f"definition.{code}", "0.yaml", line)
    assert says in str(error)


def test_f_y7_every_error_of_a_set_is_found():
    found = errors(
        group(spec="{parnt: a, inhreits: false}") + "---\n" + group("lyon", "{inherits: 5}"),
        policy(spec="{type: x}"),
    )
    assert [error.code for error in found] == [
        "definition.unknown_key",
        "definition.unknown_key",
        "definition.flag",
        "definition.policy_type",
    ]
    assert [(error.source, error.line) for error in found] == [
        ("0.yaml", 4),
        ("0.yaml", 4),
        ("0.yaml", 9),
        ("1.yaml", 4),
    ]


def test_a_set_error_speaks_for_its_first_error_and_carries_all():
    with pytest.raises(DefinitionSetError, match=r"0.yaml:4: .*definition.flag") as caught:
        defined(group(spec="{inherits: 5}"), policy(spec="{}"))
    data = caught.value.as_dict()
    assert (data["code"], data["line"], len(data["errors"])) == ("definition.flag", 4, 2)


def test_unreadable_yaml_is_one_of_the_errors():
    assert [error.code for error in errors("a: [")] == ["definition.yaml"]


def test_an_object_that_is_defined_twice_is_refused():
    error = only(group() + "---\n" + group())
    assert (error.code, error.line) == ("definition.twice", 8)
    assert "0.yaml:1" in error.problem


def test_a_group_and_a_policy_may_share_a_name():
    assert len(defined(group("x"), policy("x")).groups) == 1


def test_f_g1_a_circle_inside_a_set_is_refused_once():
    error = only(
        "---\n".join(
            [
                group("a", "{parent: b}"),
                group("b", "{parent: c}"),
                group("c", "{parent: a}"),
                group("d", "{parent: a}"),
            ]
        )
    )
    assert error.code == "definition.cycle"
    assert "a → b → c → a" in error.problem


def test_a_policy_of_another_type_cannot_be_assigned():
    error = only(group(spec="{inherits: false, policies: {otelcol: motd}}") + "---\n" + policy())
    assert error.code == "definition.policy_type"
    assert error.hint == "Assign it as 'policies.files: motd'"


def test_a_private_policy_cannot_be_assigned_elsewhere():
    private = policy(spec="{type: files, private_to: lyon, files: [{path: /a, content: ''}]}")
    error = only(group(spec="{inherits: false, policies: {files: motd}}") + "---\n" + private)
    assert error.code == "definition.private"


def test_names_that_only_a_manager_can_know_are_left_to_it():
    defined(group(spec="{parent: somewhere, inherits: false, policies: {files: something}}"))


def test_findings_are_bounded():
    findings = Findings()
    for _ in range(MAX_FINDINGS + 50):
        findings.add(DefinitionError("form", "x"))
    assert len(findings.errors) == MAX_FINDINGS


def test_findings_without_errors_finish_in_peace():
    Findings().finish()


@pytest.mark.parametrize(
    ("text", "held"), [("{}", 0), ("{minimum_serial: 0}", 0), ("{minimum_serial: 7}", 7)]
)
def test_f_y14_a_group_may_ask_for_a_serial(text, held):
    (found,) = defined(group(spec=text)).groups
    assert found.minimum_serial == held


@pytest.mark.parametrize("value", ["-1", "1.5", "yes", "true", "'7'", "[7]", "9007199254740992", "null"])
def test_f_y14_a_minimum_that_is_no_serial_is_refused_with_its_line(value):
    (error,) = errors(group(spec=f"\n  minimum_serial: {value}"))
    assert (error.code, error.line) == ("definition.minimum_serial", 5)
