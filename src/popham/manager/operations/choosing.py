"""Whom an operation is for: the agents that are meant, why each is one, and which of them cannot be served.

Rules:

1. Names that no agent has, or that several have, are said; the others are served.
2. A group stands for itself and all groups below it, as in a grant.
3. What can be known at once to be impossible fails at once, with the reason and the next step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from popham.errors import DefinitionError, OperationError, PophamError, VisitError
from popham.manager.agents import every_agent
from popham.manager.judgement import ACCEPTS_REMOTE_CONFIG
from popham.manager.links import Links
from popham.manager.moves import labels_of
from popham.manager.objects import lineage_of, read_tree
from popham.manager.operations.following import comes, too_old
from popham.manager.operations.register import REFUSING, Register
from popham.manager.operations.stored import Asked
from popham.manager.visit_why import START
from popham.model.fleet import Admission, AgentKind, Tree
from popham.model.generation import OPERATIONS
from popham.model.operation import Kind
from popham.model.selector import parse_selector
from popham.opamp.wire import AgentCapability
from popham.store.rows import AgentRow
from popham.store.seam import Reading
from popham.upstream.record import Record

TARGETS_MAX = 200_000
"""Targets of one operation."""
OPEN_MAX = 32
"""Open targets of one agent."""
HELD, HEARTBEAT, VISIT = "held link", "heartbeat", "visit"
"""Ways by which an agent hears of something."""


class Chosen(NamedTuple):
    """What an operation needs of an agent: of a large fleet whole rows would be too many."""

    uid: str
    name: str
    group: str
    kind: str
    admission: str
    capabilities: int
    promise: float
    last_contact: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Whom an operation is for.

    Attributes:
        targets: uid → agent.
        unknown, ambiguous: Names that no agent has, and that several have.
        lineages: Group of a target → it and all above it, itself first.
    """

    targets: Mapping[str, Chosen]
    unknown: tuple[str, ...]
    ambiguous: tuple[str, ...]
    lineages: Mapping[str, tuple[str, ...]]


def choose(tx: Reading, asked: Asked) -> Choice:
    """Return the agents that are meant.

    Raises:
        DefinitionError: ``definition.operation``: they are named in no way, or in several; ``definition.selector``.
        NotFoundError: ``not_found.group``.
        OperationError: ``operation.targets``: there are too many.
    """
    ways = sum(map(bool, (asked.agents, asked.groups or asked.selector, asked.everyone)))
    if ways != 1:
        problem = "an operation is for agents, or for groups or a selector, or for all"
        raise DefinitionError("operation", problem, "Name its targets in one of these ways")
    tree = read_tree(tx)
    found: dict[str, Chosen] = {}
    unknown: list[str] = []
    ambiguous: list[str] = []
    if asked.agents:
        for ref in dict.fromkeys(asked.agents):
            rows = _named(tx, ref)
            if len(rows) == 1:
                found.setdefault(rows[0].uid, _chosen(rows[0], "named"))
            else:
                (ambiguous if rows else unknown).append(ref)
    else:
        for one in _all_of(tx, tree, asked):
            found[one.uid] = one
            if len(found) > TARGETS_MAX:
                problem = f"an operation has at most {TARGETS_MAX} targets"
                raise OperationError("targets", problem, "Order it of one group after the other")
    return _choice(tree, found, unknown, ambiguous)


def choose_again(tx: Reading, uids: Iterable[str]) -> Choice:
    """Return the targets of an operation that is to be repeated; agents that are gone meanwhile are left out."""
    rows = filter(None, map(tx.agent, uids))
    return _choice(read_tree(tx), {row.uid: _chosen(row, "again") for row in rows})


def _choice(
    tree: Tree, found: Mapping[str, Chosen], unknown: Sequence[str] = (), ambiguous: Sequence[str] = ()
) -> Choice:
    groups = dict.fromkeys(one.group for one in found.values())
    return Choice(
        targets=found,
        unknown=tuple(unknown),
        ambiguous=tuple(ambiguous),
        lineages={name: lineage_of(tree, name) for name in groups},
    )


def _named(tx: Reading, ref: str) -> list[AgentRow]:
    row = tx.agent(ref)
    return [row] if row is not None else tx.agents_named(ref)


def _all_of(tx: Reading, tree: Tree, asked: Asked) -> Iterator[Chosen]:
    """Yield the agents of the groups, and of those below; or of all groups; that the selector means."""
    wanted = parse_selector(asked.selector)
    within: dict[str, str] = {}
    for name in asked.groups:
        for group in tree.below(name):
            below = f"in group {group.name}" + (f", below {name}" if group.name != name else "")
            within.setdefault(group.name, below)
    labels = f"has labels {asked.selector}" if wanted.parts else ""
    for group_name in within if asked.groups else (None,):
        place = within[group_name] if group_name is not None else ""
        why = ", ".join(filter(None, (place, labels))) or "all agents"
        for row in every_agent(tx, group_name):
            if not wanted.parts or wanted.matches(labels_of(row)):
                yield _chosen(row, why)


def _chosen(row: AgentRow, why: str) -> Chosen:
    return Chosen(
        uid=row.uid,
        name=row.name,
        group=row.group,
        kind=row.kind,
        admission=row.admission,
        capabilities=row.capabilities,
        promise=row.promise,
        last_contact=row.last_contact,
        why=why,
    )


def refuse(kind: Kind, agent: Chosen, register: Register) -> PophamError | None:
    """Return why nothing is ordered of an agent; None if it is."""
    if agent.admission != Admission.ACCEPTED:
        state = "not accepted yet" if agent.admission == Admission.NEW else agent.admission
        problem = f"the agent is {state}: it is given nothing"
        return OperationError("admission", problem, f"popham accept agent {agent.name}")
    unfit = _unfit(kind, agent, register)
    if unfit is not None:
        return unfit
    if register.open_of(agent.uid) >= OPEN_MAX:
        problem = f"{OPEN_MAX} operations of the agent are open"
        return OperationError("many", problem, "Wait for them, or cancel some: popham op list --open")
    return None


def _unfit(kind: Kind, agent: Chosen, register: Register) -> OperationError | None:
    """Return why an agent cannot do what is ordered; None if it can, or that is not known."""
    if agent.kind == AgentKind.UNKNOWN:
        problem = "the agent has not said yet what it is"
        return OperationError("kind", problem, "Try again once it was in touch")
    if agent.kind == AgentKind.STOCK:
        if kind is Kind.SEND and not agent.capabilities & ACCEPTS_REMOTE_CONFIG:
            hint = "Let its configuration accept a remote configuration, or run our agent there"
            return OperationError("takes_nothing", "the agent takes no configuration", hint)
        restarts = agent.capabilities & AgentCapability.ACCEPTS_RESTART_COMMAND
        if kind in {Kind.SEND, Kind.CHECK_IN} or (kind is Kind.RESTART and restarts):
            return None
        problem = f"a stock agent does no {kind}"
        if kind is Kind.RESTART:
            problem = "the agent takes no command to restart"
        return OperationError("stock", problem, "Run our agent there")
    record = register.record(agent.uid)
    state = record.state if record is not None else None
    if kind is not Kind.SEND and state is not None and state.generation < OPERATIONS:
        return too_old(state.agent_version)
    return None


def find_unreached(agent: Chosen, register: Register, links: Links, now: float) -> PophamError | None:
    """Return why an agent was not reached last: its service was off, and it does not come by itself.

    It may be on by now: what is ordered has it visited again, and only that visit decides.
    """
    visit, record = links.visit(agent.uid), register.record(agent.uid)
    if visit is None or visit.code not in REFUSING or links.connected(agent.uid):
        return None
    if record is not None and comes(record, now):
        return None
    off = visit.code == "visit.off"
    return VisitError("off" if off else "refused", visit.problem, START)


def way_of(
    uid: str, promise: float, last_contact: float | None, register: Register, links: Links, now: float
) -> tuple[str, float | None]:
    """Return the way by which an agent hears of something, and when at the latest; None if nobody knows.

    Args:
        uid: The agent.
        promise: Seconds from a contact to the next, as far as the database knows.
        last_contact: In unix seconds, likewise; None for never.
        register: Knows more of agents that are in memory.
        links: Held links and visits.
        now: Unix seconds.
    """
    record = register.record(uid)
    if record is not None and record.via:
        return _way_by_proxy(record, register, links, now)
    if links.connected(uid):
        return HELD, now
    visit = links.visit(uid)
    if visit is not None and not (record is not None and visit.failures and comes(record, now)):
        if visit.failures:
            return VISIT, None
        return VISIT, max(now, visit.next) if visit.next is not None else now
    promised = record.promise if record is not None else promise
    seen = [at for at in (last_contact, links.last_contact(uid)) if at is not None]
    due = max(seen) + promised if seen else None
    return HEARTBEAT, due if due is not None and due > now else None


def _way_by_proxy(record: Record, register: Register, links: Links, now: float) -> tuple[str, float | None]:
    """Return as :func:`way_of`, of an agent behind Proxy Managers: it hears of something after the first of them did."""
    proxy = register.record(record.via[0])
    if proxy is None or proxy.via:
        return HEARTBEAT, None
    way, until = way_of(proxy.uid, proxy.promise, proxy.last_contact, register, links, now)
    if until is None or record.is_linked:
        return way, until
    return HEARTBEAT, until + record.own_promise
