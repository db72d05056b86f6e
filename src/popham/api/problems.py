"""Errors as ``application/problem+json``: one form, one table of status codes.

Rules:

1. ``code``, ``detail`` and ``hint`` are the error's own code, problem and hint.
2. An answer of 5xx carries no internal text; the log has it.

Source: RFC 9457.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from popham.errors import DefinitionError, LinkError, NotFoundError, PophamError, StateError, WireError
from popham.model.findings import DefinitionSetError

log = logging.getLogger("popham.api")

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[str, HTTPStatus] = {
    "conflict": HTTPStatus.CONFLICT,
    "content": HTTPStatus.FORBIDDEN,
    "definition": HTTPStatus.UNPROCESSABLE_ENTITY,
    "enrollment": HTTPStatus.FORBIDDEN,
    "grant": HTTPStatus.FORBIDDEN,
    "grant.expired": HTTPStatus.UNAUTHORIZED,
    "grant.missing": HTTPStatus.UNAUTHORIZED,
    "grant.role": HTTPStatus.UNPROCESSABLE_ENTITY,
    "grant.scope": HTTPStatus.UNPROCESSABLE_ENTITY,
    "grant.unknown_token": HTTPStatus.UNAUTHORIZED,
    "link": HTTPStatus.SERVICE_UNAVAILABLE,
    "not_found": HTTPStatus.NOT_FOUND,
    "operation": HTTPStatus.CONFLICT,
    "policy": HTTPStatus.UNPROCESSABLE_ENTITY,
    "state": HTTPStatus.SERVICE_UNAVAILABLE,
    "state.internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "wire": HTTPStatus.BAD_REQUEST,
    "wire.method": HTTPStatus.METHOD_NOT_ALLOWED,
    "wire.slow": HTTPStatus.REQUEST_TIMEOUT,
    "wire.too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}
"""Code, or else its area → status. What is absent is a fault of ours: 500."""


def status_of(error: PophamError) -> HTTPStatus:
    """Return the status that stands for ``error``."""
    return STATUS.get(error.code) or STATUS.get(error.area) or HTTPStatus.INTERNAL_SERVER_ERROR


def problem(error: PophamError) -> JSONResponse:
    """Return the one answer that an error becomes."""
    status = status_of(error)
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "code": error.code,
        "detail": error.problem,
        "hint": error.hint,
        "retryable": error.retryable,
    }
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("answered %d: %s", status, error)
        body["detail"] = "the Manager could not do this; its log says why"
        body["hint"] = ""
    if isinstance(error, DefinitionError):
        body |= {"source": error.source, "line": error.line}
    if isinstance(error, DefinitionSetError):
        body["errors"] = [_finding(found) for found in error.errors]
    return JSONResponse(body, status, headers=_headers(error, status), media_type=MEDIA_TYPE)


async def render_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - the framework's signature
    """Return the answer to an error of ours."""
    if not isinstance(error, PophamError):
        raise TypeError(f"{type(error).__name__} is no error of ours") from error
    return problem(error)


async def render_http(request: Request, error: Exception) -> JSONResponse:
    """Return the answer to an error that the framework found."""
    if isinstance(error.__cause__, PophamError):
        return problem(error.__cause__)
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.BAD_REQUEST
    if status == HTTPStatus.NOT_FOUND:
        return problem(NotFoundError("route", "nothing is served on this path"))
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return problem(WireError("method", f"{request.method} is not served on this path"))
    return problem(WireError("request", "the body is no JSON", "Send JSON as /openapi.json describes it"))


async def render_invalid(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - likewise
    """Return the answer to a request that does not fit the schema: its first fault."""
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    first = next(iter(faults), {"loc": ("body",), "msg": "it does not fit the schema"})
    where = ".".join(str(part) for part in first["loc"])
    return problem(WireError("request", f"{where}: {first['msg']}", "/openapi.json has the schema"))


async def render_fault(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - likewise
    """Return the answer to a fault of ours; the server logs it with its trace."""
    return problem(StateError("internal", f"an unforeseen error: {type(error).__name__}"))


def _finding(error: DefinitionError) -> dict[str, Any]:
    return {
        "code": error.code,
        "detail": error.problem,
        "hint": error.hint,
        "source": error.source,
        "line": error.line,
    }


def _headers(error: PophamError, status: HTTPStatus) -> dict[str, str]:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="popham"'
    if isinstance(error, LinkError) and error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return headers
