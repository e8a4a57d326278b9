import os
import subprocess
import sys

import pytest

from lakehouse.errors import UsageError
from lakehouse.services.service import PROJECT_ROOT
from lakehouse.settings import Settings, load_settings, misspelt


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("SHOPLAKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_everything_is_embedded_by_default(tmp_path):
    settings = load_settings()
    assert settings.kafka_is_embedded and settings.s3_is_embedded and settings.spark_is_embedded
    assert settings.data_dir == tmp_path / ".shoplake"
    assert (settings.bootstrap, settings.endpoint) == ("127.0.0.1:9092", "http://127.0.0.1:9000")
    assert settings.remote == "sc://127.0.0.1:15002"


def test_a_given_address_makes_a_part_external(monkeypatch):
    monkeypatch.setenv("SHOPLAKE_KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("SHOPLAKE_SPARK_REMOTE", "sc://spark:15002")
    settings = load_settings()
    assert not settings.kafka_is_embedded and settings.bootstrap == "broker:9092"
    assert not settings.spark_is_embedded and settings.remote == "sc://spark:15002"


def test_an_empty_endpoint_means_aws(monkeypatch):
    monkeypatch.setenv("SHOPLAKE_S3_ENDPOINT", "")
    settings = load_settings()
    assert not settings.s3_is_embedded and settings.endpoint == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("KAFKA_PORT", "80", "it must be 1024 or more"),
        ("BUCKET", "No_Bucket", "it must look like ^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"),
        ("TOP_N", "many", "it must be a whole number"),
        ("BUCKET_VERSIONING", "perhaps", "it must be true or false"),
        ("JAVA_JIT", "slow", "it must be 'full' or 'quick'"),
        ("S3_ENDPOINT", "minio:9000", "it must look like ^(https?://.+)?$"),
        ("KAFKA_BOOTSTRAP", "broker", r"it must look like ^[^,\s]+:\d+(,[^,\s]+:\d+)*$"),
        ("API_URL", "shop.example", "it must look like ^(https?://.+)?$"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(monkeypatch, name, value, words):
    monkeypatch.setenv(f"SHOPLAKE_{name}", value)
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert str(caught.value) == f"The setting SHOPLAKE_{name} is wrong: {words} (got {value!r})."


def test_the_env_file_is_read_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("SHOPLAKE_TOP_N=3\nSHOPLAKE_BUCKET=from-file\n")
    monkeypatch.setenv("SHOPLAKE_TOP_N", "5")
    settings = load_settings()
    assert (settings.top_n, settings.bucket) == (5, "from-file")


@pytest.mark.parametrize("arguments", [["jobs"], ["sql", "--tables"], ["--help"]])
def test_a_name_that_no_setting_has_is_said_by_every_command(tmp_path, arguments):
    (tmp_path / ".env").write_text("SHOPLAKE_DATA_DRI=/elsewhere\nOTHER=1\n")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "SHOPLAKE_KAFKA_BOOTSTRP": "", "SHOPLAKE_XYZ": "1"}
    command = [sys.executable, "-m", "lakehouse.cli", *arguments]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr.splitlines() == [
        "shoplake: There is no setting SHOPLAKE_KAFKA_BOOTSTRP, which the environment has;"
        " did you mean SHOPLAKE_KAFKA_BOOTSTRAP?",
        "shoplake: There is no setting SHOPLAKE_XYZ, which the environment has; docs/reference/settings.md lists all.",
        "shoplake: There is no setting SHOPLAKE_DATA_DRI, which .env has; did you mean SHOPLAKE_DATA_DIR?",
    ]


def test_what_is_spelt_right_is_not_said(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("shoplake_top_n=3\nSHOPLAKE_S3_ENDPOINT=\n")
    monkeypatch.setenv("SHOPLAKE_BUCKET", "mine")
    assert misspelt() == []


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())


def test_env_example_uncommented_is_valid(tmp_path):
    text = (PROJECT_ROOT / ".env.example").read_text()
    lines = [line.removeprefix("#") for line in text.splitlines() if line.startswith("#SHOPLAKE_")]
    kept = [line for line in lines if not line.endswith("=")]
    (tmp_path / ".env").write_text("\n".join(kept))
    assert load_settings() == Settings(_env_file=None)
