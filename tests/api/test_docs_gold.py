"""The commands of docs/how-to/gold-api.md run as they stand."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from api.routes import gold
from lakehouse.services.service import PROJECT_ROOT
from tests.support import pages
from tests.support.served_api import ServedApi

PAGE = (PROJECT_ROOT / "docs" / "how-to" / "gold-api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def run(api: ServedApi, folder: Path, block: str) -> str:
    text = block.replace("http://127.0.0.1:8000", api.url)
    environment = {**os.environ, "SHOPLAKE_API_KEY": api.key("page", "gold:read"), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_key_is_made(tmp_path: Path):
    block = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
    environment = {**os.environ, "SHOPLAKE_DATA_DIR": str(tmp_path), "PATH": pages.programs(tmp_path / "bin")["PATH"]}
    said = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'{block}echo "$SHOPLAKE_API_KEY"'],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"\S{32,}\n", said.stdout)


def test_first_questions(api: ServedApi, tmp_path: Path):
    said = run(api, tmp_path, BLOCKS[0])
    assert said.count('"items"') == 2 and "as_of,window_start,rank" in said and "hour_start,rank" in said


def test_every_page_is_fetched(api: ServedApi, tmp_path: Path):
    hours = run(api, tmp_path, BLOCKS[1]).count('"hour_start"')
    assert hours == 24 * 15


def test_an_unchanged_table_is_not_sent_again(api: ServedApi, tmp_path: Path):
    assert run(api, tmp_path, BLOCKS[2]) == "304\n"


@pytest.mark.parametrize("route", gold.router.routes, ids=lambda route: route.path)
def test_every_address_and_filter_is_listed(route):
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{route.path}` |"))
    (asked,) = (field.field_info.annotation for field in route.dependant.query_params)
    filters = set(asked.model_fields) - {"limit", "cursor", "format"}
    assert set(re.findall(r"`(\w+)`", line.rsplit("|", 2)[1])) == filters
