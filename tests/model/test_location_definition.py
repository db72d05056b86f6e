import pytest

from popham.errors import DefinitionError
from popham.model.communication import CommunicationSettings, Dialer, settings_from_definition
from popham.model.definition import DefinitionSetError, SourceFile, check

HEAD = "apiVersion: popham/v1\nkind: Group\nmetadata: {name: paris}\nspec:\n  inherits: false\n"
HOME = "    - {name: home, default: true}\n"
OFFICE = "    - {name: office, weight: 2, when: {address: 10.0.0.0/8}}\n"


def text(locations, more="", head=HEAD):
    return f"{head}{more}  locations:\n{locations}"


def defined(written, *, force=False):
    return check([SourceFile("a.yaml", written)], force=force).groups[0]


def only(written):
    with pytest.raises(DefinitionSetError) as caught:
        defined(written)
    assert len(caught.value.errors) == 1, [str(error) for error in caught.value.errors]
    return caught.value.errors[0]


def test_f_g3_locations_are_read_as_they_are_written():
    group = defined(
        text(
            HOME + "    - name: office\n      weight: 2\n      when: {address: 10.0.0.0/8}\n"
            "      policies: {files: motd, otelcol: null}\n      communication: {mode: pull}\n",
            more="  location_check: 10s\n  location_memory: false\n",
        )
    )
    home, office = group.locations
    assert (home.name, home.default, home.when) == ("home", True, None)
    assert (office.weight, office.policies, office.communication) == (
        2,
        {"files": "motd", "otelcol": None},
        {"mode": "pull"},
    )
    assert (group.location_check, group.location_memory) == (10.0, False)
    assert office.line == 10


@pytest.mark.parametrize(
    ("locations", "code", "line", "says"),
    [
        (HOME + OFFICE + "    - {name: cafe, default: true}\n", "default_location", 9, "'home' and 'cafe' are both the default"),
        (OFFICE, "default_location", 6, "none of them is the default"),
        (HOME + "    - {name: office}\n", "criteria", 8, "'office' has no criteria"),
        (HOME + "    - {name: office, weight: 2}\n", "criteria", 8, "a weight and no criteria"),
        ("    - {name: home, default: true, when: {file: /x}}\n", "criteria", 7, "has criteria or a weight"),
        ("    - {name: home, default: true, weight: 1}\n", "criteria", 7, "has criteria or a weight"),
        (HOME + "    - {name: office, when: {manager: reachable}}\n", "manager_alone", 8, "could alone decide about 'office'"),
        (HOME + "    - {name: office, when: {any: [{manager: reachable}, {file: /x}]}}\n", "manager_alone", 8, "whether the Manager"),
        (HOME + "    - {name: office, when: {adress: 10.0.0.0/8}}\n", "criteria", 8, "no criterion 'adress'"),
        (HOME + "    - name: office\n      when:\n        adress: 10.0.0.0/8\n", "criteria", 10, "no criterion 'adress'"),
        (HOME + "    - {name: office, when: {}}\n", "criteria", 8, "is no criterion"),
        (HOME + "    - {name: office, weight: -1, when: {file: /x}}\n", "weight", 8, "is not 0 to 1000000"),
        (HOME + "    - {name: office, weight: true, when: {file: /x}}\n", "weight", 8, "is not 0 to 1000000"),
        (HOME + OFFICE + OFFICE, "twice", 9, "stands twice"),
        (HOME + "    - {name: Office, when: {file: /x}}\n", "name", 8, "cannot be the name of a location"),
        (HOME + "    - {name: office, whn: {file: /x}}\n", "unknown_key", 8, "has no key 'whn'"),
        (HOME + "    - office\n", "locations", 6, "is no location"),
        ("    office\n", "locations", 6, "is no list of at most 64"),
        (HOME + "    - {name: office, default: maybe}\n", "flag", 8, "neither true nor false"),
        (HOME + "    - {name: office, when: {file: /x}, communication: {heartbeat: 5x}}\n", "duration", 8, "is not a duration"),
        (HOME + "    - {name: office, when: {file: /x}, communication: {servers: []}}\n", "servers", 8, "no server"),
        (HOME + "    - {name: office, when: {file: /x}, communication: {download: false}}\n", "download", 8, "belongs to the group"),
        (HOME + "    - {name: office, when: {file: /x}, communication: pull}\n", "form", 8, "is no mapping"),
        (HOME + "    - {name: office, when: {file: /x}, policies: {fils: motd}}\n", "policy_type", 8, "no policy type 'fils'"),
    ],
)  # fmt: skip
def test_f_g3_a_location_that_cannot_be_is_refused_in_one_sentence_with_its_line(locations, code, line, says):
    error = only(text(locations))
    assert (error.code, error.line) == (f"definition.{code}", line), error.problem
    assert says in error.problem
    assert error.hint


def test_what_a_machine_could_not_look_at_in_time_is_refused_with_its_line():
    files = ", ".join(f"/f{number}" for number in range(33))
    error = only(text(HOME + f"    - {{name: office, when: {{file: [{files}]}}}}\n"))
    assert (error.code, error.line) == ("definition.criteria", 6)
    error = only(text(HOME + "    - {name: office, when: {file: /x}}\n", more="  location_check: 9s\n"))
    assert (error.code, error.line) == ("definition.location_check", 6)


def test_f_g4_a_rule_on_the_manager_alone_is_taken_by_force():
    written = text(HOME + "    - {name: office, when: {manager: reachable}}\n")
    assert defined(written, force=True).locations[1].when is not None


INHERITS = HEAD.replace("inherits: false", "inheritance: {communication: false, policies: {files: false}}")


def test_f_g3_an_inherited_location_can_be_used():
    group = defined(
        text("    - {name: office, policies: {files: motd}, communication: {mode: pull}}\n", head=INHERITS)
    )
    assert not group.locations[0].is_edit


@pytest.mark.parametrize(
    ("locations", "more", "hint"),
    [
        (OFFICE, "", "inheritance.locations: false"),
        (HOME, "", "inheritance.locations: false"),
        ("    - {name: office, policies: {otelcol: col}}\n", "", "inheritance.policies.otelcol: false"),
        (
            "    - {name: office, policies: {files: motd}}\n",
            "  location_check: 10s\n",
            "inheritance.locations: false",
        ),
    ],
)
def test_f_g3_an_inherited_location_cannot_be_edited(locations, more, hint):
    error = only(text(locations, more=more, head=INHERITS))
    assert error.code == "definition.inherited"
    assert hint in error.hint
    assert error.line >= 6


def test_f_c2_settings_of_a_location_need_settings_of_the_group():
    head = HEAD.replace("inherits: false", "inherits: true")
    error = only(text("    - {name: office, communication: {mode: pull}}\n", head=head))
    assert (error.code, error.line) == ("definition.inherited", 7)
    assert "inheritance.communication: false" in error.hint


@pytest.mark.parametrize("key", ["inherits: false", "inherits: true", "inheritance: {locations: false}"])
def test_f_g1_the_root_has_no_box_to_check_or_uncheck(key):
    error = only(f"apiVersion: popham/v1\nkind: Group\nmetadata: {{name: fleet}}\nspec:\n  {key}\n")
    assert (error.code, error.line) == ("definition.root", 5)


@pytest.mark.parametrize(
    "settings",
    ["times: [{from: 08:00, to: 18:00, dialer: manager}]", "metered: {preset: Pull by visit}", "data: {dialer: manager}", "preset: Push over the Manager's connection"],
)  # fmt: skip
def test_f_c3_the_manager_may_dial_at_some_times_of_day_or_for_data_alone(settings):
    files = [SourceFile("a.yaml", f"{HEAD}  communication:\n    {settings}\n")]
    (group,) = check(files).groups
    found = settings_from_definition(group.communication, CommunicationSettings())
    assert Dialer.MANAGER in found.dialers


def test_f_g3_check_is_within_a_second_and_an_hour():
    for value in ("0.5s", "2h", "5x", "10"):
        with pytest.raises(DefinitionError):
            defined(text(HOME, more=f"  location_check: {value}\n"))
