"""Answers to *why*: where each value of an agent comes from, and why it is where it is.

Everything is computed when somebody asks, from one snapshot.

Source: rows F.G6 and F.Y19.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from popham.errors import NotFoundError
from popham.manager.base import who
from popham.manager.judgement import show_span
from popham.manager.objects import read_lineage
from popham.manager.roster import read_record
from popham.manager.views import AgentView, Explained, ExplainedStep, Explanation, Why
from popham.manager.visit_why import comes, failing
from popham.model.cell import Dialer, Mode
from popham.model.communication import CommunicationSettings, show_duration
from popham.model.fleet import COMMUNICATION, LOCATIONS, Admission, AgentKind, Tree
from popham.model.names import nearest, show
from popham.model.policy import STOCK_TYPES
from popham.model.rollout import RolloutState
from popham.model.status import Presence, SyncState
from popham.resolve.explain import explain, show_communication, show_locations
from popham.resolve.resolved import (
    Origin,
    find_location,
    resolve_assignments,
    resolve_communication,
    resolve_locations,
)
from popham.store.rows import AgentRow
from popham.store.seam import Reading


def _switch(value: bool) -> str:  # one value of a table of readers
    return "on" if value else "off"


_DAY = 86400.0
_FIND = "Find what changes it there; or change the policy; or let the machine have its way: 'locked: false'"
_UNBLOCK = "On the machine, remove what stands in the way; it is tried again within five minutes"
_SETTINGS: dict[str, Callable[[CommunicationSettings], str]] = {
    "preset": lambda held: str(held.preset),
    "heartbeat": lambda held: show_duration(held.heartbeat),
    "spread": lambda held: show_duration(held.spread) if held.spread else "off",
    "download": lambda held: _switch(held.download),
    "upload": lambda held: _switch(held.upload),
    "critical": lambda held: _switch(held.critical),
    "accelerated": lambda held: show_duration(held.accelerated) if held.accelerated else "off",
    "data": lambda held: str(held.data.preset) if held.data else "as the orders",
    "times": lambda held: "; ".join(period.describe() for period in held.times) or "none",
    "metered": lambda held: held.metered.describe() if held.metered else "none",
    "servers": lambda held: (
        " ".join(f"{one.url} ({one.priority})" for one in held.servers) or "those of the join string"
    ),
    "hold": lambda held: show_duration(held.hold),
    "never_dial": lambda held: "yes" if held.never_dial else "no",
}
"""Setting → its value in words."""


def explain_agent(reading: Reading, row: AgentRow, *, setting: str = "", location: str = "") -> Explanation:
    """Return each value that is to hold for an agent, with where it comes from and what it hides.

    Args:
        reading: One snapshot.
        row: The agent.
        setting: One only: a policy type, ``locations``, or a communication setting such as ``heartbeat``.
        location: Where it would be; empty for where it says it is.

    Raises:
        NotFoundError: ``not_found.setting`` or ``not_found.location``.
    """
    tree = read_lineage(reading, row.group)
    rules = resolve_locations(tree, row.group)
    record = read_record(row)
    known = record.location if record and record.location in rules.value.names else ""
    at = find_location(rules.value, row.group, location or known)
    items = list(_explained(tree, row, at))
    if setting:
        item = "preset" if setting == COMMUNICATION else setting
        chosen = [one for one in items if one.setting == item]
        if not chosen:
            hint = nearest(setting, [one.setting for one in items])
            raise NotFoundError("setting", f"there is no setting {show(setting)}", hint)
        items = chosen
    return Explanation(
        name=row.name,
        uid=row.uid,
        group=row.group,
        location=at,
        rules=record.rules if record and record.location == at else (),
        items=tuple(items),
        steps=tuple(_steps(tree, row.group, at, setting)) if setting else (),
    )


def _explained(tree: Tree, row: AgentRow, location: str) -> Iterator[Explained]:
    for kind, origin in sorted(resolve_assignments(tree, row.group, location).items()):
        taken = row.kind != AgentKind.STOCK or kind in STOCK_TYPES
        yield _show(
            kind, origin, lambda name: name or "none", note="" if taken else "a stock agent takes none"
        )
    communication = resolve_communication(tree, row.group, location)
    for name, words in _SETTINGS.items():
        yield _show(name, communication, words)
    yield _show(LOCATIONS, resolve_locations(tree, row.group), show_locations)


def _show(setting: str, origin: Origin[Any], words: Callable[[Any], str], note: str = "") -> Explained:
    hidden = origin.overrides
    value = words(origin.value)
    overrides = ""
    if hidden is not None and words(hidden.value) != value:
        place = f"{hidden.group}/{hidden.location}" if hidden.location else hidden.group
        overrides = f"{words(hidden.value)} of {place}"
    return Explained(
        setting=setting,
        value=value,
        group=origin.group,
        location=origin.location,
        inherited=origin.inherited,
        overrides=overrides,
        note=note,
    )


def _steps(tree: Tree, group: str, location: str, setting: str) -> Iterator[ExplainedStep]:
    item = COMMUNICATION if setting in {*_SETTINGS, COMMUNICATION} else setting
    here = _of_location(tree, group, location, item)
    for step in explain(tree, group, item):
        if here and step.holds:
            yield here
        yield ExplainedStep(
            group=step.group, value=step.value, inherits=step.inherits, holds=step.holds and here is None
        )


def _of_location(tree: Tree, group: str, location: str, item: str) -> ExplainedStep | None:
    """Return what a location has of its own of an item; None if it has its group's."""
    if item == LOCATIONS:
        return None
    origin: Origin[Any]
    if item == COMMUNICATION:
        origin = resolve_communication(tree, group, location)
        value = show_communication(origin.value)
    else:
        origin = resolve_assignments(tree, group, location)[item]
        value = origin.value or "none"
    if not origin.location:
        return None
    place = f"{origin.group}/{origin.location}"
    return ExplainedStep(group=place, value=value, inherits=False, holds=True)


def explain_why(view: AgentView) -> Why:
    """Return one sentence about an agent's state, and the next step."""
    sentence, step = _why(view)
    here = ""
    if view.kind == AgentKind.OWN and view.location:
        here = f"in location {view.location}" + (f" because {', '.join(view.rules)}" if view.rules else "")
    return Why(
        name=view.name,
        uid=view.uid,
        presence=view.presence,
        link="connected" if view.connected else "none",
        sync=view.sync,
        sentence=sentence,
        step=step,
        here=here,
        since=_since(view),
    )


def _since(view: AgentView) -> float | None:
    """Return since when an agent is where it is, as far as it says so."""
    if view.sync == SyncState.DRIFTED:
        return view.detail.get("drift_at") or None
    is_new = view.detail.get("content_digest") == view.detail.get("wanted_digest")
    return None if view.sync == SyncState.PENDING and not is_new else view.since


def _why(view: AgentView) -> tuple[str, str]:
    return _outside(view) or _unreached(view) or _silent(view) or _BY_SYNC[SyncState(view.sync)](view)


def _outside(view: AgentView) -> tuple[str, str] | None:
    if view.admission == Admission.ACCEPTED:
        return None
    if view.admission == Admission.NEW:
        return "waits to be accepted", f"popham accept agent {view.name}"
    return f"{view.admission}: it is given nothing", f"popham accept agent {view.name}, to take it back"


def _unreached(view: AgentView) -> tuple[str, str] | None:
    """Return why visits fail of an agent that does not come another way; None if they do not."""
    visit = view.visit
    if visit is None or not visit.code or comes(visit) or view.detail.get("unvisited"):
        return None
    if view.dialer == Dialer.AGENT and view.presence == Presence.ON_TIME:
        return None  # it has not taken, or cannot take, what has it visited
    sentence = failing(visit, _now(view))
    if view.presence != Presence.ON_TIME and view.age is not None:
        sentence = f"not seen for {show_span(view.age)}: {sentence}"
    return sentence, visit.hint or f"Once that is put right: popham check-in {view.name}"


def _now(view: AgentView) -> float:
    return (view.last_contact or 0.0) + (view.age or 0.0)


def _silent(view: AgentView) -> tuple[str, str] | None:
    if view.presence == Presence.NEVER_SEEN:
        return "has never been in touch", "On the machine: popham agent status, then popham agent doctor"
    if view.presence == Presence.ON_TIME:
        return None
    age, promise = show_span(view.age or 0.0), show_span(_promise(view))
    sentence = f"not seen for {age}, though it promised to come every {promise}"
    return sentence, "On the machine: popham agent status, then popham agent doctor"


def _in_sync(view: AgentView) -> tuple[str, str]:
    held = f"has serial {view.applied}" if view.applied else "has what it should have"
    unsupported = view.detail.get("unsupported") or ()
    if unsupported:
        kinds = ", ".join(unsupported)
        return f"{held}, except policies of type {kinds}, which it cannot apply", "Upgrade the agent"
    if view.mode == Mode.PUSH and not view.connected and view.kind == AgentKind.OWN:
        if view.visit is not None and comes(view.visit):
            return f"{held}; {failing(view.visit, _now(view))}", view.visit.hint
        return f"{held}, but holds no link, though its mode is push", "On the machine: popham agent status"
    if view.detail.get("unvisited"):
        return f"{held}, and dials by itself: {view.detail['unvisited']}", view.detail["unvisited_step"]
    sentence, step = _in_rollout(view, held) or (held, "")
    back = _put_back(view)
    return (f"{sentence}; {back}", step or _FIND) if back else (sentence, step)


def _put_back(view: AgentView) -> str:
    """Return what drifted and was put back today; empty if nothing was."""
    detail = view.detail
    count, at = int(detail.get("put_back") or 0), float(detail.get("drift_at") or 0.0)
    if not count or int(at // _DAY) != int(_now(view) // _DAY):
        return ""
    times = "once" if count == 1 else f"{count} times"
    return f"{detail.get('drift_path')} drifted and was put back {times} today"


def _drifted(view: AgentView) -> tuple[str, str]:
    """Return what differs from the policies now."""
    paths: tuple[str, ...] = tuple(view.detail.get("drifted") or ())
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    back = _put_back(view)
    sentence = f"{paths[0] if paths else 'something'}{more} is not as its policy says"
    error = str(view.detail.get("drift_error") or "")
    if error:
        # It ends with what to do about it, if there is anything to be said.
        sentence = f"{f'{sentence}; {back}' if back else sentence}; it cannot be put back: {error}"
        return sentence, _UNBLOCK
    sentence += ", and is being put back"
    return f"{sentence}; {back}" if back else sentence, _FIND


def _in_rollout(view: AgentView, held: str) -> tuple[str, str] | None:
    """Return how an agent stands to the rollout of its group; None if there is none, or it has what is new."""
    detail = view.detail
    name, serial = detail.get("rollout"), detail.get("rollout_serial")
    if not name:
        return None
    if detail["is_named"]:
        return f"{held}, by name: rollout {name}", f"popham rollout status {name}"
    wave = f"wave {detail['wave']} of {detail['waves']} ({detail['share'] * 100:g} %)"
    if detail["is_candidate"]:
        return f"{held}, as one of the first: rollout {name}, {wave}", f"popham rollout status {name}"
    how, state = wave, detail["rollout_state"]
    if state == RolloutState.HELD:
        return _holding(view, held)
    if state in {RolloutState.HALTED, RolloutState.PAUSED}:
        reason, since = detail.get("rollout_reason"), detail.get("rollout_since")
        how = f"which is {state}, {who(detail['rollout_by'], since)}" if since else f"which is {state}"
        how += f": {reason}" if reason else ""
    sentence = f"{held}; serial {serial} is held back by rollout {name}, {how}"
    if detail.get("rollout_error"):
        sentence += f"; here it was tried: {detail['rollout_error']}"
    return sentence, f"popham rollout status {name}"


def _holding(view: AgentView, held: str) -> tuple[str, str]:
    """Return how an agent stands to a candidate that nobody applies unless it is named."""
    detail = view.detail
    name, serial, error = detail["rollout"], detail["rollout_serial"], detail.get("candidate_error")
    if error:
        step = f"Correct it and apply it anew; or have it looked at again: popham check-in {view.name}"
        return f"{held}; serial {serial} (rollout {name}) cannot be held here: {error}", step
    has = "it holds" if detail.get("candidate") else "it does not hold yet"
    step = f"popham op apply {view.name}, or for all popham rollout resume {name}"
    return f"{held}; serial {serial} (rollout {name}) is a candidate that {has}", step


def _cannot(view: AgentView) -> tuple[str, str]:
    return view.reason, "Let its configuration accept a remote configuration, or run our agent there"


def _distrusting(view: AgentView) -> tuple[str, str] | None:
    """Return why an agent did not believe what came, and the next step; None if it did."""
    code = str(view.detail.get("error_code") or "")
    if not code.startswith("trust."):
        return None
    step = "Check the clocks, and that nobody stands in between; popham describe agent shows the versions"
    if code == "trust.crit":
        step = "Upgrade the agent on the machine: its group uses what it does not know"
    return f"refused what came: {view.detail.get('error')}", step


def _failed(view: AgentView) -> tuple[str, str]:
    distrusting = _distrusting(view)
    if distrusting is not None:
        return distrusting
    code = str(view.detail.get("error_code") or "")
    if code == "policy.not_here":
        return view.reason, _download_on(view)
    if code.startswith("policy.undone_"):
        return view.reason, "Publish what this machine bears, or go back: popham rollback policy NAME --to N"
    step = (
        f"Correct the policy and apply it, or on the machine what it needs; then popham check-in {view.name}"
    )
    return view.reason or "could not apply its policies", step


def _pending(view: AgentView) -> tuple[str, str]:
    distrusting = _distrusting(view)
    if distrusting is not None:
        return distrusting
    reason = view.reason or "waits"
    detail = view.detail
    is_new = detail.get("content_digest") == detail.get("wanted_digest")
    step = (_kept_back(view) if is_new else "") or _step_of_visits(view, is_new=is_new)
    if step:
        return reason, step
    if view.connected:
        return reason, f"Wait a moment, then: popham describe agent {view.name}"
    if view.kind == AgentKind.OWN and detail.get("serial", 0) > view.wanted:
        return reason, f"popham check-in {view.name}: it will show what it holds"
    if _awaits_heartbeat(view, is_new=is_new):
        return reason, "On the machine: popham agent check-in; or give its group push, or a shorter heartbeat"
    return reason, f"popham check-in {view.name}"


def _step_of_visits(view: AgentView, *, is_new: bool) -> str:
    """Return the next step for an agent that the Manager dials, or is to dial; else empty."""
    detail = view.detail
    if "unvisited" in detail and view.reason == detail["unvisited"]:
        return str(detail["unvisited_step"])
    if view.visit is not None and not view.connected and not is_new:
        return f"popham check-in {view.name}: it is visited now"
    return ""


def _kept_back(view: AgentView) -> str:
    """Return the next step for an agent that has the newest bundle and may not apply all of it; else empty."""
    if view.detail.get("download") is False:
        return _download_on(view)
    if view.detail.get("withheld"):
        return f"popham check-in {view.name}; if its group stays below that serial, lower 'minimum_serial'"
    return ""


def _awaits_heartbeat(view: AgentView, *, is_new: bool) -> bool:
    """Return whether an agent that is not connected has yet to hear of what is wanted."""
    if view.kind == AgentKind.STOCK:
        remote: Mapping[str, Any] = view.detail.get("remote", {})
        return bool(remote.get("status") != "APPLYING")
    return view.kind == AgentKind.OWN and not is_new


def _download_on(view: AgentView) -> str:
    return f"Turn it on: 'communication: {{download: on}}' in group {view.group}, and apply it"


def _promise(view: AgentView) -> float:
    if view.next_contact is None or view.last_contact is None:
        return view.heartbeat
    return view.next_contact - view.last_contact


_BY_SYNC: Mapping[SyncState, Callable[[AgentView], tuple[str, str]]] = MappingProxyType(
    {
        SyncState.IN_SYNC: _in_sync,
        SyncState.PENDING: _pending,
        SyncState.FAILED: _failed,
        SyncState.DRIFTED: _drifted,
        SyncState.CANNOT: _cannot,
    }
)
