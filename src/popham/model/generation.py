"""Who may talk to whom: protocol generations, as one table.

Source: Systemwalker SQC's version rule (new Agents cannot reach old Managers
by pull; a new Proxy Manager stands between old Agents and a new Manager).
"""

from __future__ import annotations

from popham.errors import WireError
from popham.model.communication import Dialer

GENERATION = 1
"""The generation this program speaks. Raised by a change that an older peer cannot ignore."""

OLDEST = 1
"""The oldest generation this program still talks to, in any cell."""

STOCK = 0
"""Stands for a stock agent, which has no generation of ours."""


def check_generations(upstream: int, downstream: int, dialer: Dialer) -> None:
    """Return if an upstream and a downstream of these generations may talk in this cell.

    Raises:
        WireError: They may not; the sentence names the remedy.
    """
    if downstream == STOCK:
        if dialer is Dialer.MANAGER:
            problem = "a stock agent cannot be dialled"
            raise WireError(
                "generation", problem, "Let it dial a Proxy Manager in its network, and dial that"
            )
        return
    for name, generation in (("upstream", upstream), ("agent", downstream)):
        if generation < OLDEST:
            problem = f"the {name} speaks generation {generation}; {OLDEST} is the oldest understood here"
            raise WireError(
                "generation", problem, f"Upgrade the {name}, or put a newer Proxy Manager between"
            )
