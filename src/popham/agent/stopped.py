"""What is known of an agent that does not run, or does not answer: read from what it keeps, and nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from popham.agent.contact import read_contact
from popham.agent.dialing import settings_for
from popham.agent.in_force import InForce
from popham.agent.kept import Kept, read_kept
from popham.agent.local import ask
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.agent.status import describe_settings, describe_state
from popham.agent.streams.looking import describe_streams
from popham.agent.streams.spools import FOLDER
from popham.errors import LinkError, StreamError, TrustError
from popham.model.communication import CommunicationSettings
from popham.model.servers import order_servers
from popham.posix import lock_holder
from popham.statedir import LOCK, StateView
from popham.trust.tuf import TrustedTuf


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What was ordered last, as it is kept here.

    Attributes:
        kept: Assignment and bundles.
        settings: The communication settings in force, for all times and links.
        urls: Who is dialled, in the order of dialling; those of the join string last.
    """

    kept: Kept
    settings: CommunicationSettings
    urls: tuple[str, ...]


def read_orders(state: AgentState) -> Orders:
    """Return what was ordered last.

    Raises:
        StateError: A file is damaged.
        TrustError: The trust documents cannot be read, so that nothing can be believed.
    """
    join, documents, identity = state.join(), state.documents(), state.identity()
    kept = Kept()
    if documents is not None and identity is not None:
        kept = read_kept(state, TrustedTuf.from_bytes(documents.root, documents.targets))
    ordered = _ordered(state, kept)
    settings = settings_for(
        ordered.held.communication if ordered else None,
        kept.assignment,
        walled=join is not None and join.walled,
    )
    uid = UUID(identity.uid).bytes if identity else b""
    listed = [url for level in order_servers(settings.servers, uid) for url in level]
    return Orders(
        kept=kept, settings=settings, urls=tuple(dict.fromkeys((*listed, *(join.urls if join else ()))))
    )


def _ordered(state: AgentState, kept: Kept) -> InForce | None:
    """Return the bundle whose settings hold, where the machine was last; as of ``Documents.ordered``."""
    newest, in_force = kept.newest, kept.in_force
    partly = newest is not None and (state.progress().withheld or not newest.bundle.download)
    chosen = newest if partly or in_force is None else in_force
    standing = state.standing()
    return chosen.at(standing.location) if chosen and standing else chosen


def describe_stopped(state: AgentState) -> dict[str, Any]:
    """Return all that is known of an agent that does not run; keys as of :class:`popham.agent.status.Status`.

    Raises:
        StateError: A file is damaged.
    """
    found = describe_state(state)
    contact = read_contact(state.room)
    found |= {
        "last_contact": contact.at or None,
        "answered_by": contact.url,
        "stopped_since": contact.ended or None,
        "last_sign": max(contact.at, contact.began) or None,
        "last_problem": contact.problem,
        "last_problem_at": contact.problem_at or None,
    }
    try:
        orders = read_orders(state)
    except TrustError as error:
        return found | {"problem": str(error)}
    newest, in_force, assignment = orders.kept.newest, orders.kept.in_force, orders.kept.assignment
    found |= {
        "servers": list(orders.urls),
        "ordered": describe_settings(orders.settings),
        "group": assignment.group if assignment else "",
        "serial": newest.bundle.serial if newest else 0,
        "version": newest.bundle.version if newest else 0,
        "content_digest": newest.bundle.content_digest if newest else "",
        "applied_digest": in_force.bundle.content_digest if in_force else "",
    }
    if newest is not None:
        found.setdefault("location", newest.location)
    if orders.kept.error is not None:
        found["problem"] = str(orders.kept.error)
    return found


def _describe_streams(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Return what waits to be sent; what cannot be read is a problem of the agent."""
    try:
        return describe_streams(folder / FOLDER, UUID(found["uid"]).bytes) if found["uid"] else {}
    except StreamError as error:
        found["problem"] = found.get("problem") or str(error)
        return {}


async def look(settings: AgentSettings) -> dict[str, Any]:
    """Return what the running agent says of itself; if none answers, what it keeps.

    Raises:
        StateError: There is no state directory, or it cannot be read.
    """
    try:
        return await ask(settings.socket_path, "status")
    except LinkError as error:
        folder = Path(settings.state)
        found = describe_stopped(AgentState(StateView.look(folder, settings.kind)))
        found["streams"] = _describe_streams(folder, found)
        holder = lock_holder(folder / LOCK)
        if holder is not None:
            problem = f"process {holder} has the state directory, and {error.problem}"
            found |= {"held_by": holder, "problem": problem}
        return found
