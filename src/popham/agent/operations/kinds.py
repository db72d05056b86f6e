"""What each kind of operation does on a machine, and how it is known whether it was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from popham.agent.commands import Ended, Kept
from popham.agent.in_force import InForce
from popham.agent.operations.ledger import Entry
from popham.agent.programs import say_end
from popham.agent.records import Progress
from popham.errors import OperationError, PophamError
from popham.log import escape
from popham.model.operation import SENTENCE, Kind
from popham.model.status import Outcome
from popham.trust.assignment import Assignment

HALF: Final = 32 * 1024
"""Bytes of the beginning, and of the end, that are kept of what a program prints."""
WATCHED: Final = frozenset({Kind.CHECK_IN, Kind.APPLY})
"""Kinds of which the machine's own loops do what is to be done, so that it is only watched whether it is."""
BESIDE: Final = frozenset({Kind.RESTART, Kind.ROTATE_KEY})
"""Kinds that end only after other messages, or never in this process: no round waits for them."""
ENDED: Final = frozenset({Kind.RUN, Kind.COLLECT, Kind.DIAGNOSE})
"""Kinds that a cancellation ends in the middle."""
_CUT: Final = "…"
_STRANGE: Final = 1.5
"""How much longer escapes may make what was printed, for it to be shown."""


class Follows(Protocol):
    """What is in force on the machine; :class:`popham.agent.enforcer.Enforcer` knows.

    Attributes:
        progress: How far the newest bundle got.
        assignment: The newest assignment; None if there is none.
        newest: The newest bundle accepted; None if there is none.
    """

    progress: Progress
    assignment: Assignment | None
    newest: InForce | None

    @property
    def candidate(self) -> str:
        """Digest of the resolved policy of the candidate that is held; empty for none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What operations are done with.

    Attributes:
        check_in: Has a round made now.
        collect: Looks anew at all that is reported.
        restart: Has the process end, and the program begin anew. May raise OperationError.
        diagnose: Returns a bundle for support.
        rotate: Makes a new key, and returns once its certificate is in use. May raise PophamError.
        keyid: Returns the id of the key in use.
        run: Runs a command by its name; what it prints goes to what it is given.
        seconds: That a command may take.
        upload: Brings an output upstream, by its digest. May raise LinkError.
        dials: Whether this end dials now.
        paused: Takes note that collection was paused, or goes on.
    """

    check_in: Callable[[], None]
    collect: Callable[[], Awaitable[None]]
    restart: Callable[[], None]
    diagnose: Callable[[], Awaitable[bytes]]
    rotate: Callable[[], Awaitable[None]]
    keyid: Callable[[], str]
    run: Callable[[str, Kept], Awaitable[Ended]]
    seconds: float
    upload: Callable[[str, bytes], Awaitable[None]]
    dials: Callable[[], bool]
    paused: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of an operation.

    Attributes:
        text: A sentence, or the first of what was printed.
        code: Why it failed; empty if it did not.
        output: What is to be had beside the text; empty for nothing.
        left_out: Bytes of it that were not kept.
    """

    text: str = ""
    code: str = ""
    output: bytes = b""
    left_out: int = 0


def fail(error: PophamError) -> Done:
    """Return that an operation failed, and why."""
    return Done(code=error.code, text=f"{error.problem}. {error.hint}" if error.hint else error.problem)


def signed_at(enforcer: Follows) -> float:
    """Return the newest time in the director's documents that are in use, in unix seconds; 0 without any."""
    newest, assignment = enforcer.newest, enforcer.assignment
    return max(newest.bundle.issued if newest else 0, assignment.issued if assignment else 0)


def judge(entry: Entry, enforcer: Follows) -> Done | None:
    """Return what came of an operation that is watched, after what is to be in force was seen to; None for not yet.

    A check-in is done then: the report that says so is the round that it asked for.
    """
    return Done() if entry.kind == Kind.CHECK_IN else _judge_apply(entry, enforcer)


def _judge_apply(entry: Entry, enforcer: Follows) -> Done | None:
    """Return whether the candidate of a rollout is in force; ``entry.before`` is the digest of what was held."""
    assignment, newest, progress = enforcer.assignment, enforcer.newest, enforcer.progress
    if assignment is not None and assignment.group != entry.args["group"]:
        problem = f"this machine is in group {assignment.group} by now, and the candidate is of another"
        return fail(OperationError("group", problem, "Look at its group, and order it again there"))
    settled = newest is not None and assignment is not None and newest.bundle.group == assignment.group
    if newest is None or not settled or progress.outcome is Outcome.APPLYING:
        return None
    rollout, number = newest.whole.rollout, entry.args["rollout"]
    named = rollout is not None and rollout.id == number
    wanted = newest.held.resolved_digest
    uses = named and newest.uses_candidate
    if uses and progress.outcome is Outcome.FAILED:
        return Done(code=progress.error_code, text=progress.error)
    held = progress.outcome is Outcome.APPLIED and progress.applied_resolved == wanted
    if held and (uses or entry.before == wanted):
        return Done(text=f"serial {progress.applied_serial} is in force")
    if named or newest.bundle.serial <= entry.args["serial"]:
        return None
    problem = f"the rollout {number} is over, and another serial is in force: {progress.applied_serial}"
    return fail(OperationError("superseded", problem, "Look at the rollout"))


async def run_named(name: str, means: Means) -> Done:
    """Run one of the commands that this machine lets be run."""
    kept = Kept(HALF, HALF)
    ended = await means.run(name, kept)
    how = f"{name} {say_end(ended, means.seconds)}"
    code = OperationError("exit", how).code if ended.status != 0 else ""
    printed = kept.data.decode(errors="replace").rstrip()
    shown = "\n".join(map(escape, printed.splitlines()))
    if len(shown) > _STRANGE * len(printed):
        shown = "what it printed is no text"
    text = f"{how}: {shown}" if shown else how
    whole = shown == printed and not kept.left_out and fits(text)
    if whole:
        return Done(text=text, code=code)
    return Done(text=text, code=code, output=kept.data, left_out=kept.left_out)


def fits(text: str) -> bool:
    """Return whether a result may say this as it is."""
    return len(text.encode()) <= SENTENCE


def cut(text: str) -> str:
    """Return the beginning of a text, so that :func:`fits` holds."""
    if fits(text):
        return text
    return text.encode()[: SENTENCE - len(_CUT.encode())].decode(errors="ignore") + _CUT
