"""Where agents belong and what they are called: moved and labelled by hand, placed by rules on arrival.

Rules:

1. A move signs a new assignment; the agent believes it, and nobody in between.
2. An operator's labels are kept beside the agent's own, and win.
3. A stock agent stays in the group of its token: it holds nothing that could say otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from popham.errors import ConflictError, DefinitionError, NotFoundError
from popham.manager.agents import assign, find_agent
from popham.manager.audit import note
from popham.manager.grant import Grant
from popham.manager.objects import find_group, read_texts
from popham.manager.overrides import Overrides
from popham.model.findings import Findings
from popham.model.fleet import Admission, AgentKind
from popham.model.managed import refuse_edit
from popham.model.names import canonical, nearest, show
from popham.model.placement import PLACEMENTS_MAX, Placement, place
from popham.model.selector import LABELS_MAX, check_label_changes, merge_labels
from popham.model.wanted import PlacementDefinition
from popham.store.rows import AgentRow, PlacementRow
from popham.store.seam import Reading, Writing
from popham.trust.dsse import Signer


def move_agent(tx: Writing, grant: Grant, ref: str, group: str, director: Signer, *, now: float) -> AgentRow:
    """Put an agent into another group; into its own changes nothing.

    Raises:
        NotFoundError: There is no such agent or group.
        ConflictError: ``conflict.ambiguous``; ``conflict.stock``: a stock agent stays in its token's group;
            ``conflict.kind``: the agent has not said yet what it is.
    """
    row = find_agent(tx, ref)
    find_group(tx, group)
    if row.group == group:
        return row
    if row.kind == AgentKind.UNKNOWN:
        problem = f"agent {row.name!r} has not said yet what it is, and whether it can be moved"
        raise ConflictError("kind", problem, f"Once it was in touch: popham describe agent {row.name}")
    if row.kind != AgentKind.OWN:
        problem = f"agent {row.name!r} is a stock agent, and belongs to the group of its token"
        hint = f"Give it a token of group {group}: popham token create --stock --group {group}"
        raise ConflictError("stock", problem, hint)
    # A candidate is one of the group that it leaves.
    overrides = replace(Overrides.of(row), candidate="")
    moved = replace(row, group=group, overrides=overrides.encoded())
    if row.admission == Admission.ACCEPTED:
        moved = assign(moved, director, now=now)
    tx.put_agent(moved)
    note(
        tx,
        grant,
        "agent.move",
        f"agent/{row.uid}",
        now=now,
        before={"group": row.group, "assignment": row.assignment_seq},
        after={"group": moved.group, "assignment": moved.assignment_seq},
    )
    return moved


def label_agent(
    tx: Writing, grant: Grant, ref: str, changes: Mapping[str, str | None], *, now: float
) -> AgentRow:
    """Set an operator's labels of an agent, or take them away (None).

    Raises:
        NotFoundError: There is no such agent.
        ConflictError: ``conflict.ambiguous``.
        DefinitionError: ``definition.labels``: one cannot be used, or there would be too many.
    """
    check_label_changes(changes)
    row = find_agent(tx, ref)
    before = read_texts(row.operator_labels)
    after = {key: value for key, value in {**before, **changes}.items() if value is not None}
    if after == before:
        return row
    if len(after) > LABELS_MAX:
        problem = f"agent {row.name!r} would have more than {LABELS_MAX} labels of operators"
        raise DefinitionError("labels", problem, "Take some away: popham label agent X KEY-")
    labelled = replace(row, operator_labels=canonical(after).decode())
    tx.put_agent(labelled)
    note(tx, grant, "agent.label", f"agent/{row.uid}", now=now, before=before, after=after)
    return labelled


def labels_of(row: AgentRow) -> dict[str, str]:
    """Return the labels of an agent, the operators' over its own."""
    return merge_labels(read_texts(row.labels), read_texts(row.operator_labels))


def place_agent(tx: Reading, row: AgentRow) -> tuple[AgentRow, str]:
    """Return an agent that joins, as the first rule that fits wants it, and that rule's name; its group must exist."""
    rule = place(
        read_placements(tx),
        token=row.token,
        labels=read_texts(row.labels),
        address=row.address,
        agent=row.name,
    )
    if rule is None:
        return row, ""
    group = rule.group if rule.group and row.kind == AgentKind.OWN and tx.group(rule.group) else row.group
    return replace(row, group=group, operator_labels=canonical(dict(rule.labels)).decode()), rule.name


def read_placements(reading: Reading) -> list[Placement]:
    """Return all rules of placement."""
    return [Placement.from_dict(row.name, json.loads(row.body)) for row in reading.placements()]


def placement_row(
    placement: Placement, edition: int, annotations: Mapping[str, str] | None = None
) -> PlacementRow:
    """Return the row that keeps a rule, with its annotations if it has any."""
    more = {"annotations": dict(annotations)} if annotations else {}
    body = canonical(placement.as_dict() | more).decode()
    return PlacementRow(name=placement.name, body=body, edition=edition)


def check_placements(reading: Reading, placements: Sequence[PlacementDefinition], findings: Findings) -> None:
    """Add to ``findings`` the rule that would be one too many."""
    known = {row.name for row in reading.placements()} if placements else set()
    for definition in placements:
        known.add(definition.name)
        if len(known) > PLACEMENTS_MAX:
            problem = f"there would be more than {PLACEMENTS_MAX} placements"
            hint = "Name more ranges in one rule, or delete some: popham get placements"
            findings.add(definition.place.wrong("name", "placement", problem, hint))
            return


def delete_placement(tx: Writing, grant: Grant, name: str, *, now: float, source: str = "") -> None:
    """Delete a rule of placement; agents stay where they are.

    One that is managed elsewhere is deleted as that ``source`` only.

    Raises:
        NotFoundError: ``not_found.placement``.
        ConflictError: ``conflict.managed``.
    """
    row = tx.placement(name)
    if row is None:
        hint = nearest(name, [known.name for known in tx.placements()])
        raise NotFoundError("placement", f"there is no placement {show(name)}", hint)
    refuse_edit(f"placement/{name}", json.loads(row.body).get("annotations", {}), source)
    tx.delete_placement(name)
    note(tx, grant, "placement.delete", f"placement/{name}", now=now, before=json.loads(row.body))
