"""Deleting what a source no longer defines.

Rules:

1. Only objects of the source as which the apply is made; never the root.
2. What something else still needs is refused, and then nothing is applied.
3. A dry run tells all of it: what would go, whom it concerns, and what stands in the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from popham.errors import ConflictError, DefinitionError
from popham.manager.agent_definitions import delete_agent_definition
from popham.manager.apply_views import Change
from popham.manager.base import read_state
from popham.manager.bundles import newest, open_row
from popham.manager.grant import Grant
from popham.manager.inventory import delete_group, delete_policy
from popham.manager.moves import delete_placement
from popham.manager.needs import Needs
from popham.manager.proxies.definitions import delete_proxy
from popham.model.definition import Definitions
from popham.model.fleet import Group, Tree
from popham.model.names import ROOT_GROUP
from popham.store.seam import Reading, Writing

KINDS = {"group": "Group", "policy": "Policy", "placement": "Placement", "agent": "Agent", "proxy": "Proxy"}


def find_abandoned(
    reading: Reading, definitions: Definitions, groups: Mapping[str, Group], source: str
) -> list[str]:
    """Return the objects of ``source`` that ``definitions`` lack, in the order in which they can be deleted.

    Args:
        reading: The transaction.
        definitions: All that the source defines.
        groups: All groups as they are stored.
        source: As which the apply is made.

    Raises:
        DefinitionError: ``definition.source``: there is none.
    """
    if not source:
        problem = "what is to be deleted must belong to somebody: --prune needs --as-source"
        raise DefinitionError(
            "source", problem, "Name where these files are kept: --as-source https://git.example/fleet"
        )
    kept = {f"policy/{policy.name}" for policy in definitions.policies}
    kept |= {f"group/{group.name}" for group in definitions.groups} | {f"group/{ROOT_GROUP}"}
    kept |= {f"placement/{placement.name}" for placement in definitions.placements}
    kept |= {f"agent/{wanted.name}" for wanted in definitions.agents}
    kept |= {f"proxy/{wanted.name}" for wanted in definitions.proxies}
    owned = set(read_state(reading, groups).of_source(source)) - kept
    # A group goes after those below it and the proxies that it was given to, and before what it assigns.
    leaves_first = [f"group/{group.name}" for group in reversed(Tree(groups.values()).below(ROOT_GROUP))]
    agents, proxies, placements, policies = (
        sorted(about for about in owned if about.startswith(f"{kind}/"))
        for kind in ("agent", "proxy", "placement", "policy")
    )
    groups_going = [about for about in leaves_first if about in owned]
    return [*agents, *proxies, *placements, *groups_going, *policies]


def prune(
    tx: Writing,
    abandoned: list[str],
    groups: Mapping[str, Group],
    *,
    grant: Grant,
    source: str,
    now: float,
    dry_run: bool,
) -> Iterator[tuple[Change, str]]:
    """Delete ``abandoned``; yield each with what stands in the way of it, which only a dry run can have.

    ``groups`` are all as they are stored.

    Raises:
        ConflictError: Something needs it, and this is no dry run.
    """
    if not abandoned:
        return
    needs, going = Needs(tx, groups.values(), now), frozenset(abandoned)
    concerned = _agents(tx, abandoned)
    for about in abandoned:
        kind, _, name = about.partition("/")
        obstacle = ""
        try:
            if kind == "group":
                delete_group(tx, grant, name, now=now, source=source, going=going, needs=needs)
            elif kind == "policy":
                delete_policy(tx, grant, name, now=now, source=source, needs=needs)
            elif kind == "agent":
                delete_agent_definition(tx, grant, name, now=now, source=source)
            elif kind == "proxy":
                delete_proxy(tx, grant, name, now=now, source=source, going=going)
                needs.drop_proxy(name)
            else:
                delete_placement(tx, grant, name, now=now, source=source)
                needs.drop_placement(name)
        except ConflictError as error:
            if not dry_run:
                raise
            obstacle = f"it cannot be applied: {error.problem}. {error.hint}"
        yield Change(kind=KINDS[kind], name=name, action="deleted", agents=concerned.get(about, 0)), obstacle


def _agents(reading: Reading, abandoned: list[str]) -> dict[str, int]:
    """Return object → how many agents have it: those of a group, and of the groups whose bundle has a policy."""
    counts = reading.agent_counts()
    found = {f"group/{name}": agents for name, agents in counts.items()}
    # All bundles are many, and to be opened for a policy only.
    bundles = newest(reading) if any(about.startswith("policy/") for about in abandoned) else {}
    for name, row in bundles.items():
        sets = open_row(row).locations.values() if counts.get(name) else ()
        for policy in {ref.name for held in sets for ref in held.policies}:
            about = f"policy/{policy}"
            found[about] = found.get(about, 0) + counts[name]
    return found
