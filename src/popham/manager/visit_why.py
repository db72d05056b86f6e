"""Why an agent is not visited although it should be, or cannot be: one sentence, and the next step. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from popham.link.visits import AWAITED, KEPT, LAPSED, OFF
from popham.manager.judgement import show_span
from popham.manager.visit_places import explain_place
from popham.manager.visit_views import VisitView
from popham.model.fleet import Admission
from popham.upstream.calling import UNHELD

START = "On the machine: popham agent service enable, and popham agent service start"
DEFINE = "Say where it is, and apply it: 'kind: Agent' with its 'address'"
PROXY = "On the machine of that proxy: popham proxy doctor"
WANTED = "its group wants the Manager to dial"
DIAL = "its group wants it to dial"
LOOK = "On the machine: popham agent status says why its dial fails"


@dataclass(frozen=True, slots=True)
class Unvisited:
    """Why an agent is not reached as it is to be, and the next step; it is reached the old way meanwhile."""

    sentence: str
    step: str


_ITSELF: Mapping[str, Unvisited] = MappingProxyType(
    {
        OFF: Unvisited(f"{WANTED}, and its service is off", START),
        KEPT: Unvisited(f"{DIAL}, and its dial has not worked yet, so it is visited as before", LOOK),
    }
)
"""What the code alone says."""


def explain_unvisited(
    fallback: str,
    service: str,
    address: str,
    visit: VisitView | None,
    now: float,
    *,
    proxy: str = "",
    said: str = "",
) -> Unvisited | None:
    """Return why an agent that reports ``fallback`` is not visited; None if it reports no such thing.

    Args:
        fallback: Code of its state record.
        service: Where its service is, as it says.
        address: Of its last contact.
        visit: How it is visited; None if it is not.
        now: Unix seconds.
        proxy: Name of the Proxy Manager that it is at, which is to visit it; empty for none.
        said: Why that one cannot, as it says: code and sentence; empty if it does not say.
    """
    if fallback not in {AWAITED, LAPSED}:
        return _ITSELF.get(fallback)
    if visit is None and proxy:
        return _explain_proxy(proxy, said)
    if visit is None:
        missing = explain_place(service, address) or "this Manager visits nobody"
        step = (
            DEFINE if explain_place(service, address) else "Let it visit: 'enabled' in [visits] of its file"
        )
        return Unvisited(f"{WANTED}, and {missing}", step)
    if visit.code:
        return Unvisited(f"{WANTED}, and {failing(visit, now)}", visit.hint)
    if visit.next is None:
        return Unvisited(f"{WANTED}, which is under way", "Wait a moment")
    wait = show_span(visit.next - now)
    return Unvisited(f"{WANTED}, for the first time in {wait}", "popham check-in: it is visited now")


def _explain_proxy(proxy: str, said: str) -> Unvisited:
    """Return why a Proxy Manager does not visit an agent that is at it."""
    code, _, problem = said.partition(" ")
    if not problem:
        return Unvisited(f"{WANTED}, and {proxy} is to visit it", "popham check-in: it is visited now")
    return Unvisited(f"{WANTED}, and {proxy} cannot visit it: {problem} ({code})", PROXY)


def failing(visit: VisitView, now: float) -> str:
    """Return what is wrong with visits, since when and how often: part of a sentence."""
    if comes(visit):
        return f"no link can be held, so it is visited every {show_span(visit.interval)}: {visit.problem} ({visit.code})"
    since = f" for {show_span(now - visit.since)}" if visit.since is not None and now > visit.since else ""
    times = f", {visit.failures} times" if visit.failures > 1 else ""
    return f"visits fail{since}{times}: {visit.problem} ({visit.code})"


def state_of_definition(visit: VisitView | None, admission: str, proxy: str = "") -> str:
    """Return how visits at a definition stand, in words.

    Args:
        visit: How whoever is there is visited; None if nobody is.
        admission: Of the agent that is bound to it; empty while there is none.
        proxy: Name of the Proxy Manager that visits there; empty for the Manager itself.
    """
    if admission in {Admission.REFUSED, Admission.REVOKED}:
        return admission
    if proxy:
        return "waits to be accepted" if admission == Admission.NEW else f"left to {proxy}"
    if visit is None:
        return "dials by itself" if admission else "not visited"
    return _state_of(visit, admission)


def _state_of(visit: VisitView, admission: str) -> str:
    """Return how visits stand at a definition where somebody is visited."""
    if visit.code and not comes(visit):
        return "fails"
    if admission == Admission.NEW:
        return "waits to be accepted"
    if visit.last is None:
        return "not visited yet"
    return "visited" if admission else "nobody known yet"


def comes(visit: VisitView) -> bool:
    """Return whether there are visits in place of the link that cannot be held."""
    return visit.code in UNHELD and not visit.failures
