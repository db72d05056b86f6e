"""What agents said, on its way to be durable; who said it is answered after that, without a task for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from popham.upstream.book import Book
from popham.upstream.record import Record


def answer_after(book: Book, record: Record, say: Callable[[], bytes]) -> asyncio.Future[bytes]:
    """Return the answer that ``say`` gives once what the record says now is durable.

    The future raises what ``say`` raises, or StateError if it could not be written.
    """
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    book.keep(record, partial(_kept, record, record.edition, answer, say))
    return answer


def _kept(
    record: Record,
    edition: int,
    answer: asyncio.Future[bytes],
    say: Callable[[], bytes],
    error: BaseException | None,
) -> None:
    if error is None:
        # Whatever changed meanwhile is still to be written before the next answer.
        record.saved = max(record.saved, edition)
    if answer.done():
        return
    if isinstance(error, asyncio.CancelledError):
        answer.cancel()
    elif error is not None:
        answer.set_exception(error)
    else:
        try:
            answer.set_result(say())
        except Exception as problem:  # noqa: BLE001  # it is raised where the answer is awaited
            answer.set_exception(problem)
