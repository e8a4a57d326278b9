"""Every query and program of docs/how-to/sql.md runs as it stands, and answers something."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.lake_secret import credentials_of
from lakehouse.serving.reader import Answers
from tests.support.shop import Shop, shoplake

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "sql.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
OVER_DELTA = [
    block for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if "delta" in block.lower()
]


@pytest.fixture(scope="module")
def answers(shop: Shop) -> Answers:
    if not shop.ask("SELECT 1 FROM gold.cohort_retention WHERE timezone = 'UTC' LIMIT 1"):
        assert shoplake(shop, "run", "cohort_retention", "--wait").returncode == 0
    return Answers(shop.settings)


@pytest.mark.parametrize("statement", QUERIES)
def test_documented_query_answers(answers: Answers, statement: str) -> None:
    assert list(answers.stream(statement).rows)


@pytest.mark.parametrize("block", OVER_DELTA, ids=["DuckDB", "Spark", "polars", "pandas"])
def test_documented_program_reads_delta(shop: Shop, block: str) -> None:
    here = shop.settings
    block = block.replace("127.0.0.1:9000", f"127.0.0.1:{here.s3_port}").replace(":15002", f":{here.spark_port}")
    block = block.replace("//shoplake/", f"//{here.bucket}/")
    keys = dict(line.removeprefix("export ").split("=", 1) for line in credentials_of(here).splitlines())
    environment, command = os.environ | keys, [sys.executable, "-c", block]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGABRT:  # threads of deltalake that are not joined when Python ends, now and then
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "page_views" in done.stdout


def test_the_page_has_queries() -> None:
    assert len(QUERIES) >= 10
