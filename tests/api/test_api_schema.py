"""schemathesis: requests made from the OpenAPI document, right and wrong ones; every answer is in the document."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from api import openapi
from lakehouse.runs.claims import Claims, Line
from lakehouse.runs.states import State
from tests.support.served_api import ServedApi, served, worked_off

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    unsupported_method,
]
EXAMPLES = 12
"""Per operation, right and wrong ones each."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, sample_file: Path) -> Iterator[ServedApi]:
    """Everything is there, and a worker ends every run soon, so that streams end too."""
    with served(tmp_path_factory.mktemp("schema")) as made, worked_off(made, _work_off):
        made.publish(sample_file)
        yield made


def _work_off(api: ServedApi, stop: threading.Event) -> None:
    claims = Claims(api.registry)
    while not stop.wait(0.01):
        run = claims.take("worker", "session")
        if run is not None:
            claims.beat(run, {"step": 1, "steps": 1}, [Line("working")])
            claims.end(run, State.succeeded, "done", result={"rows": 1})


SCHEMA = schemathesis.openapi.from_path(openapi.PATH)
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]
CASES = [
    (operation, mode)
    for operation in OPERATIONS
    for mode in GenerationMode
    # The addresses for operations take nothing that could be wrong.
    if mode is GenerationMode.POSITIVE or operation.path.startswith("/v1/")
]


@pytest.mark.parametrize(("operation", "mode"), CASES, ids=lambda one: getattr(one, "label", None) or one.name.lower())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_no_answer_is_outside_the_document(api: ServedApi, operation, mode, data: st.DataObject) -> None:
    case = data.draw(operation.as_strategy(generation_mode=mode))
    # Names that exist in half of the cases: random ones would only ever be answered with 404.
    if "run_id" in case.path_parameters and data.draw(st.booleans()):
        case.path_parameters["run_id"] = api.start("sparkless")
    if "job" in case.path_parameters and data.draw(st.booleans()):
        case.path_parameters["job"] = data.draw(st.sampled_from(["plain", "cohort_retention", "backfill"]))
    authorization = {"Authorization": api.operator.headers["Authorization"]}
    # There is no Kafka and no lake here: 503 is what these have to say.
    is_away = operation.path == "/readyz" or operation.path.startswith("/v1/trace/")
    checks = [check for check in CHECKS if not (is_away and check is not_a_server_error)]
    case.call_and_validate(base_url=api.url, headers=authorization, checks=checks)


def test_the_document_is_valid_openapi() -> None:
    validate(json.loads(openapi.PATH.read_text(encoding="utf-8")))
