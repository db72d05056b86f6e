"""Whether the candidate of a rollout is in force, as ``apply`` tells it (F.O4, F.Y9)."""

from dataclasses import dataclass, replace

import pytest

from popham.model.operation import Kind
from popham.model.status import Outcome
from popham.testing.virtual import pass_time

DONE = ("succeeded", "")


@dataclass
class _Newest:
    """The newest bundle as far as ``apply`` looks at it."""

    rollout: str = "r12"
    serial: int = 5
    uses_candidate: bool = True
    resolved: str = "c" * 64

    def __getattr__(self, name):
        if name in {"bundle", "whole", "held"}:
            return _Whole(self)
        raise AttributeError(name)


@dataclass
class _Whole:
    of: _Newest
    group: str = "fleet"
    issued: int = 0

    def __getattr__(self, name):
        if name == "rollout":
            return self if self.of.rollout else None
        found = {"id": "rollout", "serial": "serial", "resolved_digest": "resolved"}
        return getattr(self.of, found[name])


APPLY = {"group": "fleet", "serial": 5, "rollout": "r12"}


@pytest.fixture
def holding(ordered):
    """Return a machine that holds a candidate, and whose orders say to use the stable side still."""
    ordered.enforcer.assignment = _Whole(None)
    ordered.enforcer.newest = _Newest(uses_candidate=False, resolved="a" * 64)
    ordered.enforcer.candidate = "c" * 64
    ordered.enforcer.progress = replace(
        ordered.enforcer.progress, outcome=Outcome.APPLIED, applied_resolved="a" * 64, applied_serial=4
    )
    return ordered


def test_f_o4_an_apply_is_done_when_the_candidate_is_in_force(holding):
    async def story():
        nonce = holding.give(Kind.APPLY, APPLY)
        holding.operations.settled()
        assert holding.of(nonce) == ("running", "")
        enforcer = holding.enforcer
        enforcer.newest = _Newest()
        enforcer.progress = replace(enforcer.progress, outcome=Outcome.APPLYING)
        holding.operations.settled()
        await holding.restart()
        assert holding.of(nonce) == ("running", "")
        enforcer.progress = replace(
            enforcer.progress, outcome=Outcome.APPLIED, applied_resolved="c" * 64, applied_serial=5
        )
        holding.operations.settled()
        assert holding.of(nonce) == DONE
        assert holding.said[0].text == "serial 5 is in force"

    holding.tell_story(story)


def test_f_o4_an_apply_fails_with_the_reason_for_which_the_candidate_is_not_in_force(holding):
    async def story():
        nonce, enforcer = holding.give(Kind.APPLY, APPLY), holding.enforcer
        enforcer.newest = _Newest()
        enforcer.progress = replace(
            enforcer.progress, outcome=Outcome.FAILED, error_code="policy.root", error="not under a root"
        )
        holding.operations.settled()
        assert holding.of(nonce) == ("failed", "policy.root")
        assert "not under a root" in holding.said[0].text

    holding.tell_story(story)


@pytest.mark.parametrize(
    ("resolved", "said"), [("c" * 64, DONE), ("d" * 64, ("failed", "operation.superseded"))]
)
def test_f_o4_an_apply_of_a_rollout_that_is_over_is_judged_by_what_was_held(holding, resolved, said):
    async def story():
        nonce, enforcer = holding.give(Kind.APPLY, APPLY), holding.enforcer
        enforcer.newest = _Newest(rollout="", serial=6, uses_candidate=False, resolved=resolved)
        enforcer.progress = replace(enforcer.progress, applied_resolved=resolved, applied_serial=6)
        holding.operations.settled()
        assert holding.of(nonce) == said

    holding.tell_story(story)


def test_f_o4_an_apply_that_is_not_done_in_time_or_in_another_group_fails(holding):
    async def story():
        elsewhere = holding.give(Kind.APPLY, APPLY | {"group": "web"})
        late = holding.give(Kind.APPLY, APPLY)
        taken_back = holding.give(Kind.APPLY, APPLY)
        holding.operations.settled()
        holding.cancel(taken_back)
        assert holding.of(elsewhere) == ("failed", "operation.group")
        assert holding.of(taken_back) == ("cancelled", "operation.cancelled")
        await pass_time(700)
        assert holding.of(late) == ("failed", "operation.late")

    holding.tell_story(story)
