"""`/v1/trace` over a lake of real tables: who may ask, what is answered, and that it is what the commands answer."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from pyspark.sql import SparkSession

from gold import revenue
from lakehouse.delta_log import DeltaLog
from lakehouse.serving.figures import Figures
from lakehouse.serving.newest import open_publish
from lakehouse.serving.publisher import Publisher
from lakehouse.serving.sql_output import exact_json
from lakehouse.serving.trace import Tracer
from lakehouse.sql import connect
from producer.record import Record
from tests.support.served_api import ServedApi, is_problem, served
from tests.support.traced_lake import bronze_of, fill, served_lake

pytestmark = pytest.mark.spark
HOUR = datetime(2026, 9, 3, 10, tzinfo=UTC)
ODD = "a/b?c=d&e #%\u00fc"
"""An id that an address must escape."""


def purchase(event_id: str, amount: object) -> Record:
    event = {"event_id": event_id, "event_type": "purchase", "user_id": "u1", "timestamp": "2026-09-03T10:15:30Z"}
    value = json.dumps(event | {"data": {"order_id": event_id, "total_amount": amount, "currency": "EUR"}})
    return Record("shop.purchases", b"u1", value.encode(), HOUR.timestamp() + 960)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Iterator[ServedApi]:
    with served_lake(tmp_path_factory.mktemp("traced")) as lake:
        sent = [purchase("e1", 0.000000001), purchase(ODD, 12.5), purchase("e3", "12.5")]
        fill(lake, spark, bronze_of(sent), [revenue.TABLE])
        with connect(lake) as reader:
            Publisher(lake, reader, DeltaLog(lake)).publish()
        own = {"data_dir": lake.data_dir, "s3_port": lake.s3_port, "s3_endpoint": None}
        with served(tmp_path_factory.mktemp("api"), **own) as made:
            yield made


@pytest.fixture
def reader(api: ServedApi) -> httpx.Client:
    return api.caller("analyst", "trace:read")


def test_a_record_is_told_as_the_command_tells_it(api: ServedApi, reader: httpx.Client) -> None:
    for given in ({"event_id": ODD}, {"key": "u1"}, {"at": "shop.purchases-0-2"}, {"event_id": "e3"}):
        answer = reader.get("/v1/trace/event", params=given)
        assert answer.status_code == 200, answer.text
        with connect(api.settings) as lake:
            expected = Tracer(api.settings, lake, open_publish(api.settings.serving_file)).trace(**given)
        assert answer.content == exact_json(expected.model_dump())


def test_a_number_is_told_with_all_its_digits(api: ServedApi, reader: httpx.Client) -> None:
    answer = reader.get(
        "/v1/trace/figure",
        params={
            "table": "gold.revenue_hourly",
            "hour": "2026-09-03T12:30:00+02:00",
            "column": "revenue",
            "of": "currency=EUR",
        },
    )
    assert answer.status_code == 200, answer.text
    assert '"value":12.500000001,' in answer.text and '"adds_up_to":12.500000001,' in answer.text
    told = answer.json()
    assert told["matches"] is True and told["hour_start"] == "2026-09-03T10:00:00Z"
    assert {one["event_id"] for one in told["first_events"]} == {"e1", ODD}
    with connect(api.settings) as lake:
        figures = Figures(api.settings, lake, open_publish(api.settings.serving_file))
        expected = figures.trace("gold.revenue_hourly", HOUR, "revenue", {"currency": "EUR"}, 100)
    assert answer.content == exact_json(expected.model_dump())


@pytest.mark.parametrize(
    ("query", "status", "kind", "said"),
    [
        ("event", 422, "wrong-parameter", "Say one of these"),
        ("event?event_id=e1&key=u1", 422, "wrong-parameter", "Say one of these"),
        ("event?event_id=e%001", 422, "wrong-parameter", "event_id"),
        ("event?at=shop.purchases", 422, "wrong-parameter", "at"),
        ("event?event_id=nobody's", 404, "unknown-record", "is in bronze"),
        ("figure?table=gold.kpis_hourly&hour=2026-09-03T10:00:00Z", 422, "wrong-parameter", "column"),
        ("figure?table=gold.x&hour=2026-09-03T10:00:00Z&column=a", 422, "wrong-parameter", "no table gold.x"),
        ("figure?table=gold.kpis_hourly&hour=2026-09-03T10:00:00&column=clicks", 422, "wrong-parameter", "hour"),
        ("figure?table=gold.kpis_hourly&hour=2026-09-03T10:00:00Z&column=clicks&of=x", 422, "wrong-parameter", "EUR"),
        ("figure?table=gold.kpis_hourly&hour=9999-12-31T23:00:00Z&column=clicks", 404, "unknown-record", "no row"),
        ("figure?table=gold.kpis_hourly&hour=0001-01-01T00:00:00Z&column=clicks", 404, "unknown-record", "no row"),
    ],
)
def test_a_wrong_question_is_a_problem(reader: httpx.Client, query: str, status: int, kind: str, said: str) -> None:
    body = is_problem(reader.get(f"/v1/trace/{query}"), status, kind)
    assert said in body["detail"], body


def test_who_may_read_gold_may_not_read_events(api: ServedApi) -> None:
    for address in ("event?event_id=e1", "figure?table=gold.kpis_hourly&hour=2026-09-03T10:00:00Z&column=clicks"):
        is_problem(api.caller("dashboard", "gold:read").get(f"/v1/trace/{address}"), 403, "missing-scope")
        is_problem(api.client(None).get(f"/v1/trace/{address}"), 401, "not-authenticated")
