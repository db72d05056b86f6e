"""The session stories: bodies that are told in each cell, in virtual time and over real sockets.

A stage is what they are told on: agents of one group and one cell, their Manager, and what is between them.
It has ``cell`` and ``heartbeat`` as they are ordered now, and

* ``begin()``: has the agents join and start; ``start()``, ``crash()``, ``leave()``: of all of them;
* ``order(cell, heartbeat)``: gives the group other settings;
* ``publish(text)`` and ``publish_broken()``, which returns why that one fails: change its policy;
* ``text``: what was published last, and can be applied; ``switches``: how often settings go back and forth;
  ``exact``: whether time is virtual, so that it is known what did not happen yet;
* ``has(text)``, ``settled()``, ``records()``: what is in force, whether it is what is to be, what the Manager knows;
* ``heard()``: what is known where the agents are heard: at the Manager, or at the proxy that they are behind;
* ``found()``: whether a Manager that began anew knows where they are;
* ``hop``: seconds that news takes, there and back, between that proxy and the Manager; 0 without one;
* ``sets()``: how many sets each agent was given so far;
* ``check_in()``: asks for a round, at the Manager if that can be, else on the machine;
* ``admit(accepted=…)``: accepts or revokes the agents; ``cut()``, ``heal()``; ``stop_manager()``, ``start_manager()``;
* ``until(holds, seconds)``: waits until that holds, which takes so many seconds at most by its cell, and may take
  longer where time is real; ``quiet(heartbeats)``: lets so many pass, where time is virtual.
"""

from popham.model.cell import Dialer, Mode
from popham.model.status import Outcome
from popham.opamp.session import Ear

LONG = 3600.0
ASKED = 10.0
"""Seconds until a round is over that was asked for: a visitor that finds an agent at work asks once more."""
RECOVERY = 400.0
"""Seconds until an agent comes again at the latest, after nobody answered for long."""


def at_once(stage):
    """Return the seconds that news takes to agents of this cell."""
    return (1.0 if stage.cell[0] is Mode.PUSH else stage.heartbeat + 1.0) + stage.hop


async def see(stage, text, seconds=None):
    """Return once a text is in force, and the Manager knows."""
    await stage.until(lambda: stage.has(text) and stage.settled(), seconds or at_once(stage))


async def in_force(stage):
    """Return the text that is in force, and publish one where there is none."""
    if not stage.text:
        await stage.publish("before all that")
        await see(stage, stage.text)
    assert stage.has(stage.text)
    return stage.text


async def the_first_round_is_at_start(stage):
    await stage.publish("at start")
    await stage.begin()
    # Who is to be visited is not settled before that works.
    await stage.until(lambda: stage.has("at start"), 2.0 + stage.hop)


async def a_change_arrives(stage):
    await stage.publish("one")
    await see(stage, "one")


async def with_a_long_heartbeat_a_link_brings_news_and_a_check_in_asks_for_it(stage):
    usual = stage.heartbeat
    before = await in_force(stage)
    await stage.order(stage.cell, LONG)
    await see(stage, before, 2 * usual + 10 + stage.hop)
    await stage.publish("now")
    if stage.cell[0] is Mode.PULL:
        assert not (stage.exact and stage.has("now"))
        await stage.check_in()
    await see(stage, "now", ASKED + stage.hop)
    await stage.order(stage.cell, usual)
    await stage.check_in()
    await see(stage, "now", ASKED + stage.hop)
    await stage.publish("after")
    await see(stage, "after", 2 * usual + 1 + stage.hop)


async def two_changes_at_once_end_with_the_second(stage):
    await stage.publish("first")
    await stage.publish("second")
    await see(stage, "second")


async def a_manager_that_restarts_finds_its_agents_again(stage):
    """It asks nothing twice."""
    await in_force(stage)
    sets = stage.sets()
    await stage.stop_manager()
    await stage.quiet(3)
    await stage.start_manager()
    # Who was connected to the former one is not known to this one; each session begins anew.
    await stage.until(stage.found, RECOVERY + stage.hop)
    assert stage.settled()
    assert stage.sets() == sets
    await stage.publish("from then on")
    await see(stage, "from then on")


async def an_agent_that_restarts_keeps_its_last_good_set(stage):
    """It catches up."""
    before = await in_force(stage)
    await stage.crash()
    await stage.publish("missed")
    await stage.quiet(3)
    assert stage.has(before)
    assert {one.state.outcome for one in stage.records()} == {Outcome.APPLIED}
    await stage.start()
    # An upstream that dials tries once per interval at least.
    await see(
        stage,
        "missed",
        (at_once(stage) if stage.cell[1] is Dialer.AGENT else stage.heartbeat) + stage.hop + 10,
    )


async def who_says_goodbye_begins_anew(stage):
    before = await in_force(stage)
    await stage.leave()
    await stage.until(lambda: all(one.link is None for one in stage.heard()), 1.0)
    await stage.publish("after it left")
    await stage.quiet(1)
    assert stage.has(before)
    await stage.start()
    await see(stage, "after it left", 2 * stage.heartbeat + stage.hop)


async def a_set_that_fails_is_reported_and_the_next_one_heals_it(stage):
    await in_force(stage)
    reason = await stage.publish_broken()

    def failed():
        found = [one.state for one in stage.records()]
        return all(one.outcome is Outcome.FAILED and reason in one.error for one in found)

    await stage.until(failed, at_once(stage) + 1)
    assert {one.state.error_code.partition(".")[0] for one in stage.records()} == {"policy"}
    await stage.publish("healed")
    await see(stage, "healed", at_once(stage) + 1)


async def a_partition_changes_nothing_and_heals_by_itself(stage):
    before = await in_force(stage)
    await stage.cut()
    await stage.publish("apart")
    await stage.until(lambda: all(one.link is None for one in stage.heard()), 10 * stage.heartbeat)
    assert stage.has(before)
    await stage.heal()
    await see(stage, "apart", RECOVERY + stage.hop)


async def what_the_manager_forgot_is_asked_for_again(stage):
    """The session goes on: nothing is lost, nothing is given twice."""
    await in_force(stage)
    sets = stage.sets()
    for one in stage.heard():
        one.ear, one.settled = Ear(), None
    await stage.until(lambda: all(one.ear.described for one in stage.heard()), 2 * stage.heartbeat + 1)
    assert stage.settled()
    assert stage.sets() == sets


async def another_mode_needs_no_restart_and_misses_nothing(stage):
    mode, dialer = stage.cell
    other = Mode.PULL if mode is Mode.PUSH else Mode.PUSH
    for number, fresh in enumerate([other, mode] * stage.switches):
        await stage.order((fresh, dialer), stage.heartbeat)
        await stage.publish(f"mode {number}")
        await see(stage, f"mode {number}", 3 * stage.heartbeat + stage.hop)
        assert {one.state.mode for one in stage.records()} == {fresh}


async def another_dialer_needs_no_restart_and_misses_nothing(stage):
    mode, dialer = stage.cell
    other = Dialer.MANAGER if dialer is Dialer.AGENT else Dialer.AGENT

    for number, fresh in enumerate([other, dialer]):

        def settled(fresh=fresh):
            return all(one.state.dialer == fresh and not one.state.fallback for one in stage.records())

        await stage.order((mode, fresh), stage.heartbeat)
        await stage.publish(f"dialer {number}")
        await see(stage, f"dialer {number}", 3 * stage.heartbeat + stage.hop)
        await stage.until(settled, 4 * stage.heartbeat + 60 + stage.hop)


async def a_revoked_agent_is_given_nothing_until_it_is_accepted_again(stage):
    before = await in_force(stage)
    await stage.admit(accepted=False)
    await stage.until(lambda: all(one.link is None for one in stage.heard()), 10.0 + stage.hop)
    await stage.publish("withheld")
    await stage.quiet(3)
    assert stage.has(before)
    await stage.admit(accepted=True)
    await see(stage, "withheld", RECOVERY + stage.hop)


STORIES = (
    the_first_round_is_at_start,
    a_change_arrives,
    with_a_long_heartbeat_a_link_brings_news_and_a_check_in_asks_for_it,
    two_changes_at_once_end_with_the_second,
    a_manager_that_restarts_finds_its_agents_again,
    an_agent_that_restarts_keeps_its_last_good_set,
    who_says_goodbye_begins_anew,
    a_set_that_fails_is_reported_and_the_next_one_heals_it,
    a_partition_changes_nothing_and_heals_by_itself,
    what_the_manager_forgot_is_asked_for_again,
    another_mode_needs_no_restart_and_misses_nothing,
    another_dialer_needs_no_restart_and_misses_nothing,
    a_revoked_agent_is_given_nothing_until_it_is_accepted_again,
)
"""All stories; the first one begins by itself, the others are told on a stage that has begun."""
