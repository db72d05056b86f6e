"""Who may talk to whom: protocol generations, as one table.

| agent | may dial | may be dialled | takes operations |
|---|---|---|---|
| stock | yes | no | those that OpAMP has |
| generation 1 (before 0.5.0) | yes | no | no |
| generation 2 (0.5.0) | yes | yes | no |
| generation 3 (0.6.0) | yes | yes | yes |
| generation 4 (0.7.0) | yes | yes | yes; sends streams |
| generation 5 (0.8.0) | yes | yes, by Proxy Managers too | yes; sends streams, names nonces in its state |

Who dials must be of a generation that can: a Manager or Proxy Manager of generation 1 dials nobody.  A Proxy Manager
relays to a Manager or Proxy Manager of generation 5 or newer.  Agents of every generation, and stock agents, work below
a Proxy Manager that they dial; one that is to be dialled by it has to be of generation 5: before, nobody but the Manager
itself is believed.

Source: Systemwalker SQC's version rule (new Agents cannot reach old Managers
by pull; a new Proxy Manager stands between old Agents and a new Manager).
"""

from __future__ import annotations

import re
from typing import Final

from popham.errors import WireError
from popham.model.communication import Dialer

GENERATION = 5
"""The generation this program speaks. Raised by a change that an older peer cannot ignore."""

OLDEST = 1
"""The oldest generation this program still talks to, in any cell."""

VISITS: Final = 2
"""The first generation whose agents can be dialled, and whose Managers dial."""

OPERATIONS: Final = 3
"""The first generation whose agents take operations."""

STREAMS: Final = 4
"""The first generation whose agents have streams, and whose upstreams take them."""

PROXIES: Final = 5
"""The first generation whose upstreams take relays, and whose agents believe visitors and name nonces."""

STOCK = 0
"""Stands for a stock agent, which has no generation of ours."""

_BETWEEN: Final = "dial a Proxy Manager in its network, and dial that"
_SINCE: Final = (((0, 8), 5), ((0, 7), 4), ((0, 6), 3), ((0, 5), 2))
"""Versions, the newest first, and the generation that began with each."""
_NUMBERS: Final = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})")


def generation_of(version: str, said: int = 0) -> int:
    """Return the generation of one of our agents: what it ``said``, else by its version.

    A version that names none counts as new.
    """
    found = _NUMBERS.match(version)
    if said or found is None:
        return said or GENERATION
    number = (int(found[1]), int(found[2]))
    return next((generation for since, generation in _SINCE if number >= since), OLDEST)


def check_generations(upstream: int, downstream: int, dialer: Dialer, *, proxy: bool = False) -> None:
    """Return if an upstream and a downstream of these generations may talk in this cell.

    Args:
        upstream: Generation of the end towards the Manager.
        downstream: Generation of the agent; :data:`STOCK` for a stock agent.
        dialer: Who opens the connection.
        proxy: Whether the upstream is a Proxy Manager.

    Raises:
        WireError: They may not; the sentence names the remedy.
    """
    visit = dialer is Dialer.MANAGER
    if downstream == STOCK:
        if visit:
            raise WireError("generation", "a stock agent cannot be dialled", f"Let it {_BETWEEN}")
        downstream = OLDEST
    for name, generation in (("upstream", upstream), ("agent", downstream)):
        if generation < OLDEST:
            problem = f"the {name} speaks generation {generation}; {OLDEST} is the oldest understood here"
            raise WireError(
                "generation", problem, f"Upgrade the {name}, or put a newer Proxy Manager between"
            )
    if visit and downstream < VISITS:
        problem = f"the agent speaks generation {downstream}, and cannot be dialled before {VISITS}"
        raise WireError("generation", problem, f"Upgrade the agent, or let it {_BETWEEN}")
    if visit and upstream < VISITS:
        problem = f"the upstream speaks generation {upstream}, and cannot dial before {VISITS}"
        raise WireError("generation", problem, "Upgrade the upstream, or let the agent dial")
    if visit and proxy and downstream < PROXIES:
        problem = f"the agent speaks generation {downstream}, and cannot be dialled by a Proxy Manager before {PROXIES}"
        raise WireError("generation", problem, "Upgrade the agent, or let it dial the Proxy Manager")


def check_relay(upstream: int, proxy: int) -> None:
    """Return if a Proxy Manager may relay to an upstream, whichever of them dials.

    Raises:
        WireError: It may not; the sentence names the remedy.
    """
    for name, generation in (("upstream", upstream), ("Proxy Manager", proxy)):
        if generation < PROXIES:
            problem = f"the {name} speaks generation {generation}, and cannot relay before {PROXIES}"
            raise WireError("generation", problem, f"Upgrade the {name}; it goes before what is below it")
