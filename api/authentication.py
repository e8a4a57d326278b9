"""Who asks, and whether they may: a key becomes a Caller, before anything else of a request is looked at."""

from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer, SecurityScopes
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.concurrency import run_in_threadpool

from api import keys
from api.keys import Caller
from api.limits import network_of
from api.problems import Problem
from api.resources import Shared
from lakehouse.runs.models import AuditRow

CHALLENGE = 'Bearer realm="shoplake"'

_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key (`shoplake keys create`).")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="apiKey", description="An API key.")


async def authenticated(
    request: Request,
    needed: SecurityScopes,
    shared: Shared,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    key: Annotated[str | None, Security(_header)],
) -> Caller:
    """The caller, whose key is in either header, and who has every scope that the route needs.

    Raises Problem `not-authenticated`, `missing-scope`, or `too-many-requests`.
    """
    caller = await _identified(request, shared, bearer.credentials if bearer else key)
    request.state.caller = caller.name
    shared.limits.callers.count(caller.name)
    for scope in needed.scopes:
        if not caller.may(scope):
            shared.limits.missing_scopes.count(caller.name)
            await run_in_threadpool(note, request, "access.denied", request.url.path, "missing-scope")
            challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
            raise Problem("missing-scope", f"This needs the scope {scope}.", headers={"WWW-Authenticate": challenge})
    return caller


async def _identified(request: Request, shared: Shared, credential: str | None) -> Caller:
    """Whose key this is. Raises Problem `not-authenticated`, or `too-many-requests` after many wrong ones."""
    if not credential:
        headers = {"WWW-Authenticate": CHALLENGE}
        raise Problem("not-authenticated", "The request carries no key.", headers=headers)
    # Looked up by the event loop itself: one row by its key takes less time than a thread to do it in.
    caller = keys.recognise(shared.registry.database, credential)
    if caller is None:
        # Counted only here: whoever has a valid key is never locked out by others at the same address.
        shared.limits.wrong_keys.count(network_of(address_of(request)))
        await run_in_threadpool(note, request, "access.denied", request.url.path, "not-authenticated")
        headers = {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
        raise Problem("not-authenticated", "The key is unknown, expired or revoked.", headers=headers)
    if not keys.is_use_noted(caller):
        await run_in_threadpool(keys.note_use, shared.registry.database, caller)
    return caller


def note(request: Request, action: str, target: str, outcome: str) -> None:
    """Add to the audit trail, with the request's id, caller and address. `action` is a verb and its object
    (`run.start`), `outcome` is `done` or a problem's kind."""
    row = AuditRow(
        action=action,
        target=target[:255],
        outcome=outcome,
        caller=getattr(request.state, "caller", None),
        request_id=request.state.request_id,
        address=address_of(request),
    )
    with request.app.state.resources.registry.database.writing() as session:
        session.add(row)


def address_of(request: Request) -> str:
    """The address that the request came from."""
    return request.client.host if request.client else "unknown"


Reader = Annotated[Caller, Security(authenticated, scopes=["jobs:read"])]
Runner = Annotated[Caller, Security(authenticated, scopes=["jobs:run"])]
Canceller = Annotated[Caller, Security(authenticated, scopes=["jobs:cancel"])]
GoldReader = Annotated[Caller, Security(authenticated, scopes=["gold:read"])]
TraceReader = Annotated[Caller, Security(authenticated, scopes=["trace:read"])]
Admin = Annotated[Caller, Security(authenticated, scopes=["admin"])]
