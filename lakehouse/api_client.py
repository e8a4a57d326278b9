"""The HTTP API as the command line uses it: starts a run, follows it, and turns problems into one sentence."""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import tenacity

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.runs.states import TERMINAL
from lakehouse.settings import Settings

USER_AGENT = "shoplake-cli"
TIMEOUT = httpx.Timeout(30.0, connect=3.0)
LOOK_SECONDS = 0.5
"""Workers tell their progress twice a second."""
PATIENCE_SECONDS = 60.0
"""How long a followed run may be out of reach."""
START_SECONDS = 20.0
"""How long a start is tried again while the API asks for patience."""
_WRONG_USE = (400, 404, 413, 415, 422)
_WORTH_A_RETRY = (429, 503)


def patient(seconds: float, pause: float) -> tenacity.Retrying:
    """Asks again while a part of the platform is away; a wrong use is told at once."""
    return tenacity.Retrying(
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_fixed(pause),
        retry=tenacity.retry_if_exception_type(ShoplakeError) & tenacity.retry_if_not_exception_type(UsageError),
        reraise=True,
    )


class ApiClient(httpx.Client):
    """A caller of one API. Use as a context manager, or close it."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is asked yet. Raises UsageError when there is no key to use."""
        self.url = (settings.api_url or settings.own_api_url).rstrip("/")
        self.is_own = self.url == settings.own_api_url
        """Whether it is the API of the lake whose settings these are."""
        is_here = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        super().__init__(
            base_url=self.url,
            headers={"Authorization": f"Bearer {_key(settings, self.url)}", "User-Agent": USER_AGENT},
            timeout=TIMEOUT,
            # Proxy variables are for other machines; a certificate of one's own is trusted on one's own machine.
            trust_env=not is_here,
            verify=_trusted(settings, is_here),
        )

    def start(self, job: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """A new run as it was accepted. A full queue, a limit or a restart is waited for, and starts one run only."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        end = time.monotonic() + START_SECONDS
        while True:
            body = {"parameters": dict(parameters)}
            answer = self._send("POST", f"/v1/jobs/{job}/runs", headers=headers, json=body)
            if answer.status_code not in _WORTH_A_RETRY or time.monotonic() > end:
                return _checked(answer)
            time.sleep(min(10, int(answer.headers.get("Retry-After", "1"))))

    def run(self, run_id: str) -> dict[str, Any]:
        """A run as it is now."""
        return _checked(self._send("GET", f"/v1/runs/{run_id}"))

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Runs, the newest first. Filters as the API names them; None is no filter."""
        given = {name: value for name, value in filters.items() if value is not None}
        items: list[dict[str, Any]] = _checked(self._send("GET", "/v1/runs", params=given))["items"]
        return items

    def cancel(self, run_id: str) -> dict[str, Any]:
        """The run after asking for its end."""
        return _checked(self._send("POST", f"/v1/runs/{run_id}/cancel"))

    def log_lines(self, run_id: str, *, follow: bool) -> Iterator[dict[str, Any]]:
        """Lines of a run's log, the oldest first; with `follow` until it ends."""
        after, is_over = 0, not follow
        while True:
            page = _checked(self._send("GET", f"/v1/runs/{run_id}/logs", params={"after": after}))
            yield from page["items"]
            after = page["next_after"]
            if page["items"]:
                continue
            if is_over:
                return
            # A run says its last words before it ends: after that they are asked for once more.
            is_over = self.run(run_id)["state"] in TERMINAL
            if not is_over:
                time.sleep(0.5)

    def looks_at(self, run_id: str) -> Iterator[dict[str, Any]]:
        """A run, twice a second until it has ended. A break is waited out, as while the API restarts."""
        again = patient(PATIENCE_SECONDS, LOOK_SECONDS)
        while True:
            run = again(self.run, run_id)
            yield run
            if run["state"] in TERMINAL:
                return
            time.sleep(LOOK_SECONDS)

    def _send(self, method: str, path: str, **how: Any) -> httpx.Response:
        try:
            return self.request(method, path, **how)
        except httpx.ConnectError:
            raise ShoplakeError(f"The API at {self.url} does not answer: `make up` starts it.") from None
        except httpx.InvalidURL:
            raise UsageError(f"{path!r} is no address: it has no name of a job and no id of a run.") from None
        except httpx.HTTPError as error:
            raise ShoplakeError(f"The API at {self.url} broke off ({error}): `make status` shows its state.") from None


def _key(settings: Settings, url: str) -> str:
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    # This machine's operator key is never sent elsewhere.
    if url == settings.own_api_url:
        try:
            return settings.operator_key_file.read_text().strip()
        except PermissionError:
            raise UsageError("The operator key is another user's: set SHOPLAKE_API_KEY to a key of yours.") from None
        except OSError:
            raise ShoplakeError(f"The API at {url} was never started: `make up` starts it.") from None
    raise UsageError(f"A key for {url} is needed: set SHOPLAKE_API_KEY (`shoplake keys create` makes one).")


def _trusted(settings: Settings, is_here: bool) -> Any:
    import ssl

    if is_here and settings.api_tls_cert is not None:
        return ssl.create_default_context(cafile=str(settings.api_tls_cert))
    return True


def _checked(answer: httpx.Response) -> dict[str, Any]:
    """The body of an answer. Raises UsageError or ShoplakeError with the problem's sentence."""
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if answer.is_success and isinstance(body, dict):
        return body
    detail = str(body.get("detail") or f"The API answered {answer.status_code}.") if isinstance(body, dict) else ""
    raise (UsageError if answer.status_code in _WRONG_USE else ShoplakeError)(detail)
