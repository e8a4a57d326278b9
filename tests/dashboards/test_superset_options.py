"""Superset with what is off by default: visitors without an account, and records in PostgreSQL."""

import time
from pathlib import Path

import psycopg
import pytest
import requests

from lakehouse.services import superset
from lakehouse.services.child import alone
from lakehouse.settings import Settings
from tests.support import sample_serving
from tests.support.browser import SLUGS, browser_page, open_dashboard, password, rows_of
from tests.support.platform import free_settings
from tests.support.postgres import new_database, postgres_server

pytestmark = [pytest.mark.superset, pytest.mark.nightly]


def test_visitors_see_the_dashboards_where_that_is_asked_for_and_no_more(settings: Settings, tmp_path: Path) -> None:
    """Beside the Superset that keeps them out, over the same records."""
    port = free_settings(tmp_path).superset_port
    open_to_all = settings.model_copy(update={"superset_public": True, "superset_port": port})
    with alone(superset.service(open_to_all), open_to_all):
        url = open_to_all.superset_url
        with browser_page() as page:
            assert all(rows_of(answer) for answer in open_dashboard(page, url, "shop-now"))
        attempts = [
            requests.put(f"{url}/api/v1/dashboard/1", json={"dashboard_title": "x"}, timeout=30),
            requests.post(f"{url}/api/v1/sqllab/execute/", json={"database_id": 1, "sql": "SELECT 1"}, timeout=30),
            requests.get(f"{url}/api/v1/database/1", timeout=30),
        ]
        assert all(answer.status_code in (400, 401, 403) for answer in attempts), attempts
    kept_out = requests.get(f"{settings.superset_url}/superset/dashboard/shop-now/", timeout=30)
    assert kept_out.url.startswith(f"{settings.superset_url}/login/")


def test_its_records_may_be_in_postgresql(tmp_path: Path) -> None:
    with postgres_server() as server:
        address = new_database(server)
        own = free_settings(tmp_path, superset_database_url=address)
        sample_serving.publish(own.serving_file)
        began = time.monotonic()
        with alone(superset.service(own), own):
            print(f"first start {time.monotonic() - began:.0f} s")
            given = {"username": "viewer", "password": password(own, "viewer"), "provider": "db", "refresh": False}
            token = requests.post(f"{own.superset_url}/api/v1/security/login", json=given, timeout=30).json()
            headers = {"Authorization": f"Bearer {token['access_token']}"}
            listed = requests.get(f"{own.superset_url}/api/v1/dashboard/", headers=headers, timeout=30).json()
            assert {one["slug"] for one in listed["result"]} == set(SLUGS)
        with psycopg.connect(address) as records:
            assert records.execute("SELECT count(*) FROM dashboards").fetchone() == (len(SLUGS),)
        assert not (own.superset_home / "superset.sqlite3").exists()
