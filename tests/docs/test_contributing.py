"""The recipe of CONTRIBUTING.md works."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PLACES = (ROOT / "docs" / "reference" / "where-to-change-what.md").read_text()


def test_files_that_the_recipe_names_exist() -> None:
    folders = "api|docs|gold|lakehouse|quality|producer|silver|superset|tests|deploy"
    named = [re.findall(rf"`((?:{folders})/[\w/.-]*)`", page) for page in (CONTRIBUTING, PLACES)]
    assert len(named[0]) > 8 and len(named[1]) > 20
    for path in (*named[0], *named[1]):
        assert (ROOT / path).exists(), path


@pytest.mark.spark
def test_the_table_of_the_recipe_works(spark: SparkSession) -> None:
    found = re.search(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)
    assert found
    module: dict[str, Any] = {}
    exec(found[1], module)  # noqa: S102 - the page's own code
    table = module["TABLE"]
    at = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
    rows = [("search", "socks", at), ("search", "socks", at), ("search", "hat", at), ("click", None, at)]
    events = spark.createDataFrame(rows, "event_type string, query string, event_time timestamp")
    result = module["hourly"](events)
    assert result.schema.simpleString() == table.schema.simpleString()
    assert {(row["query"], row["searches"]) for row in result.collect()} == {("socks", 2), ("hat", 1)}
