"""The one thread that verifies, writes and syncs: what waits while it syncs shares the next sync.

Everything that it works on is its own, so nothing of that is locked; others hand it work, and ask it for the rest
between two batches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from popham.errors import StateError
from popham.streams.waiting import Queue, Waiting

T = TypeVar("T", bound=Waiting)
R = TypeVar("R")


class Worker(Generic[T]):
    """A thread, and what waits for it.

    Attributes:
        ended: Resolved when the thread has ended; carries the error if it could not go on.
    """

    def __init__(
        self, queue: Queue[T], work: Callable[[list[T]], None], done: Callable[[list[T]], None]
    ) -> None:
        """Keep what is needed; :meth:`start` begins.

        Args:
            queue: What waits; nobody else uses it.
            work: Does a batch, on the thread; the process must end if it raises.
            done: Told of a batch once it is done, on the thread; must not raise.
        """
        self._queue = queue
        self._work = work
        self._done = done
        self._asked: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._turn = threading.Condition()
        self._refusal: StateError | None = None
        self._thread = threading.Thread(target=self._run, name="popham-intake", daemon=True)
        self.ended: Future[None] = Future()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Return whether it has begun, and not ended."""
        return self._thread.is_alive() and not self.ended.done()

    def room(self, uid: bytes) -> int:
        """Return how many bytes more of an agent may be handed over."""
        return self._queue.room(uid)

    def hand(self, items: list[T]) -> None:
        """Have these done. Raises StateError once it has ended, or is about to."""
        with self._turn:
            if self._refusal is not None:
                raise self._refusal
            for item in items:
                self._queue.push(item)
            self._turn.notify()

    def settle(self, items: list[T]) -> None:
        """Note that whoever waited for these was answered: they take no room any more."""
        with self._turn:
            self._queue.settle(items)

    def ask(self, task: Callable[[], R]) -> Future[R]:
        """Have ``task`` run between two batches. Raises StateError once it has ended, or is about to."""
        answer: Future[R] = Future()
        with self._turn:
            if self._refusal is not None:
                raise self._refusal
            self._asked.append((task, answer))
            self._turn.notify()
        return answer

    def close(self) -> None:
        """Do what waits, then end. It may be called again."""
        with self._turn:
            if self._refusal is None:
                self._refusal = StateError("closed", "The intake is closed", "Start again")
            self._turn.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        """Be the thread."""
        try:
            while self._step():
                pass
        except BaseException as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            self._break(error)
        else:
            self.ended.set_result(None)

    def _step(self) -> bool:
        """Wait for work and do it; returns False once closed and idle."""
        with self._turn:
            while not self._queue and not self._asked and self._refusal is None:
                self._turn.wait()
            asked, self._asked = self._asked, []
            batch = self._queue.take()
        if batch:
            self._work(batch)
            self._done(batch)
        for task, answer in asked:
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(task())
            except BaseException as error:  # noqa: BLE001 - whoever asked is told, whatever it was
                answer.set_exception(error)
        return bool(batch or asked)

    def _break(self, error: BaseException) -> None:
        refusal: Any = error
        if not isinstance(error, StateError):
            problem = f"the data of agents cannot be written: {error}"
            refusal = StateError("broken", problem, "Check the disk, then start again")
            refusal.__cause__ = error
        with self._turn:
            self._refusal = refusal
            asked, self._asked = self._asked, []
        self.ended.set_exception(refusal)
        for _job, answer in asked:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(refusal)
