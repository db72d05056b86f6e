"""The application that people's listener serves: REST under ``/api/v1``, health, OpenAPI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from popham import __version__
from popham.api.bodies import Problem
from popham.api.descriptions import complete
from popham.api.gate import Gate
from popham.api.problems import render_error, render_fault, render_http, render_invalid
from popham.api.routes import (
    agent_definitions,
    agents,
    alerts,
    audit,
    data,
    definitions,
    drafts,
    grants,
    health,
    intake,
    metrics,
    operations,
    proxies,
    rollouts,
    summary,
    tokens,
)
from popham.errors import PophamError
from popham.manager.service import ManagerService

BASE = "/api/v1"
ABOUT = (
    "Agents, groups, policies and tokens of one Manager. Times are unix seconds, durations seconds. "
    "Errors are `application/problem+json` with a stable `code` and a `hint`."
)


def create_app(service: ManagerService, *, is_ready: Callable[[], bool] = lambda: True) -> FastAPI:
    """Return the application.

    There is no docs page: the framework's own would load scripts from a CDN.
    ``/openapi.json`` has everything, for whoever may read.

    Args:
        service: What it calls.
        is_ready: Whether ``/readyz`` may say so.
    """
    app = FastAPI(
        title="Popham",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        # The gate stands outside everything but the last resort for our own faults.
        exception_handlers={
            PophamError: render_error,
            HTTPException: render_http,
            RequestValidationError: render_invalid,
            Exception: render_fault,
        },
    )
    app.state.service = service
    app.state.is_ready = is_ready
    app.include_router(health.router)
    app.include_router(metrics.router)
    parts: tuple[APIRouter, ...] = (
        agents.router,
        agent_definitions.router,
        proxies.router,
        definitions.router,
        definitions.groups,
        definitions.policies,
        tokens.router,
        grants.router,
    )
    parts += (
        drafts.router,
        rollouts.router,
        operations.router,
        intake.router,
        summary.router,
        alerts.router,
        data.router,
        audit.router,
    )
    for router in parts:
        app.include_router(router, prefix=BASE)
    app.add_middleware(Gate, service=service)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # the framework's documented way
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
        app.openapi_schema = complete(schema)
    return app.openapi_schema
