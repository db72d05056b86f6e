"""Who may use what: every route of both listeners and every custom message type.

Rules:

1. What does not stand here is refused, whoever asks (SEC-4). Listeners ask
   this registry before they read a body; no route decides by itself.
2. ``none`` is an identity like the others: it must be named to be let in, and
   naming it lets nobody else in.
3. A route's identity is necessary, not sufficient: the service checks the
   grant's permission again, and a session checks that the message's
   instance_uid is the identity's (SEC-11).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from popham.errors import GrantError, NotFoundError, WireError
from popham.model.names import show


class IdentityKind(StrEnum):
    """What somebody has shown of themselves."""

    NONE = "none"
    """Nothing, or an expired agent certificate."""
    AGENT = "agent"
    """A certificate of our CA."""
    PROXY = "proxy"
    """A certificate of our CA with the role of a Proxy Manager, which it has now: an agent, and more."""
    STOCK = "stock"
    """A stock agent's bearer token."""
    VIEWER = "viewer"
    """An API token that may look."""
    OPERATOR = "operator"
    """An API token that may look, and order operations."""
    ADMIN = "admin"
    """An API token that may change."""


class Listener(StrEnum):
    """The two doors of a Manager."""

    AGENTS = "agents"
    PEOPLE = "people"


class Direction(StrEnum):
    """Where a message travels."""

    UP = "up"
    DOWN = "down"


NONE, AGENT, STOCK = IdentityKind.NONE, IdentityKind.AGENT, IdentityKind.STOCK
PROXY = IdentityKind.PROXY
VIEWER, OPERATOR, ADMIN = IdentityKind.VIEWER, IdentityKind.OPERATOR, IdentityKind.ADMIN
ANYBODY = frozenset(IdentityKind)
OWN = frozenset({AGENT, PROXY})
"""Whoever has a certificate: a Proxy Manager is an agent too."""
PROXIES = frozenset({PROXY})
FLEET = OWN | {STOCK}
READERS = frozenset({VIEWER, OPERATOR, ADMIN})
OPERATORS = frozenset({OPERATOR, ADMIN})
ADMINS = frozenset({ADMIN})


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path.

    Attributes:
        listener: Where it is served.
        method: HTTP method; ``GET`` of ``/v1/opamp`` is the WebSocket upgrade.
        path: Template; ``{name}`` stands for one segment.
        identities: Who may use it.
    """

    listener: Listener
    method: str
    path: str
    identities: frozenset[IdentityKind]
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the template."""
        parts = re.split(r"\{\w+\}", self.path)
        object.__setattr__(self, "pattern", re.compile("[^/]+".join(map(re.escape, parts))))

    def allows(self, identity: IdentityKind) -> bool:
        """Return whether ``identity`` may use it."""
        return identity in self.identities


@dataclass(frozen=True, slots=True)
class MessageType:
    """One type of custom message.

    Attributes:
        capability: OpAMP custom capability, ``io.popham.<area>/<generation>``.
        name: The message's ``type``.
        direction: ``up`` towards the Manager, ``down`` towards the agents.
        identities: Who may send it up; empty for what only travels down.
    """

    capability: str
    name: str
    direction: Direction
    identities: frozenset[IdentityKind] = frozenset()

    def allows(self, identity: IdentityKind) -> bool:
        """Return whether ``identity`` may send it up."""
        return self.direction is Direction.UP and identity in self.identities


def _agents(method: str, path: str, identities: frozenset[IdentityKind]) -> Route:
    return Route(Listener.AGENTS, method, path, identities)


def _people(method: str, path: str, identities: frozenset[IdentityKind]) -> Route:
    return Route(Listener.PEOPLE, method, path, identities)


SESSION = "io.popham.session/1"
TRUST = "io.popham.trust/1"
STREAMS = "io.popham.streams/1"
RELAYS = "io.popham.proxy/1"

ROUTES: tuple[Route, ...] = (
    # Without an identity a POST may carry an enrollment or a renewal only: see PLAIN_OPAMP and MESSAGES.
    _agents("POST", "/v1/opamp", FLEET | {NONE}),
    _agents("GET", "/v1/opamp", FLEET),
    _agents("GET", "/v1/trust/ca", ANYBODY),
    _agents("GET", "/v1/trust/root", ANYBODY),
    _agents("GET", "/v1/trust/targets", ANYBODY),
    _agents("GET", "/v1/content/sha256/{digest}", OWN),
    _agents("POST", "/v1/outputs/{digest}", OWN),
    # How far we are with a stream of the agent that asks, and frames of it.
    _agents("GET", "/v1/streams/{stream}", OWN),
    _agents("POST", "/v1/streams/{stream}", OWN),
    # What agents below a Proxy Manager said, and what they are to be told.
    _agents("POST", "/v1/relay", PROXIES),
    # OTLP of whoever has an identity. Source: OTLP 1.9, paths of OTLP/HTTP.
    _agents("POST", "/v1/logs", FLEET),
    _agents("POST", "/v1/metrics", FLEET),
    _agents("GET", "/livez", ANYBODY),
    _people("GET", "/livez", ANYBODY),
    _people("GET", "/readyz", ANYBODY),
    _people("GET", "/openapi.json", READERS),
    _people("GET", "/metrics", READERS),
    # A dry run is for readers too; the service refuses a viewer's apply that is none.
    _people("POST", "/api/v1/apply", READERS),
    # Definitions with their secrets.
    _people("GET", "/api/v1/export", ADMINS),
    _people("GET", "/api/v1/agents", READERS),
    _people("GET", "/api/v1/agents/{ref}", READERS),
    _people("GET", "/api/v1/agents/{ref}/explain", READERS),
    _people("GET", "/api/v1/agents/{ref}/why", READERS),
    _people("POST", "/api/v1/agents/{ref}/accept", ADMINS),
    _people("POST", "/api/v1/agents/{ref}/refuse", ADMINS),
    _people("POST", "/api/v1/agents/{ref}/revoke", ADMINS),
    _people("POST", "/api/v1/agents/{ref}/move", ADMINS),
    _people("PATCH", "/api/v1/agents/{ref}/labels", ADMINS),
    _people("GET", "/api/v1/groups", READERS),
    _people("GET", "/api/v1/groups/{name}", READERS),
    _people("DELETE", "/api/v1/groups/{name}", ADMINS),
    _people("GET", "/api/v1/policies", READERS),
    _people("GET", "/api/v1/policies/{name}", READERS),
    _people("DELETE", "/api/v1/policies/{name}", ADMINS),
    _people("POST", "/api/v1/policies/{name}/copy", ADMINS),
    _people("GET", "/api/v1/policies/{name}/revisions", READERS),
    _people("GET", "/api/v1/policies/{name}/difference", READERS),
    _people("POST", "/api/v1/policies/{name}/rollback", ADMINS),
    _people("GET", "/api/v1/drafts", READERS),
    _people("GET", "/api/v1/drafts/{name}", READERS),
    _people("PUT", "/api/v1/drafts/{name}", ADMINS),
    _people("DELETE", "/api/v1/drafts/{name}", ADMINS),
    _people("POST", "/api/v1/drafts/{name}/remove", ADMINS),
    _people("POST", "/api/v1/drafts/{name}/plan", READERS),
    _people("POST", "/api/v1/drafts/{name}/rebase", ADMINS),
    _people("POST", "/api/v1/drafts/{name}/publish", ADMINS),
    _people("GET", "/api/v1/rollouts", READERS),
    _people("POST", "/api/v1/rollouts/halt", ADMINS),
    _people("GET", "/api/v1/rollouts/{name}", READERS),
    _people("POST", "/api/v1/rollouts/{name}/pause", ADMINS),
    _people("POST", "/api/v1/rollouts/{name}/resume", ADMINS),
    _people("POST", "/api/v1/rollouts/{name}/halt", ADMINS),
    _people("POST", "/api/v1/rollouts/{name}/promote", ADMINS),
    _people("POST", "/api/v1/rollouts/{name}/undo", ADMINS),
    _people("GET", "/api/v1/placements", READERS),
    _people("DELETE", "/api/v1/placements/{name}", ADMINS),
    _people("PATCH", "/api/v1/agents/{ref}/dial", ADMINS),
    _people("GET", "/api/v1/agent-definitions", READERS),
    _people("GET", "/api/v1/agent-definitions/{name}", READERS),
    _people("DELETE", "/api/v1/agent-definitions/{name}", ADMINS),
    _people("GET", "/api/v1/proxies", READERS),
    _people("GET", "/api/v1/proxies/{name}", READERS),
    _people("DELETE", "/api/v1/proxies/{name}", ADMINS),
    # A dry run is for readers too.
    _people("POST", "/api/v1/agent-definitions/import", READERS),
    _people("POST", "/api/v1/groups/import", READERS),
    # Whom an operator may order what, the service decides.
    _people("GET", "/api/v1/operations", READERS),
    _people("POST", "/api/v1/operations", OPERATORS),
    _people("GET", "/api/v1/operations/{name}", READERS),
    _people("GET", "/api/v1/operations/{name}/targets", READERS),
    _people("GET", "/api/v1/operations/{name}/targets/{ref}/output", OPERATORS),
    _people("POST", "/api/v1/operations/{name}/cancel", OPERATORS),
    _people("POST", "/api/v1/operations/{name}/retry", OPERATORS),
    _people("GET", "/api/v1/summary", READERS),
    _people("GET", "/api/v1/summary/{ref}", READERS),
    _people("GET", "/api/v1/summary/{ref}/rollups", READERS),
    _people("GET", "/api/v1/group-summaries", READERS),
    _people("GET", "/api/v1/intake", READERS),
    _people("GET", "/api/v1/logs", READERS),
    _people("GET", "/api/v1/metrics", READERS),
    _people("GET", "/api/v1/metrics/{name}", READERS),
    _people("GET", "/api/v1/data/{stream}", READERS),
    _people("GET", "/api/v1/alerts", READERS),
    _people("GET", "/api/v1/silences", READERS),
    _people("POST", "/api/v1/silences", OPERATORS),
    _people("DELETE", "/api/v1/silences/{name}", OPERATORS),
    _people("GET", "/api/v1/grants", ADMINS),
    _people("POST", "/api/v1/grants", ADMINS),
    _people("DELETE", "/api/v1/grants/{id}", ADMINS),
    _people("GET", "/api/v1/tokens", READERS),
    _people("POST", "/api/v1/tokens", ADMINS),
    _people("DELETE", "/api/v1/tokens/{id}", ADMINS),
    _people("POST", "/api/v1/check-ins", OPERATORS),
    _people("GET", "/api/v1/audit", READERS),
    _people("GET", "/api/v1/audit/verify", ADMINS),
)
"""Every route of both listeners."""

PLAIN_OPAMP = FLEET
"""Who may send an OpAMP message that carries none of the messages below."""

MESSAGES: tuple[MessageType, ...] = (
    MessageType(SESSION, "report", Direction.UP, OWN),
    MessageType(SESSION, "directive", Direction.DOWN),
    MessageType(TRUST, "enroll", Direction.UP, frozenset({NONE})),
    MessageType(TRUST, "renew", Direction.UP, OWN | {NONE}),
    MessageType(TRUST, "admission", Direction.DOWN),
    MessageType(STREAMS, "append", Direction.UP, OWN),
    MessageType(STREAMS, "ready", Direction.UP, OWN),
    MessageType(STREAMS, "standings", Direction.DOWN),
    MessageType(RELAYS, "wake", Direction.UP, PROXIES),
    MessageType(RELAYS, "wake", Direction.DOWN),
)
"""Every type of custom message."""


def find_route(listener: Listener, method: str, path: str) -> Route:
    """Return the route that serves ``method`` on the concrete ``path``.

    Raises:
        NotFoundError: Nothing is served there (``not_found.route``).
        WireError: The path is served, by other methods (``wire.method``).
    """
    here = [r for r in ROUTES if r.listener is listener and r.pattern.fullmatch(path)]
    for route in here:
        if route.method == method:
            return route
    if here:
        allowed = ", ".join(sorted(route.method for route in here))
        raise WireError("method", f"{method} is not served on this path", f"Use {allowed}")
    raise NotFoundError("route", "nothing is served on this path", "")


def find_message(capability: str, name: str, direction: Direction) -> MessageType:
    """Return the message type of this capability and name.

    Raises:
        NotFoundError: No such message travels in this direction (``not_found.message``).
    """
    for message in MESSAGES:
        if (message.capability, message.name, message.direction) == (capability, name, direction):
            return message
    problem = f"no message {show(name)} of {show(capability)} travels {direction}"
    raise NotFoundError("message", problem)


def require(entry: Route | MessageType, identity: IdentityKind) -> None:
    """Return if ``identity`` may use ``entry``.

    Raises:
        GrantError: It may not: ``grant.missing`` without an identity, else
            ``grant.not_permitted``.
    """
    if entry.allows(identity):
        return
    allowed = " or ".join(kind for kind in IdentityKind if entry.allows(kind)) or "nobody"
    if identity is NONE:
        raise GrantError("missing", "this needs an identity, and none was shown", f"Allowed here: {allowed}")
    raise GrantError(
        "not_permitted", f"an identity of kind {identity!s} may not do this", f"Allowed here: {allowed}"
    )
