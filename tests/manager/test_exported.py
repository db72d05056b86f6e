"""What is exported defines what is stored: here, and on a Manager that has nothing yet."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.manager.conftest import ADMIN, VIEWER, group, otelcol

from popham.errors import GrantError
from popham.manager.exported import write_group
from popham.manager.merge import merge, parents_first
from popham.model.cell import Cell, Mode
from popham.model.communication import CommunicationSettings
from popham.model.criteria import Condition, Kind
from popham.model.definition import check
from popham.model.documents import SourceFile
from popham.model.expectation import Expectation
from popham.model.fleet import COMMUNICATION, LOCATIONS, Group, Tree
from popham.model.location import Location, LocationRules, LocationValues
from popham.model.schedule import Override, Period
from popham.model.servers import Server
from popham.model.yaml_text import write_yaml
from popham.resolve.resolved import resolve_locations

TYPES = ("files", "otelcol")
NAMES = {"files": ("motd", "issue"), "otelcol": ("col",)}
BEATS = st.sampled_from([1.0, 30.0, 90.5, 300.0, 86400.0, 0.1 + 1.2])
OVERRIDES = st.builds(Override, mode=st.sampled_from(list(Mode)), heartbeat=st.none() | BEATS)
SETTINGS = st.builds(
    CommunicationSettings,
    mode=st.sampled_from(list(Mode)),
    heartbeat=BEATS,
    spread=st.sampled_from([0.0, 12.5, 300.0]),
    download=st.booleans(),
    critical=st.booleans(),
    accelerated=st.sampled_from([0.0, 30.0, 7.25]),
    data=st.none() | st.builds(Cell, mode=st.sampled_from(list(Mode))),
    times=st.lists(
        st.builds(
            Period,
            days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
            begin=st.integers(0, 1439),
            end=st.integers(0, 1440),
            override=OVERRIDES,
        ),
        max_size=2,
    ).map(tuple),
    metered=st.none() | OVERRIDES,
    servers=st.sampled_from([(), (Server(1, "https://a.example:4320"), Server(2, "https://b.example:4320"))]),
    hold=st.sampled_from([300.0, 61.0]),
)
PLACES = ("default", "home", "office", "shop")
RULES = st.builds(
    lambda names, default, weight, look, remembers: LocationRules(
        locations=(
            Location(name=default),
            *(
                Location(name=name, weight=weight, when=Condition(Kind.HOST_NAME, f"{name}-*"))
                for name in names - {default}
            ),
        ),
        default=default,
        check=look,
        remembers=remembers,
    ),
    st.sets(st.sampled_from(PLACES)),
    st.sampled_from(PLACES),
    st.integers(0, 9),
    st.sampled_from([30.0, 5.0]),
    st.booleans(),
)


@st.composite
def trees(draw, *, lost=False):
    """Draw groups as they could be stored; ``lost``: also with values for a location that they do not have."""
    groups = {}
    for number in range(draw(st.integers(1, 5))):
        name = f"g{number}" if number else "fleet"
        parent = draw(st.sampled_from(sorted(groups))) if number else ""
        inherits = draw(st.booleans()) if number else False
        items = [item for item in (*TYPES, COMMUNICATION, LOCATIONS) if number and draw(st.booleans())]
        made = Group(
            name=name, parent=parent, inherits=inherits, exceptions=dict.fromkeys(items, not inherits)
        )
        own = [item for item in (*TYPES, COMMUNICATION, LOCATIONS) if not made.inherits_item(item)]
        assigned = {kind: draw(st.sampled_from([None, *NAMES[kind]])) for kind in TYPES if kind in own}
        groups[name] = Group(
            name=name,
            parent=parent,
            inherits=inherits,
            exceptions=made.exceptions,
            policies={kind: held for kind, held in assigned.items() if held},
            communication=draw(SETTINGS) if COMMUNICATION in own else None,
            locations=draw(RULES) if LOCATIONS in own else None,
            values={},
            labels=draw(st.dictionaries(st.sampled_from(["env", "role"]), st.text("ab: ", max_size=4))),
            annotations=draw(st.sampled_from([{}, {"note": "a: b"}])),
            tests=draw(
                st.sampled_from([(), (Expectation(name="t", group="fleet", policies={"files": None}),)])
            ),
            minimum_serial=draw(st.sampled_from([0, 7])),
        )
        places = resolve_locations(Tree(groups.values()), name).value.names
        for place in [*places, "moon"] if lost else places:
            kinds = {kind for kind in TYPES if kind in own and draw(st.booleans())}
            held = LocationValues(
                policies={kind: draw(st.sampled_from([None, *NAMES[kind]])) for kind in kinds},
                communication=draw(SETTINGS.map(_downloading))
                if COMMUNICATION in own and draw(st.booleans())
                else None,
            )
            if held != LocationValues():
                groups[name].values[place] = held
    return groups


def _downloading(held):
    return CommunicationSettings.from_dict({**held.as_dict(), "download": True})


def applied(groups, before):
    """Return the groups that the export of ``groups`` makes of those ``before``."""
    tree = Tree(groups.values())
    files = [SourceFile(name, write_yaml(write_group(tree, name))) for name in groups]
    after = dict(before)
    for definition in parents_first(check(files)):
        after[definition.name] = merge(definition, before, after)
    return after


@settings(max_examples=60, deadline=None)
@given(trees(lost=True))
def test_f_y6_applying_an_export_changes_nothing(groups):
    assert applied(groups, groups) == groups


@settings(max_examples=60, deadline=None)
@given(trees())
def test_f_y6_an_export_makes_the_same_groups_on_another_manager(groups):
    root = Group(
        name="fleet", inherits=False, communication=CommunicationSettings(), locations=LocationRules()
    )
    assert applied(groups, {"fleet": root}) == groups


MOTD = """
apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec:
  type: files
  private_to: paris
  files:
    - content: "Hello,\\nworld.\\n"
      path: /etc/popham.d/motd
"""
RULE = "apiVersion: popham/v1\nkind: Placement\nmetadata: {name: tills}\nspec: {order: 0, selector: role=till, group: paris}\n"


async def fill(bench):
    await bench.apply(
        MOTD,
        otelcol(),
        group(
            "paris",
            "{inheritance: {policies: {files: false}}, policies: {files: motd}}",
            ", labels: {env: prod}",
        ),
        RULE,
    )


async def test_f_y6_an_export_of_a_manager_is_stable_and_reads_well(bench):
    await fill(bench)
    files, warnings = await bench.service.export(ADMIN)
    assert warnings == ()
    assert [file.name for file in files] == [
        "groups/fleet.yaml",
        "groups/paris.yaml",
        "placements/tills.yaml",
        "policies/col.yaml",
        "policies/motd.yaml",
    ]
    assert files[1].text.splitlines() == [
        "apiVersion: popham/v1",
        "kind: Group",
        "metadata:",
        "  name: paris",
        "  labels:",
        "    env: prod",
        "spec:",
        "  parent: fleet",
        "  inherits: true",
        "  inheritance:",
        "    policies:",
        "      files: false",
        "  policies:",
        "    files: motd",
    ]
    told = list(bench.told)
    result = await bench.apply(*(file.text for file in files))
    assert {change.action for change in result.changes} == {"unchanged"}
    assert bench.told == told
    assert await bench.service.export(ADMIN) == (files, warnings)


async def test_f_y6_a_policy_is_written_in_the_order_in_which_people_write_it(bench):
    await fill(bench)
    files, _ = await bench.service.export(ADMIN)
    assert files[4].text.partition("spec:\n")[2].splitlines() == [
        "  type: files",
        "  private_to: paris",
        "  files:",
        "    - path: /etc/popham.d/motd",
        "      content: |",
        "        Hello,",
        "        world.",
        '      mode: "0644"',
    ]


async def test_f_y6_an_export_has_secrets_and_is_for_admins(bench):
    with pytest.raises(GrantError, match="may not"):
        await bench.service.export(VIEWER)
