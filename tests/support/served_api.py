"""The API on a real port with a real registry, without Kafka, S3 and Spark; its workers are the tests."""

import contextlib
import shutil
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field
from pyspark.sql.types import StringType, StructType

from api import keys
from api.server import Server, keep_operator_key, server
from lakehouse.jobs import JOBS, Job
from lakehouse.runs.claims import Claims
from lakehouse.runs.models import Run
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.settings import Settings
from lakehouse.table import Table, column
from tests.support.platform import free_settings


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str = Field("a", max_length=2_000)
    mode: Literal["fast", "slow"] = "fast"
    number: int = Field(1, ge=1, le=9)


def _job(name: str, **more: Any) -> Job:
    table = Table("test", name, "nothing", StructType([column("a", StringType(), "a")]), ("a",))
    return Job(name, f"{name}.", Parameters, (table,), 1, lambda *_: {}, **more)


NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Else each client reads the list of all authorities."""
TEST_JOBS = {
    **JOBS,
    **{
        job.name: job
        for job in (
            _job("plain"),
            _job("sparkless", needs_spark=False),
        )
    },
}


@dataclass
class ServedApi:
    """A running API. `operator` may do everything."""

    settings: Settings
    registry: RunRegistry
    operator: httpx.Client
    server: Server

    @property
    def url(self) -> str:
        return self.settings.own_api_url

    def key(self, name: str, *scopes: str, **more: Any) -> str:
        return keys.create(self.registry.database, name, list(scopes), **more)

    def client(self, key: str | None, **headers: str) -> httpx.Client:
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        given = {**authorization, **headers}
        return httpx.Client(base_url=self.url, headers=given, trust_env=False, timeout=30, verify=NO_TLS)

    def caller(self, name: str, *scopes: str) -> httpx.Client:
        return self.client(self.key(name, *scopes))

    def start(self, job: str = "plain", client: httpx.Client | None = None, **parameters: Any) -> str:
        answer = (client or self.operator).post(f"/v1/jobs/{job}/runs", json={"parameters": parameters})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def take(self, run_id: str) -> tuple[Claims, Run]:
        """Work as a worker: end other runs until this one is running."""
        claims = Claims(self.registry)
        for other in self.registry.list(states=("running", "cancelling")):
            claims.end(other, State.succeeded, "out of the way", result={})
        while (run := claims.take("worker", "session")) is not None:
            if run.id == run_id:
                return claims, run
            claims.end(run, State.succeeded, "out of the way", result={})
        raise AssertionError(f"{run_id} cannot be taken")

    def publish(self, file: Path) -> None:
        """Put a copy of a published file in the place of the lake's own, in one step as a publisher does."""
        path = self.settings.serving_file
        path.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, path.with_suffix(".aside"))
        path.with_suffix(".aside").replace(path)

    def send(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        """What the server answers to raw bytes, until it closes the connection."""
        with socket.create_connection((self.settings.api_host, self.settings.api_port), 30) as connection:
            with contextlib.suppress(OSError):  # it may answer and close before all is sent
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            received = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65_536):
                    received += piece
            return received


@contextmanager
def something_listening() -> Iterator[int]:
    """A port where every connection is taken and closed, as long as it lasts; a listener that takes none is full
    after some minutes of looks at it."""
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as other:
        taking = threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True)
        taking.start()
        try:
            yield int(other.server_address[1])
        finally:
            other.shutdown()


@contextmanager
def served(folder: Path, **overrides: Any) -> Iterator[ServedApi]:
    """An API that runs in a thread of this process; something listens where it expects Spark."""
    with something_listening() as spark:
        defaults = {
            "spark_remote": f"sc://127.0.0.1:{spark}",
            "kafka_bootstrap": "127.0.0.1:1",
            "s3_endpoint": "http://127.0.0.1:1",
            "max_parallel_runs": 64,
            "max_queued_runs": 100_000,
            "api_caller_requests_per_minute": 1_000_000,
            "api_address_requests_per_minute": 1_000_000,
        }
        settings = free_settings(folder, **{**defaults, **overrides})
        registry = RunRegistry.open(settings, TEST_JOBS)
        keep_operator_key(settings, registry)
        made = server(settings, registry)
        thread = threading.Thread(target=made.run, daemon=True)
        thread.start()
        wait_until(lambda: made.started or not thread.is_alive(), "the API has started")
        api = ServedApi(settings, registry, httpx.Client(), made)
        api.operator = api.client(settings.operator_key_file.read_text().strip())
        try:
            yield api
        finally:
            made.config.app.state.resources.stopping.set()
            made.should_exit = True
            thread.join(30)
            registry.close()


@contextmanager
def worked_off(api: ServedApi, work: Callable[[ServedApi, threading.Event], None]) -> Iterator[None]:
    """`work` plays the worker in a thread, until the event is set at the end."""
    stop = threading.Event()
    worker = threading.Thread(target=work, args=(api, stop))
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def wait_until(holds: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Return once it holds; a machine that is slow decides nothing."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)


def is_problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The body of a problem, after looking at everything that every problem has."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/problems/{kind}", body
    assert body["status"] == status and body["title"] and body["detail"].endswith(".")
    assert body["request_id"] == answer.headers["x-request-id"]
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    return body
