"""Rollouts as people see them: counts, and what happens next in a sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from popham.manager.judgement import show_span
from popham.manager.rollout_views import RolloutView, Troubled, WaveView
from popham.manager.rollouts import StoredRollout
from popham.model.rollout import PPM, Action, Rollout, RolloutState, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How the cohort of a rollout was doing when it was last looked at.

    Attributes:
        tally: In agents.
        errors: The first that failed or fell silent.
        stuck: Those that are waited for, the first by name.
    """

    tally: Tally = field(default_factory=Tally)
    errors: tuple[Troubled, ...] = ()
    stuck: tuple[Troubled, ...] = ()


def view_rollout(
    stored: StoredRollout,
    progress: Progress | None,
    now: float,
    *,
    detailed: bool = False,
    holding: int | None = None,
) -> RolloutView:
    """Return the view of one rollout.

    Args:
        stored: As it is stored.
        progress: Of a rollout that goes on; None for what is stored.
        now: Unix seconds.
        detailed: Name agents.
        holding: Agents that still have what was halted; None if unknown.
    """
    rollout = stored.rollout
    going = rollout.state in {RolloutState.HELD, RolloutState.RUNNING, RolloutState.PAUSED}
    if progress is None or not going:
        progress = Progress(tally=stored.tally, errors=stored.errors)
    return RolloutView(
        id=rollout.id,
        state=str(rollout.state),
        reason=rollout.reason,
        since=rollout.since,
        by=rollout.by,
        next=_next(rollout, progress.tally, now, holding),
        author=stored.author,
        at=stored.at,
        message=stored.message,
        changes=tuple(sorted(stored.former)),
        groups=tuple(sorted(stored.groups)),
        wave=rollout.current + 1,
        waves=tuple(
            WaveView(
                share=wave.ppm / PPM,
                began=wave.began,
                settled=wave.settled,
                ended=wave.ended,
                marks=dict(wave.marks),
            )
            for wave in rollout.waves
        ),
        soak=rollout.terms.soak,
        halt_on=rollout.terms.halt_on,
        **asdict(progress.tally),
        errors=progress.errors if detailed else (),
        stuck=progress.stuck if detailed else (),
    )


def show_share(ppm: int) -> str:
    """Return a share for people: ``1 %``."""
    return f"{ppm * 100 / PPM:g} %"


def _held(state: RolloutState, holding: int | None) -> str:
    """Return what holds while a rollout is stopped; empty if it is over."""
    if state is RolloutState.PAUSED:
        return "nothing widens"
    if state is not RolloutState.HALTED:
        return ""
    if holding:
        have = "1 agent still has it" if holding == 1 else f"{holding} agents still have it"
        return f"nobody begins it, and {have}, until the next contact"
    return "nobody begins it, and who has it goes back" if holding is None else "nobody has it now"


def _stopped(rollout: Rollout, tally: Tally, holding: int | None) -> str:
    """Return what may be done about a rollout that does not go on by itself; empty if it is over."""
    if rollout.state is RolloutState.HELD:
        who = f"{tally.named} of {tally.agents} have it by name" if tally.named else "nobody applies it"
        return f"{who}: popham op apply AGENT, or popham rollout resume {rollout.id}"
    held = _held(rollout.state, holding)
    return held and f"{held}: popham rollout resume {rollout.id}, or popham rollout undo {rollout.id}"


def _next(rollout: Rollout, tally: Tally, now: float, holding: int | None) -> str:
    """Return what happens next, and when; empty if it is over."""
    if rollout.state is not RolloutState.RUNNING:
        return _stopped(rollout, tally, holding)
    action, why = rollout.decide(tally, now=now)
    last = rollout.current == len(rollout.waves) - 1
    step = "all have it for good" if last else f"wave {rollout.current + 2} ({show_share(_after(rollout))})"
    if action is Action.HALT:
        return f"it halts: {why}"
    if action is not Action.WAIT:
        return f"{step} begins now" if not last else f"{step} now"
    if tally.agents and not tally.cohort:
        return f"{why}: popham rollout promote {rollout.id}, or popham rollout undo {rollout.id}"
    left = rollout.wave.settled + rollout.terms.soak - now
    if not rollout.wave.settled or left <= 0:
        soaks = "" if rollout.wave.settled else f"it soaks for {show_span(rollout.terms.soak)}, then "
        return f"{why}; then {soaks}{step}"
    return f"{step} in {show_span(left)}, if the cohort bears it"


def _after(rollout: Rollout) -> int:
    return rollout.waves[rollout.current + 1].ppm
