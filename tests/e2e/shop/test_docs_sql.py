"""Every query of docs/sql.md runs as it stands, and answers something."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.sql import SqlReader, connect
from tests.support.shop import Shop

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[3] / "docs" / "sql.md"
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def reader(shop: Shop) -> Iterator[SqlReader]:
    with connect(shop.settings) as opened:
        yield opened


@pytest.mark.parametrize("statement", QUERIES)
def test_documented_query_answers(reader: SqlReader, statement: str) -> None:
    assert reader.query(statement)


def test_the_page_has_queries() -> None:
    assert len(QUERIES) >= 5
