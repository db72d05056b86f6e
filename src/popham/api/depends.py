"""What handlers ask for: the grant, the service, and the parts of a list."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from popham.errors import GrantError
from popham.manager.grant import Grant
from popham.manager.service import ManagerService

bearer = HTTPBearer(auto_error=False, description="An API token, `pop_<id>_<secret>`.")


def require_grant(
    request: Request,
    shown: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],  # noqa: ARG001 - for the document
) -> Grant:
    """Return the grant that the gate left with the request.

    Raises:
        GrantError: There is none: the route is open to anybody and may not ask for one.
    """
    grant = getattr(request.state, "grant", None)
    if not isinstance(grant, Grant):
        raise GrantError("missing", "this needs an identity, and none was shown")
    return grant


def find_service(request: Request) -> ManagerService:
    """Return the service that the application was made with."""
    found: ManagerService = request.app.state.service
    return found


Granted = Annotated[Grant, Depends(require_grant)]
Service = Annotated[ManagerService, Depends(find_service)]
Ref = Annotated[str, Path(description="Name or uid of an agent.", max_length=256)]
Name = Annotated[str, Path(description="Name of the object.", max_length=256)]
Cursor = Annotated[
    str, Query(description="`cursor` of the page before; empty for the first.", max_length=256)
]
Limit = Annotated[int, Query(description="Objects per page, at most.", ge=1, le=1000)]
