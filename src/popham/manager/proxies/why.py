"""Why an agent is where it is, as far as that is due to proxies."""

from __future__ import annotations

from dataclasses import replace

from popham.manager.views import AgentView, Why
from popham.model.fleet import Admission
from popham.store.seam import Reading


def with_proxies(reading: Reading, view: AgentView, why: Why) -> Why:
    """Return an answer that says which proxy is away, and names the commands of a proxy where the agent is one.

    Args:
        reading: The snapshot of the view.
        view: Of the agent, with its detail.
        why: As :func:`popham.manager.answers.explain_why` returned it.
    """
    if reading.proxy_of(view.uid) is not None:
        why = replace(why, step=why.step.replace("popham agent ", "popham proxy "))
    away = view.detail.get("proxy_away")
    if not away or view.admission != Admission.ACCEPTED:
        return why
    sentence = why.sentence if away in why.sentence else f"{why.sentence}; {away}"
    return replace(why, sentence=sentence, step=f"popham why agent {view.detail['proxy_away_name']}")
