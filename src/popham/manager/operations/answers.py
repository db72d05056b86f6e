"""What agents say became of targets: made durable, and then named as heard.

Rules:

1. A result is named as heard once it is durable, and not before.
2. States never go back: of what is over only the text is changed, where an agent says later what had become of it.
3. Only what is over, and of a kind that puts something out, has an output: an agent decides about no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from popham.manager.operations.ledger import Entry, tell_future
from popham.manager.operations.open_targets import OpenTargets
from popham.manager.operations.outputs import Outputs
from popham.manager.operations.stored import number_of
from popham.model.operation import SENTENCE, Kind, Output, Result
from popham.store.rows import TargetRow
from popham.store.seam import Store, Writing
from popham.trust.operation import open_result
from popham.upstream.record import Record

PUTS_OUT: Final = frozenset({Kind.RUN, Kind.DIAGNOSE})
"""Kinds that put something out."""


class Answers:
    """Takes note of results."""

    def __init__(self, store: Store, targets: OpenTargets, outputs: Outputs) -> None:
        """Keep what is needed; what is over is in ``store``, what is not among the ``targets``."""
        self._store = store
        self._targets = targets
        self._offering = targets.offering
        self._outputs = outputs

    def hear(self, record: Record, results: Sequence[bytes]) -> Awaitable[None] | None:
        """Take note of results; as :meth:`popham.upstream.orders.Ordering.hear`."""
        opened = [open_result(one, public_der=record.public_key, uid=record.uid) for one in results]
        waits = [wait for one in opened if (wait := self._hear(record, one)) is not None]
        return _all(waits) if waits else None

    def _hear(self, record: Record, result: Result) -> Awaitable[None] | None:
        entry = self._targets.at(result.nonce)
        if entry is None or entry.row.uid != record.uid:
            return self._hear_late(record, result)
        if result.revision <= entry.saved:
            self._heard(record, result)
            return None
        known = result.revision <= entry.row.revision
        if not known and not entry.row.open:
            return self._hear_ended(record, result)
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done = partial(self._settled, record, entry, result, durable)
        if known:
            self._targets.keep(entry, done)
            return durable
        self._offering.stop(entry)
        output = _output_of(entry, result)
        self._targets.become(
            entry,
            result.state,
            done=done,
            revision=result.revision,
            code=result.code,
            text=result.text,
            began=result.began,
            ended=result.ended,
            output=output.sha256 if output else "",
            length=output.length if output else 0,
            left_out=output.left_out if output else 0,
        )
        return durable

    def _settled(
        self,
        record: Record,
        entry: Entry,
        result: Result,
        durable: asyncio.Future[None],
        error: BaseException | None,
    ) -> None:
        """Take note that a result is durable, and tell who waits for that; or why it is not."""
        if error is None:
            entry.saved = max(entry.saved, result.revision)
            row = entry.row
            if row.output and self._outputs.expect(row):
                self._offering.orders(record).want_outputs[row.output] = None
            self._heard(record, result)
        tell_future(durable, error)

    def _heard(self, record: Record, result: Result) -> None:
        heard = f"{result.nonce}:{result.revision}"
        orders = self._offering.orders(record)
        if heard not in orders.heard:
            orders.heard.append(heard)

    async def _hear_ended(self, record: Record, result: Result) -> None:
        """Take note of what an agent says of a target whose end is on its way to the disk."""
        await self._targets.settle()
        await self._hear_late(record, result)

    async def _hear_late(self, record: Record, result: Result) -> None:
        """Take note of what an agent says of a target that is over, or that nobody knows any more."""
        number, uid = number_of(result.operation), record.uid
        row = await self._store.read(lambda tx: tx.target(number, uid))
        if row is not None and _adds(row, result):

            def work(tx: Writing) -> None:
                found = tx.target(number, uid)
                if found is not None and _adds(found, result):
                    tx.put_targets([_amended(found, result)])
                    if lost:
                        tx.delete_output(number, uid)

            lost = _is_lost(row, result) and not self._outputs.has(number, uid)
            await self._store.write(work)
            if lost:
                self._outputs.forget(row)
                self._offering.forget_output(record, row.output)
        self._heard(record, result)


def _output_of(entry: Entry, result: Result) -> Output | None:
    """Return the output that a result names, if its operation may have one."""
    ends = result.state.is_over and entry.going.stored.kind in PUTS_OUT
    return result.output if ends else None


def _adds(row: TargetRow, result: Result) -> bool:
    """Return whether a result says something new of a target that is over."""
    return row.nonce == result.nonce and not row.open and row.revision < result.revision


def _is_lost(row: TargetRow, result: Result) -> bool:
    """Return whether a result says that the output, which was named before, is to be had no more."""
    return bool(row.output) and result.state == row.state and result.output is None


def _amended(row: TargetRow, result: Result) -> TargetRow:
    """Return a target that is over with what its agent says of it later."""
    if _is_lost(row, result):
        return replace(row, revision=result.revision)
    said = f"{result.state}: {result.text}" if result.text else str(result.state)
    text = f"heard after it was {row.state}: {said}"[:SENTENCE]
    return replace(row, revision=result.revision, text=text, began=result.began, ended=result.ended)


async def _all(waits: Sequence[Awaitable[None]]) -> None:
    for found in await asyncio.gather(*waits, return_exceptions=True):
        if isinstance(found, BaseException):
            raise found
