"""Bodies where this end does not dial: it names what it lacks, and the visitor brings it.

Rules:

1. Only what was asked for is taken, and only if it has the digest and length that the signed bundle names.
2. What was brought is kept until it is asked for again, a bounded amount of it; the visitor brings it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from popham.agent.bodies import Fetch
from popham.errors import VisitError
from popham.model.bundle import PolicyRef
from popham.trust.verify import check_blob

LACKS_MAX = 32
"""Digests of one report: it has to fit into 8 KiB."""
KEPT_MAX = 16 * 1024 * 1024
"""Bytes that were brought and not asked for yet."""
AWAITED = "visit.content"
"""Code of a fetch that waits for the visitor."""


class Bringing:
    """Fetches where this end dials; elsewhere it asks for a body, and has it the next time.

    Attributes:
        dials: Says whether this end dials now; set by whoever drives it.
    """

    def __init__(self, fetch: Fetch) -> None:
        """Begin without a wish; ``fetch`` fetches a body from upstream."""
        self._fetch = fetch
        self.dials: Callable[[], bool] = lambda: True
        self._wanted: dict[str, int] = {}
        self._brought: dict[str, bytes] = {}
        self._named: tuple[str, ...] = ()

    @property
    def lacks(self) -> tuple[str, ...]:
        """Digests of what is to be brought."""
        return tuple(self._wanted)[:LACKS_MAX]

    def name(self) -> tuple[str, ...]:
        """Return :attr:`lacks`, to be said now."""
        self._named = self.lacks
        return self._named

    @property
    def unnamed(self) -> bool:
        """Whether something lacks, and all that was named is here."""
        return bool(self._wanted) and not any(one in self._wanted for one in self._named)

    def want(self, refs: Iterable[PolicyRef]) -> None:
        """Ask for these bodies too, so that one visit brings all of them."""
        for ref in refs:
            if ref.sha256 not in self._brought:
                self._wanted.setdefault(ref.sha256, ref.length)

    def forget(self) -> None:
        """Ask for nothing any more: another bundle names other bodies."""
        self._wanted.clear()

    async def __call__(self, sha256: str, limit: int) -> bytes:
        """Return a body of at most ``limit`` bytes.

        Raises:
            VisitError: ``visit.content``: the visitor is to bring it.
            LinkError: It could not be fetched.
        """
        if sha256 in self._brought:
            return self._brought.pop(sha256)
        if self.dials():
            body = await self._fetch(sha256, limit)
            self._wanted.pop(sha256, None)
            return body
        self._wanted[sha256] = limit
        raise VisitError("content", "what a bundle names is to be brought by the next visit")

    def take(self, sha256: str, body: bytes) -> bool:
        """Keep what was brought; return whether nothing is lacking any more.

        Raises:
            VisitError: ``visit.unwanted``: nobody asked for it.
            TrustError: It is not what its digest says.
        """
        limit = self._wanted.get(sha256)
        if limit is None:
            raise VisitError("unwanted", "a body was brought that this agent did not ask for")
        check_blob(body, sha256, limit)
        del self._wanted[sha256]
        while self._brought and len(body) + sum(map(len, self._brought.values())) > KEPT_MAX:
            del self._brought[next(iter(self._brought))]
        self._brought[sha256] = body
        return not self._wanted
