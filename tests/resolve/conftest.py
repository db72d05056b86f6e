"""Trees for the tests of resolving."""

import pytest
from hypothesis import strategies as st

from popham.model.bundle import PolicyRef
from popham.model.communication import CommunicationSettings, Mode
from popham.model.fleet import Group, Tree

TYPES = ("files", "otelcol")
NAMES = {kind: [f"{kind}-{number}" for number in range(3)] for kind in TYPES}


def ref(name, kind="files", revision=1):
    return PolicyRef(type=kind, name=name, revision=revision, sha256=f"{revision:064x}", length=10)


REFS = {name: ref(name, kind) for kind, names in NAMES.items() for name in names}


@st.composite
def trees(draw):
    """Draw a tree of up to eight groups with own values wherever an item is not inherited."""
    size = draw(st.integers(1, 8))
    groups = []
    for number in range(size):
        parent = "" if number == 0 else groups[draw(st.integers(0, number - 1))].name
        inherits = bool(parent) and draw(st.booleans())
        items = [*TYPES, "communication"]
        exceptions = draw(st.dictionaries(st.sampled_from(items), st.just(not inherits))) if parent else {}
        shell = Group(
            name="fleet" if not parent else f"g{number}",
            parent=parent,
            inherits=inherits,
            exceptions=exceptions,
        )
        policies = {}
        for kind in TYPES:
            own = draw(st.none() | st.sampled_from(NAMES[kind]))
            if own and not shell.inherits_item(kind):
                policies[kind] = own
        settings = None
        if not shell.inherits_item("communication"):
            settings = CommunicationSettings(
                mode=draw(st.sampled_from(Mode)), heartbeat=float(draw(st.integers(1, 600)))
            )
        groups.append(
            Group(
                name=shell.name,
                parent=parent,
                inherits=inherits,
                exceptions=exceptions,
                policies=policies,
                communication=settings,
            )
        )
    return Tree(groups)


@pytest.fixture
def refs():
    return dict(REFS)
