"""A Manager's database at work, to be killed: prints a line for each publish that was acknowledged.

For each line on standard input it forks a process that publishes until it is killed or done, and
then prints which of the two it was.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from popham.clock import SystemClock
from popham.model.names import digest
from popham.store.opening import open_store
from popham.store.rows import AuditRow, BundleRow, PolicyRow, RevisionRow
from popham.store.seam import Writing

PUBLISHERS = 4


def publish(tx: Writing, number: int) -> None:
    """Publish one revision, as a Manager does: all of it in one transaction."""
    body = f"revision {number} ".encode() * 50
    row = RevisionRow(
        name="motd", revision=number, type="files", sha256=digest(body), encoded=body, author="me", at=1.0
    )
    tx.add_revision(row)
    head = tx.policy("motd")
    if head is None or head.revision < number:
        tx.put_policy(PolicyRow(name="motd", type="files", revision=number, sha256=row.sha256))
    tx.add_bundle(
        BundleRow(group="web", version=number, serial=number, content_digest=row.sha256, envelope=body)
    )
    tx.add_audit(AuditRow(at=1.0, actor="me", source="::1", method="apply", object=f"motd/{number}"))


async def run(database: str, path: Path, last: int) -> None:
    """Publish up to the revision ``last``, several at once."""
    store = open_store(database, path, clock=SystemClock())
    there = await store.read(lambda tx: {row.revision for row in tx.revisions("motd")})
    numbers = itertools.count(1)

    async def work() -> None:
        for number in numbers:
            if number > last:
                return
            if number not in there:
                await store.write(lambda tx: publish(tx, number))  # noqa: B023 - awaited at once
                os.write(1, f"{number}\n".encode())

    async with asyncio.TaskGroup() as group:
        for _ in range(PUBLISHERS):
            group.create_task(work())
    await store.aclose()


if __name__ == "__main__":
    for _line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
            os._exit(0)
        _child, status = os.waitpid(child, 0)
        os.write(1, b"ended\n" if os.WIFEXITED(status) else b"killed\n")
