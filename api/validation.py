"""Turns what pydantic says into problems that name the field, what was wrong, and what is expected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.limits import body_too_large
from api.models import RunRequest
from api.problems import Problem
from api.resources import Shared
from lakehouse.jobs import Job, WrongParameters
from lakehouse.wording import in_words


def parameters_of(job: Job, given: Mapping[str, Any]) -> BaseModel:
    """Typed parameters of a run. Raises Problem `wrong-parameter` that names every wrong one."""
    try:
        return job.parse(given)
    except WrongParameters as error:
        fields = job.parameters.model_json_schema().get("properties", {})
        listed = [_entry(one, fields, "parameters") for one in error.errors]
        raise Problem("wrong-parameter", str(error), errors=listed) from None


def wrong(errors: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]) -> Problem:
    """The problem of these pydantic errors. `fields` are JSON schemas by name, to say what is expected."""
    listed = [_entry(error, fields) for error in errors]
    first = listed[0]
    return Problem("wrong-parameter", f"{first['field']} is wrong: {first['message']}.", errors=listed)


def _entry(error: Mapping[str, Any], fields: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    path = [str(part) for part in error["loc"]]
    name = path[0] if path else ""
    entry: dict[str, Any] = {"field": ".".join(filter(None, [place, *path]))[:200] or "body"}
    entry["message"] = in_words(error)
    if error["type"] == "extra_forbidden":
        return {**entry, "known": sorted(fields)}
    schema = fields.get(name)
    if schema is not None:
        entry["expected"] = {key: value for key, value in schema.items() if key not in ("title", "default")}
    return entry


async def run_request(request: Request, shared: Shared) -> RunRequest:
    """The body, read only after the caller and the job are known; an empty body is an empty object.

    Raises Problem `too-large`, `wrong-media-type`, `bad-json` or `wrong-parameter`.
    """
    body, most_bytes = bytearray(), shared.settings.api_max_body_kb * 1024
    async for piece in request.stream():
        body += piece
        if len(body) > most_bytes:
            raise body_too_large(most_bytes)
    if not body:
        return RunRequest()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem("wrong-media-type", "The body must be application/json.", headers={"Accept": "application/json"})
    try:
        given = json.loads(body.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200] if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise Problem("bad-json", f"The body is wrong: {reason}.") from None
    try:
        return RunRequest.model_validate(given)
    except ValidationError as error:
        raise wrong(error.errors(include_url=False), RunRequest.model_json_schema()["properties"]) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
