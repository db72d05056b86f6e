from hypothesis import given, settings
from hypothesis import strategies as st
from tests.resolve.conftest import REFS, ref, trees

from popham.model.bundle import Bundle
from popham.model.communication import CommunicationSettings
from popham.model.fleet import Group, Tree
from popham.resolve.build import build_bundle, next_version, resign

TREE = Tree(
    [
        Group(
            name="fleet", inherits=False, policies={"files": "motd"}, communication=CommunicationSettings()
        ),
        Group(name="paris", parent="fleet"),
    ]
)
NOW = 1_800_000_000.25


def built(previous=None, revision=1, now=NOW):
    return build_bundle(TREE, {"motd": ref("motd", revision=revision)}, "paris", previous=previous, now=now)


def test_the_first_bundle_has_serial_one_and_the_time_as_version():
    first = built()
    assert (first.serial, first.version, first.issued, first.prev) == (
        1,
        1_800_000_000_250,
        1_800_000_000,
        "",
    )


def test_f_y2_without_a_change_of_content_there_is_no_next_bundle():
    assert built(previous=built(), now=NOW + 7 * 86400) is None


def test_f_y2_serial_rises_by_one_when_content_changes():
    first = built()
    second = built(previous=first, revision=2)
    assert (second.serial, second.prev) == (2, first.content_digest)
    assert built(previous=second, revision=1).serial == 3


def test_f_y2_signing_again_raises_the_version_only():
    first = built()
    again = resign(first, now=NOW + 60)
    assert (again.serial, again.content_digest) == (first.serial, first.content_digest)
    assert again.version == first.version + 60_000
    assert built(previous=again) is None


def test_the_version_rises_even_if_the_clock_goes_back():
    assert next_version(2_000_000_000_000, NOW) == 2_000_000_000_001
    assert next_version(0, NOW) == 1_800_000_000_250


@given(
    trees(), st.lists(st.sampled_from(["change", "same", "resign", "reload"]), max_size=6), st.floats(0, 4e9)
)
@settings(max_examples=60)
def test_f_y2_serial_counts_changes_of_content_and_nothing_else(tree, steps, now):
    refs = dict(REFS)
    held = build_bundle(tree, refs, "fleet", previous=None, now=now)
    serial = 1
    for number, step in enumerate(steps, start=2):
        before = held
        if step == "change":
            refs = {name: ref(name, old.type, revision=number) for name, old in refs.items()}
            following = build_bundle(tree, refs, "fleet", previous=held, now=now)
            assert (following is not None) == bool(held.blobs())
            held = following or held
            serial += following is not None
        elif step == "same":
            assert build_bundle(tree, refs, "fleet", previous=held, now=now + number) is None
        elif step == "resign":
            held = resign(held, now=now)
            assert held.version > before.version
        else:
            held = Bundle.from_payload(held.payload())
        assert held.serial == serial
        assert held.version >= before.version
