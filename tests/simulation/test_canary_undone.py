"""The worst day: a policy that validates and then blocks the Manager, on a canary of 200, and the Manager dies too."""

from popham.manager.answers import explain_why
from popham.manager.definitions import Terms
from popham.model.rollout import RolloutTerms
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB
from .test_undoing import KNOWN, settings, watched

__all__ = ["settings"]
MACHINES = 200
MOST = 2
"""Machines that it may reach: 1 %. Source: guarantees, SEC-42."""


def times_of(simulation, agents):
    """Return machine → spans in which the second revision was in force there; filled as time passes."""
    spans = {}
    for agent in agents:
        apply = agent.applier.apply

        async def applied(policies, agent=agent, apply=apply):
            await apply(policies)
            now = simulation.clock.now()
            bad = any(one.ref.revision == 2 for one in policies)
            held = spans.setdefault(agent.name, [])
            if bad and not (held and held[-1][1] is None):
                held.append([now, None])
            elif not bad and held and held[-1][1] is None:
                held[-1][1] = now

        agent.applier.apply = applied
    return spans


def test_rel_11_sec_42_a_policy_that_blocks_the_manager_hits_two_of_200_and_they_are_back(simulate, settings):
    async def story(simulation):
        agents = await watched(simulation, settings, MACHINES)
        spans = times_of(simulation, agents)
        terms = Terms(rollout=RolloutTerms.of((0.01,)))
        await simulation.manager.publish(LAB.format(text="blocks"), terms)
        while not any(agent.applied == ("motd@2",) for agent in agents):  # virtual time
            await pass_time(0.1)
        await simulation.manager.crash()
        await pass_time(KNOWN + 2 * HEARTBEAT)
        assert {agent.applied for agent in agents} == {("motd@1",)}, "each went back without the Manager"
        await simulation.manager.start()
        await pass_time(10 * HEARTBEAT)
        view = await simulation.manager.service.rollout(ADMIN, "r1")
        hit = sorted(name for name, held in spans.items() if held)
        assert 1 <= len(hit) <= MOST
        assert view.state == "halted"
        assert [one.code for one in view.errors] == ["policy.undone_contact"] * len(view.errors)
        assert {one.name for one in view.errors} <= set(hit)
        for name in hit:
            assert len(spans[name]) <= 2, "tried once more when contact returned, and no more"
            late = settings.heartbeat if settings.mode == "pull" else 0
            assert all(end - begin <= KNOWN + late + 12 for begin, end in spans[name])
        await pass_time(10 * HEARTBEAT)
        assert {agent.applied for agent in agents} == {("motd@1",)}
        seen = await simulation.manager.service.agent(ADMIN, view.errors[0].name)
        why = explain_why(seen)
        assert "halted" in why.sentence
        assert "no server could be reached" in why.sentence

    simulate(story)
