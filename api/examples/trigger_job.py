"""Starts a job, follows it, and prints its result. Needs nothing but Python; the exit code is 0 when it succeeded.

export SHOPLAKE_API_KEY=$(shoplake keys create demo --scope jobs:run --scope jobs:read)
python api/examples/trigger_job.py cohort_retention timezone=Europe/Berlin
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

PORT = os.environ.get("SHOPLAKE_API_PORT", "8000")
API = os.environ.get("SHOPLAKE_API_URL", f"http://127.0.0.1:{PORT}")
ENDED = ("succeeded", "failed", "cancelled", "lost")


def call(path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    """The open answer of the API; an error of the API ends the program with its sentence."""
    sent = {"Authorization": f"Bearer {os.environ['SHOPLAKE_API_KEY']}", "Content-Type": "application/json", **headers}
    data = None if body is None else json.dumps(body).encode()
    try:
        return urllib.request.urlopen(urllib.request.Request(API + path, data, sent), timeout=60)  # noqa: S310 - whose address it is, is the user's choice
    except urllib.error.HTTPError as error:
        sys.exit(json.load(error)["detail"])


def follow(run: str) -> None:
    """Print what happens to a run until it ends or the connection breaks."""
    for line in call(f"{run}/events"):
        if line.startswith(b"data: "):
            event = json.loads(line.removeprefix(b"data: "))
            print(event["state"], (event["data"] or {}).get("doing", event["cause"] or ""), file=sys.stderr)


def main() -> int:
    """Start the job named by the first argument with the parameters in the others."""
    job, parameters = sys.argv[1], dict(argument.split("=", 1) for argument in sys.argv[2:])
    # With an Idempotency-Key the request may be repeated: it starts one run only.
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    run = call(f"/v1/jobs/{job}/runs", {"parameters": parameters}, **headers).headers["Location"]
    follow(run)
    while (told := json.load(call(run)))["state"] not in ENDED:  # the connection broke
        time.sleep(1)
        follow(run)
    print(json.dumps(told["result"] or told["error"], indent=2))
    return 0 if told["state"] == "succeeded" else 1


if __name__ == "__main__":
    sys.exit(main())
