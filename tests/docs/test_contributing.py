"""The recipe of CONTRIBUTING.md works."""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lakehouse.settings import Settings

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PLACES = (ROOT / "docs" / "reference" / "where-to-change-what.md").read_text()
LAYOUT = (ROOT / "README.md").read_text().split("## Where things are")[1].split("```")[1]
KNOWN_TO = """
from api.gold_tables import LISTINGS
from docs.generate import dictionary_page
from lakehouse.catalog import TABLES
from lakehouse.jobs import backfill, maintenance
from lakehouse.serving.publisher import sources
from lakehouse.sql import tables
from lakehouse.stream import gold_refresh, housekeeping

(table,) = (one for one in TABLES if one.name == "search_terms_hourly")
assert table in gold_refresh.HOURLY and set(table.reads) <= set(gold_refresh.COLUMNS)
assert table in housekeeping.OURS
assert table in backfill.WRITES and table in maintenance.WRITES
assert table.full_name in [source.name for source in sources()]
assert table.full_name in [name for name, _ in tables().rows]
assert "/search-terms-hourly" in LISTINGS
assert "## gold.search_terms_hourly" in dictionary_page()
"""


def module_text() -> str:
    found = re.search(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)
    assert found
    return found[1]


def test_files_that_the_recipe_names_exist() -> None:
    folders = "api|docs|gold|lakehouse|quality|producer|silver|superset|tests|deploy"
    named = [re.findall(rf"`((?:{folders})/[\w/.-]*)`", page) for page in (CONTRIBUTING, PLACES)]
    assert len(named[0]) > 8 and len(named[1]) > 20
    for path in (*named[0], *named[1]):
        assert (ROOT / path).exists(), path


def test_the_layout_of_the_readme_is_the_layout_on_disk() -> None:
    def packages(folder: Path) -> set[str]:
        return {file.parent.name for file in folder.glob("*/__init__.py")}

    named = set(re.findall(r"(?:^|  )(\w+)/ ", LAYOUT, re.MULTILINE))
    assert named == packages(ROOT) | packages(ROOT / "lakehouse") | {"docs", "superset", "deploy", "tests"}


@pytest.mark.spark
def test_the_table_of_the_recipe_works(spark: SparkSession) -> None:
    module: dict[str, Any] = {}
    exec(module_text(), module)  # noqa: S102 - the page's own code
    table = module["TABLE"]
    at = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
    rows = [("search", "socks", at), ("search", "socks", at), ("search", "hat", at), ("click", None, at)]
    events = spark.createDataFrame(rows, "event_type string, query string, event_time timestamp")
    result = table.hourly(events.select(*table.reads), Settings())
    declared = [field for field in table.schema if field.name not in ("updated_at", "hour_date")]
    assert [(field.name, field.dataType) for field in result.schema] == [(one.name, one.dataType) for one in declared]
    assert {(row["query"], row["searches"]) for row in result.collect()} == {("socks", 2), ("hat", 1)}


def test_a_module_and_a_line_is_all(tmp_path: Path) -> None:
    """In a copy of the project: everything that has to know of the table does."""
    for name in ("api", "bronze", "deploy", "docs", "gold", "lakehouse", "producer", "quality", "silver"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "gold" / "search_terms.py").write_text(module_text())
    catalog = tmp_path / "lakehouse" / "catalog.py"
    with_import = re.sub(r"(from gold import .*)", r"\1, search_terms", catalog.read_text())
    catalog.write_text(with_import.replace("    kpis.TABLE,\n", "    kpis.TABLE,\n    search_terms.TABLE,\n"))
    done = subprocess.run(
        [sys.executable, "-c", KNOWN_TO],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
