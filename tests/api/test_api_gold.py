"""Gold over HTTP: filters, pages, versions and forms, over a published file."""

import csv
import io
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import duckdb
import httpx
import pytest

from api import gold_tables
from api.gold_tables import Listing
from tests.support.served_api import ServedApi, is_problem, served

LISTINGS = {f"/v1/gold{path}": listing for path, listing in gold_tables.LISTINGS.items()}
Change = Callable[..., None]


@pytest.fixture
def reader(api: ServedApi) -> httpx.Client:
    return api.client(api.key("dashboard", "gold:read"))


@pytest.fixture
def republish(api: ServedApi, sample_file: Path, tmp_path: Path) -> Iterator[Change]:
    """Publishes the sample again after a statement has changed it; a publisher says when it published what changed."""

    def change(statement: str, table: str = "gold.kpis_hourly") -> None:
        copy = tmp_path / "changed.duckdb"
        shutil.copyfile(sample_file, copy)
        with duckdb.connect(str(copy)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(statement)
            connection.execute("UPDATE _published SET published_at = now()::TIMESTAMP WHERE table_name = ?", [table])
        api.publish(copy)

    yield change
    api.publish(sample_file)


def items(answer: httpx.Response) -> list[dict]:
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def every_page(client: httpx.Client, path: str, **parameters: object) -> list[dict]:
    found, address = [], str(httpx.URL(path, params=parameters))
    while address:
        answer = client.get(address)
        found += items(answer)
        address = answer.links["next"]["url"] if "next" in answer.links else ""
        assert bool(address) == bool(answer.json()["next_cursor"])
    return found


@pytest.mark.parametrize("path", LISTINGS)
def test_all_pages_together_are_the_table_in_order(api: ServedApi, reader: httpx.Client, path: str):
    listing: Listing = LISTINGS[path]
    order = ", ".join((f"{listing.moment} DESC", *listing.then))
    with duckdb.connect(str(api.settings.serving_file), read_only=True) as connection:
        rows = connection.execute(
            f"SELECT {', '.join(listing.columns)} FROM {listing.table.full_name} ORDER BY {order}"
        ).fetchall()
    found = every_page(reader, path, limit=3)
    assert len(found) == len(rows) > 0
    for item, row in zip(found, rows, strict=True):
        assert list(item) == list(listing.columns)
        for value, stored in zip(item.values(), row, strict=True):
            if isinstance(stored, datetime):
                assert value.endswith("Z") and datetime.fromisoformat(value).replace(tzinfo=None) == stored
            elif isinstance(stored, Decimal):
                assert Decimal(str(value)) == stored
            else:
                assert value == (
                    stored if stored is None or isinstance(stored, int | float | str | list) else str(stored)
                )


def test_any_text_of_an_event_can_be_listed_and_asked_for(reader: httpx.Client, republish: Change):
    """A currency is any text of an event, and part of the cursor."""
    hour = "SELECT max(hour_start) AS hour_start FROM gold.revenue_hourly"
    republish(
        f"INSERT INTO gold.revenue_hourly BY NAME SELECT *, unnest([repeat('€', 2048), repeat('€', 2047), 'R$'])"
        f" AS currency FROM ({hour})",
        "gold.revenue_hourly",
    )
    found = [row["currency"] for row in every_page(reader, "/v1/gold/revenue", limit=1)]
    assert {len(text) for text in found} >= {2047, 2048}
    (row,) = items(reader.get("/v1/gold/revenue", params={"currency": "R$"}))
    assert row["currency"] == "R$"


def test_filters_choose_rows(reader: httpx.Client):
    every = every_page(reader, "/v1/gold/top-products", limit=5_000)
    hours = sorted({row["hour_start"] for row in every})
    since, until = hours[3], hours[6]

    def found(path: str, **parameters: object) -> list[dict]:
        return items(reader.get(f"/v1/gold/{path}", params=parameters))

    assert {row["hour_start"] for row in found("top-products", since=since, until=until)} == set(hours[3:6])
    assert {row["rank"] for row in found("top-products", max_rank=2)} == {1, 2}
    assert {row["product_id"] for row in found("top-products", product_id="p2")} == {"p2"}
    assert len({row["hour_start"] for row in found("top-products", status="provisional")}) == 2
    assert [row["hour_start"] for row in found("kpis", since=since, until=until)] == hours[3:6][::-1]
    flags = found("fraud-flags", severity="high", rule=["card_testing", "bot_browsing"])
    assert {(row["severity"], row["rule_id"]) for row in flags} == {("high", "card_testing")}
    assert [row["score"] for row in found("fraud-flags", min_score=0.75)] == [0.9, 0.8]
    assert len(found("fraud-flags", entity_type="user", entity="u1", user_id="u1")) == 2
    assert not found("fraud-flags", entity_type="card") and not found("fraud-flags", detected_since="2100-01-01T00:00Z")
    cells = {"granularity": "week", "definition": "n_day", "activity": "any", "timezone": "UTC"}
    assert [row["period_index"] for row in found("retention", **cells, max_period=1)] == [0, 1]
    assert [row["period_index"] for row in found("retention", is_complete=False)] == [3]
    assert not found("retention", until="2026-09-07") and len(found("retention", since="2026-09-07")) == 4


@pytest.mark.parametrize("attempt", ["p1' OR '1'='1", "p1'; DROP TABLE gold.kpis_hourly; --", "?", "p1\x00", "😀"])
def test_values_are_never_part_of_a_statement(reader: httpx.Client, attempt: str):
    assert items(reader.get("/v1/gold/top-products", params={"product_id": attempt})) == []
    assert items(reader.get("/v1/gold/kpis"))


def test_an_hour_that_comes_meanwhile_moves_no_page(reader: httpx.Client, republish: Change):
    first = reader.get("/v1/gold/kpis?limit=2")
    later = "SELECT max(hour_start) + INTERVAL 1 HOUR AS hour_start FROM gold.kpis_hourly"
    republish(f"INSERT INTO gold.kpis_hourly BY NAME {later}")
    second = items(reader.get(first.links["next"]["url"]))
    oldest_first = [row["hour_start"] for row in [*items(first), *second]][::-1]
    hours = [datetime.fromisoformat(hour) for hour in oldest_first]
    assert [(later - earlier).total_seconds() for earlier, later in pairwise(hours)] == [3600] * 3


def test_old_rows_are_found_behind_a_gap(reader: httpx.Client, republish: Change):
    """Only the newest days are looked at first; what is older still belongs to the page."""
    republish("INSERT INTO gold.kpis_hourly BY NAME SELECT TIMESTAMP '2020-01-01' AS hour_start, 7 AS clicks")
    assert every_page(reader, "/v1/gold/kpis", limit=100)[-1]["hour_start"] == "2020-01-01T00:00:00Z"
    (old,) = items(reader.get("/v1/gold/kpis?until=2021-01-01T00:00:00Z"))
    assert old["clicks"] == 7


def test_a_version_that_the_caller_has_is_not_sent_again(reader: httpx.Client, republish: Change):
    first = reader.get("/v1/gold/fraud-flags")
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = reader.get("/v1/gold/fraud-flags", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert reader.get("/v1/gold/fraud-flags?format=csv", headers={"If-None-Match": etag}).status_code == 200
    republish("UPDATE _published SET delta_version = 9 WHERE table_name = 'gold.kpis_hourly'")
    assert reader.get("/v1/gold/fraud-flags", headers={"If-None-Match": etag}).status_code == 304
    republish(
        "DELETE FROM gold.fraud_flags WHERE severity = 'low';"
        "UPDATE _published SET delta_version = 1 WHERE table_name = 'gold.fraud_flags'",
        table="gold.fraud_flags",
    )
    changed = reader.get("/v1/gold/fraud-flags", headers={"If-None-Match": etag})
    assert len(items(changed)) == 2 and changed.headers["etag"] != etag


def test_what_holds_a_table_back_is_told(reader: httpx.Client, republish: Change):
    assert reader.get("/v1/gold/kpis").json()["published"]["held_back_by"] == []
    republish("UPDATE _published SET blocked_by = 'a; b' WHERE table_name = 'gold.kpis_hourly'")
    told = reader.get("/v1/gold/kpis").json()["published"]
    assert told["rows_held_back"] == 0 and told["held_back_by"] == ["a", "b"] and told["published_at"].endswith("Z")


@pytest.mark.parametrize(
    ("accept", "query", "media_type"),
    [
        (None, "", "application/json"),
        ("*/*", "", "application/json"),
        ("text/csv", "", "text/csv"),
        ("text/csv;q=0.5, application/json;q=0.4", "", "text/csv"),
        ("text/html, */*;q=0.8", "", "application/json"),
        ("application/xml", "", "application/json"),
        ("text/csv", "format=json", "application/json"),
        ("application/json", "format=csv", "text/csv"),
    ],
)
def test_the_caller_chooses_the_form(reader: httpx.Client, accept: str | None, query: str, media_type: str):
    reader.headers.pop("accept")
    answer = reader.get(f"/v1/gold/kpis?{query}", headers={"Accept": accept} if accept else {})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith(media_type)
    assert "Accept" in answer.headers["vary"]


def test_nobody_is_given_the_answer_to_anothers_question(api: ServedApi, reader: httpx.Client):
    """Answers are kept: what a caller hides behind a # decided what others were answered."""
    key, path = reader.headers["Authorization"], "/v1/gold/fraud-flags?user_id=u1"
    asked = f"GET {path}#x HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}\r\nConnection: close\r\n\r\n"
    assert b'"items":[]' in api.send(asked.encode())
    assert items(reader.get(path))


def test_csv_has_the_same_rows_and_pages(reader: httpx.Client):
    answer = reader.get("/v1/gold/fraud-flags?format=csv&limit=2")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    expected = items(reader.get("/v1/gold/fraud-flags?limit=2"))
    assert [row["flag_id"] for row in rows] == [row["flag_id"] for row in expected]
    assert rows[0]["event_time"] == expected[0]["event_time"] and rows[0]["evidence"] == '["e1","e2"]'
    assert reader.get(answer.links["next"]["url"]).headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(
    "query",
    [
        "kpis?limit=0",
        "kpis?limit=5001",
        "kpis?since=yesterday",
        "kpis?since=2026-09-01T00:00:00",
        "kpis?until=0001-01-01T00:00:00%2B14:00",
        "kpis?rank=1",
        "kpis?format=xml",
        "kpis?cursor=%00",
        "kpis?cursor=abc",
        "kpis?cursor=WyJnb2xkLmtwaXNfaG91cmx5IiwiMDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCJd",
        "top-products?max_rank=0",
        "top-products?product_id=",
        "top-products/last-hour?since=2026-09-01T00:00:00Z",
        "fraud-flags?severity=huge",
        "fraud-flags?rule=none",
        "fraud-flags?min_score=2",
        "fraud-flags?min_score=nan",
        "retention?granularity=year",
        "retention?since=0",
        "retention?max_period=99999999999",
    ],
)
def test_wrong_questions_are_refused(reader: httpx.Client, query: str):
    body = is_problem(reader.get(f"/v1/gold/{query}"), 422, "wrong-parameter")
    assert body["errors"][0]["field"].partition(".")[0] == query.partition("?")[2].partition("=")[0]


def test_a_cursor_belongs_to_its_address(reader: httpx.Client):
    cursor = reader.get("/v1/gold/kpis?limit=1").json()["next_cursor"]
    assert is_problem(reader.get(f"/v1/gold/top-products?cursor={cursor}"), 422, "wrong-parameter")


def test_before_the_first_publish_a_caller_is_told_to_wait(tmp_path: Path, sample_file: Path):
    with served(tmp_path, publish_seconds=7) as empty:
        for path in LISTINGS:
            assert is_problem(empty.operator.get(path), 503, "not-published")
        assert empty.operator.get("/v1/gold/kpis").headers["retry-after"] == "7"
        empty.publish(sample_file)
        assert items(empty.operator.get("/v1/gold/kpis"))
        (tmp_path / "none.duckdb").write_bytes(b"no database")
        empty.publish(tmp_path / "none.duckdb")
        is_problem(empty.operator.get("/v1/gold/kpis"), 503, "not-published")


def test_a_file_of_another_version_is_as_if_none_was_published(
    reader: httpx.Client, republish: Change, sample_file, api
):
    republish("ALTER TABLE gold.kpis_hourly DROP COLUMN clicks")
    is_problem(reader.get("/v1/gold/kpis"), 503, "not-published")
    assert items(reader.get("/v1/gold/fraud-flags"))
    api.publish(sample_file)
    assert items(reader.get("/v1/gold/kpis"))


def test_callers_are_answered_from_one_publish_each_while_it_is_replaced(
    api: ServedApi, reader: httpx.Client, sample_file: Path, tmp_path: Path
):
    """Each file says in every row which it is: a mixture, or an error while one is replaced, would be seen."""
    files = []
    for number in (1, 2):
        files.append(tmp_path / f"{number}.duckdb")
        shutil.copyfile(sample_file, files[-1])
        with duckdb.connect(str(files[-1])) as connection:
            connection.execute(f"UPDATE gold.kpis_hourly SET clicks = {number}")
            connection.execute(f"UPDATE _published SET delta_version = {number}")

    def ask(number: int) -> set[tuple[str, int]]:
        answer = reader.get(f"/v1/gold/kpis?limit={number % 50 + 1}")
        return {(answer.headers["etag"].split("-")[0], row["clicks"]) for row in items(answer)}

    api.publish(files[0])
    seen = ask(1)
    with ThreadPoolExecutor(8) as pool:
        answers = []
        for turn in range(1, 9):
            asked = [pool.submit(ask, number) for number in range(12)]
            api.publish(files[turn % 2])
            answers += [one.result() for one in asked]
    assert all(len(answer) == 1 for answer in answers)
    assert seen | set.union(*answers) == {('"1', 1), ('"2', 2)}
    assert ask(2) == {('"1', 1)}
    assert not list(api.settings.serving_file.parent.glob(".*.reading"))
