"""OAuth2 client credentials: an API key becomes a token that lives for minutes (RFC 6749, section 4.4)."""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from api import tokens
from api.authentication import CHALLENGE, identify, note
from api.keys import PREFIX, SCOPES, Caller
from api.models import TokenView
from api.problems import Problem
from api.resources import Resources, Shared
from api.routes.answers import problems

router = APIRouter(prefix="/v1/token", tags=["security"])
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20
_BODY = {
    "required": True,
    "content": {
        _FORM: {
            "schema": {
                "type": "object",
                "required": ["grant_type"],
                "properties": {
                    "grant_type": {"const": "client_credentials"},
                    "client_id": {"type": "string", "description": "Anything: the key says who you are."},
                    "client_secret": {"type": "string", "description": "An API key; or send it by HTTP Basic."},
                    "scope": {"type": "string", "description": "Fewer scopes than the key has, separated by spaces."},
                },
            }
        }
    },
}


async def token_form(request: Request) -> dict[str, str]:
    """The form. Raises Problem `wrong-media-type` or `bad-token-request`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Problem("wrong-media-type", f"The body must be {_FORM}.")
    try:
        pairs = parse_qsl((await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise _refused("invalid_request", "The form cannot be read.") from None
    form = dict(pairs)
    if form.get("grant_type") != "client_credentials":
        raise _refused("unsupported_grant_type", "The grant_type must be client_credentials.")
    return form


@router.post(
    "",
    summary="Exchange a key for a token",
    responses=problems("bad-token-request", "not-authenticated", "wrong-media-type", "dependency-away"),
    openapi_extra={"requestBody": _BODY},
)
async def issue_token(request: Request, shared: Shared) -> TokenView:
    """The token is sent as `Authorization: Bearer`, like a key, and dies with its key."""
    form = await token_form(request)
    return await run_in_threadpool(_issue, request, shared, form)


def _issue(request: Request, shared: Resources, form: dict[str, str]) -> TokenView:
    credential = _basic_password(request) or form.get("client_secret")
    # A token must not beget another, or a stolen one would live for ever.
    if credential and not credential.startswith(PREFIX + "_"):
        raise Problem(
            "not-authenticated",
            "The client_secret is not an API key.",
            headers={"WWW-Authenticate": CHALLENGE},
            error="invalid_client",
        )
    caller = identify(request, shared, credential)
    shared.rates.count_caller(caller.name)
    lifetime = timedelta(minutes=shared.settings.api_token_minutes)
    token = tokens.issue(shared.registry.database, caller, _scopes(caller, form.get("scope", "")), lifetime)
    note(request, shared, "token.issue", caller.key_id, "done", caller.name)
    return TokenView(
        access_token=token.text,
        token_type="bearer",  # noqa: S106 - what RFC 6749 calls it
        expires_in=token.seconds,
        scope=" ".join(sorted(token.scopes)),
    )


def _scopes(caller: Caller, asked: str) -> frozenset[str]:
    """The scopes asked for, or all that the key has. Raises Problem `bad-token-request`."""
    wanted = frozenset(asked.split()) or caller.scopes
    for scope in sorted(wanted):
        if scope not in SCOPES or not caller.may(scope):
            raise _refused("invalid_scope", f"The key cannot give the scope {scope[:40]!r}.")
    return wanted


def _basic_password(request: Request) -> str | None:
    scheme, _, coded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(coded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeError):
        return None
    return unquote_plus(pair.partition(":")[2]) or None


def _refused(error: str, detail: str) -> Problem:
    return Problem("bad-token-request", detail, error=error, error_description=detail)
