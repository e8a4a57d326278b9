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


def test_files_that_the_recipe_names_exist() -> None:
    named = re.findall(r"`((?:gold|lakehouse|quality|producer|tests|deploy)/[\w/.]*)`", CONTRIBUTING)
    assert len(named) > 8
    for path in named:
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
