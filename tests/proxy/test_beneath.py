"""What comes from above reaches agents in touch, and the schedule of visits of all others."""

from popham.proxy.beneath import Beneath


class Noting:
    """A hub, visits, and their targets: notes what it is told."""

    def __init__(self, answers=()):
        self.said = []
        self._answers = dict(answers)
        self.targets = self

    def __getattr__(self, name):
        def note(*what):
            self.said.append((name, *what))
            return self._answers.get(name)

        return note


def test_what_groups_and_agents_are_to_have_is_said_to_both():
    hub, visits = Noting(), Noting()
    beneath = Beneath(hub, visits)
    beneath.changed(name for name in ("lab", "desk"))
    beneath.tell("u")
    beneath.tell_orders(["u"])
    beneath.drop("v", "gone")
    names = ("lab", "desk")
    assert hub.said == [("changed", names), ("tell", "u"), ("tell_orders", ["u"]), ("drop", "v", "gone")]
    assert visits.said == [("groups_changed", names), ("agent_changed", "u"), ("agent_changed", "v")]


def test_who_holds_no_link_is_visited_when_it_is_asked_for():
    for held, visited in ((True, False), (False, True), (False, False)):
        hub, visits = Noting({"check_in": held}), Noting({"hasten": visited})
        assert Beneath(hub, visits).check_in("u") is (held or visited)
        assert visits.said == ([] if held else [("hasten", "u")])
