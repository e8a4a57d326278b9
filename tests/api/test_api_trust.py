"""/readyz and /metrics say what the gate holds back, what the checks found, and whether the books balance."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.readiness import Readiness
from lakehouse.reports import write_report
from tests.support.served_api import ServedApi, served
from tests.support.serving_lake import Lake

TABLE, COUNTS = "gold.kpis_hourly", "gold.kpis_hourly.counts_are_possible"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    made = Lake(tmp_path / "lake")
    made.add_hour("2026-09-01 10:00:00", 1)
    made.add_hour("2026-09-02 10:00:00", -5)
    made.result(TABLE, COUNTS, success=False, at="now()")
    made.result(TABLE, f"{TABLE}.each_hour_once", success=True, at="now()")
    yield made
    made.close()


def publish(lake: Lake, api: ServedApi) -> None:
    lake.publisher.publish()
    path = api.settings.serving_file
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(lake.settings.serving_file, path)


def figures(api: ServedApi) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by name and label values, these in the order of the labels' names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(api.operator.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels[name] for name in sorted(sample.labels))] = (
                sample.value
            )
    return found


def test_gold_that_is_held_back_degrades_and_is_named(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Readiness, "all", lambda self: {"gate": self.check("gate")})  # there is no platform here
    monkeypatch.setattr("api.readiness.KEPT_SECONDS", 0.0)
    with served(tmp_path) as api:
        assert api.operator.get("/readyz").json()["status"] == "ready", "nothing is published yet"
        publish(lake, api)
        answer = api.operator.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["status"] == "degraded"
        assert answer.json()["checks"]["gate"] == f"{TABLE}: 1 row: {COUNTS}"
        lake.replace_hour("2026-09-02 10:00:00", 5)
        publish(lake, api)
        assert api.operator.get("/readyz").json()["checks"]["gate"] == "ok"
        assert api.operator.get("/readyz").json()["status"] == "ready"


def test_metrics_tell_of_gate_checks_and_ledger(lake: Lake, tmp_path: Path) -> None:
    with served(tmp_path) as api:
        assert "shoplake_gate_held_rows" not in figures(api), "unknown is not zero"
        publish(lake, api)
        write_report(api.settings.run_dir / "publisher.json", seconds=0.2, audit_seconds=0.015, message="")
        found = figures(api)
        assert found["shoplake_gate_held_rows"] == {(TABLE,): 1}
        assert found["shoplake_quality_expectations"] == {
            ("failed", "block", TABLE): 1,
            ("passed", "block", TABLE): 1,
        }
        assert found["shoplake_ledger_unaccounted_records"] == {(): 0}
        assert found["shoplake_publish_audit_seconds"] == {(): 0.015}
        lake.override(COUNTS, "now() + INTERVAL 1 HOUR")
        publish(lake, api)
        found = figures(api)
        assert "shoplake_gate_held_rows" not in found
        assert found["shoplake_gate_let_through"] == {(COUNTS, TABLE): 1}


def test_metrics_tell_how_the_newest_reconcile_that_could_tell_ended(lake: Lake, tmp_path: Path) -> None:
    with served(tmp_path) as api:
        publish(lake, api)
        assert "shoplake_ledger_balanced" not in figures(api), "nobody could tell"
        for is_balanced in (False, True):
            lake.add_reconciled(is_balanced)
            publish(lake, api)
            found = figures(api)
            assert found["shoplake_ledger_balanced"] == {(): is_balanced}
            assert found["shoplake_ledger_timestamp_seconds"][()] > 1e9
