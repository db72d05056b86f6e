"""Plain OTLP below a proxy: handed on as it is, and answered once it is durable above.

A proxy cannot keep it: what is kept of others is signed by the Manager that took it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError

from popham.errors import LinkError, WireError
from popham.net.seam import Refusal
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.calls import PATIENCE, Calls
from popham.streams.frame import Stream
from popham.upstream.intake import Rejected, Source
from popham.upstream.otlp import unsigned_otlp

BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes that wait at once."""
RETRY: Final = 30.0
"""Seconds after which a sender is asked to come again."""


class ProxyOtlp:
    """Takes plain OTLP; an :class:`popham.upstream.intake.OtlpIntake`."""

    def __init__(self, calls: Calls, token_of: Callable[[bytes], str]) -> None:
        """Hand on by ``calls``; ``token_of`` returns the id of the token whose own data has a uid, or nothing."""
        self._calls = calls
        self._token_of = token_of
        self._waiting = 0

    def refusal(self, source: bytes, stream: Stream) -> Refusal | None:  # noqa: ARG002  # the seam's form
        """Return why nothing is taken now; None if it is welcome."""
        if self._waiting < BYTES_MAX:
            return None
        return Refusal(status=503, retry_after=RETRY, body="too much waits to be handed on (link.busy)")

    async def take(self, source: Source, stream: Stream, body: bytes, *, is_json: bool) -> Rejected:
        """Hand the records of a request on; returns once they are durable above.

        Raises:
            LinkError: ``link.busy`` with ``retry_after``: nothing above takes it now.
            GrantError: ``grant.proxy``: it came by an agent's certificate, and nothing of it is signed.
            WireError: ``wire.malformed``, ``wire.too_large``, as it was said above; ``wire.relay`` if nothing
                that is known was said.
        """
        token = self._token_of(source.uid)
        if not token:
            raise unsigned_otlp(str(uuid.UUID(bytes=source.uid)))
        call = wire.OtlpCall(stream=stream, body=body, is_json=is_json, token=token).SerializeToString()
        self._waiting += len(body)
        try:
            said = wire.OtlpAnswer.FromString(await self._calls.call("otlp", source.uid, call, "", PATIENCE))
        except DecodeError as error:
            raise WireError("relay", "the answer to a request of OTLP is malformed") from error
        except LinkError as error:
            problem = f"records cannot be handed on now: {error.problem}"
            wait = RETRY if error.retry_after is None else error.retry_after
            raise LinkError("busy", problem, "Send them again later", retry_after=wait) from error
        finally:
            self._waiting -= len(body)
        return Rejected(said.rejected, said.why)
