"""A key never leads out of the folder in which it is used."""

import json
from pathlib import Path

import pytest

from lakehouse.backup_store import Store
from lakehouse.backups.backup import MANIFEST, restore
from lakehouse.delta_log import _path
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.s3 import inside
from silver.events import TABLE
from tests.support.platform import free_settings

OUTSIDE = [
    "../a", "a/../../b", "/etc/passwd", "a//b", "a/./b", "", "a/", "..", "s3://other/a", "file:///etc/passwd",
    "C:/a", "a\\b", "a\x00b", "a\nb",
]  # fmt: skip


@pytest.mark.parametrize("key", OUTSIDE)
def test_keys_that_lead_elsewhere_are_refused(key: str) -> None:
    with pytest.raises(ShoplakeError, match=r"^this has a file outside its own folder \(.*\)\.$"):
        inside(key, "this")


@pytest.mark.parametrize("key", ["part-1.parquet", "event_date=2026-09-01/part-1 a.parquet", "..a/b..", "a%2Fb:c"])
def test_keys_of_the_lake_pass(key: str) -> None:
    assert inside(key, "this") == key


@pytest.mark.parametrize("path", ["..%2F..%2Fa", "%2Fetc%2Fpasswd", "../a", "s3://other/a", "x%2F..%2F..%2Fa"])
def test_a_log_names_no_file_of_others(path: str) -> None:
    with pytest.raises(ShoplakeError, match="outside its own folder"):
        _path(TABLE, {"path": path})


def test_a_backup_takes_and_gives_nothing_outside_its_folder(tmp_path: Path) -> None:
    store = Store(None, None, str(tmp_path / "backup"))
    for move in (store.take, store.give):
        with pytest.raises(ShoplakeError, match="outside its own folder"):
            move("shoplake", "../../secret")
    assert not list(tmp_path.iterdir())


def test_a_manifest_that_names_files_of_this_machine_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = free_settings(tmp_path / "data", s3_endpoint="http://127.0.0.1:9")
    tables = {"gold.kpis_hourly": {"files": ["../../secret"]}}
    (tmp_path / MANIFEST).write_text(json.dumps({"format": 1, "registry": "none", "tables": tables}))
    with pytest.raises(ShoplakeError, match="outside its own folder"):
        restore(settings, str(tmp_path), lambda *_: None)


ARCHIVE, OTHERS = "_shoplake/spark/jars-1.tar", {"made_at": "2026-11-30T10:00:00+00:00", "registry": "none"}
"""What executors on YARN would run, in a manifest that is right otherwise."""


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[" * 100_000,
        "[]",
        '{"format": 1}',
        '{"format": 1, "made_at": "now", "registry": "none", "tables": {}}',
        '{"format": 1, "made_at": "2026-11-30T10:00:00+00:00", "registry": "other", "tables": {}}',
        '{"format": 1, "made_at": "2026-11-30T10:00:00+00:00", "registry": "none", "tables": {"a": {"files": [1]}}}',
        '{"format": 1, "made_at": "2026-11-30T10:00:00+00:00", "registry": "none", "tables": {"a": 1}}',
        *(
            json.dumps({"format": 1, "tables": {name: {"files": [ARCHIVE]}}, **OTHERS})
            for name in ("gold.kpis", "_shoplake.spark")
        ),
    ],
)
def test_a_manifest_that_no_lake_has_written_is_one_sentence(tmp_path: Path, text: str) -> None:
    settings = free_settings(tmp_path / "data", s3_endpoint="http://127.0.0.1:9")
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UsageError, match=r"is not a backup: its manifest\.json is none that a lake has written\.$"):
        restore(settings, str(tmp_path), lambda *_: None)
