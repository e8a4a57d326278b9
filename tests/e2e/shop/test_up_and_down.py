"""The platform as a whole: what it tells, a second one, and its supervisor killed; at the end nothing of it runs."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from lakehouse.lake_secret import local_remote
from lakehouse.lock import lock_holder, lock_path
from lakehouse.processes import lake_processes
from lakehouse.s3 import s3_client
from lakehouse.services.service import child_environment
from lakehouse.services.state import status
from lakehouse.session import connect
from lakehouse.settings import Settings
from tests.support.platform import free_settings, platform
from tests.support.shop import Shop, eventually

pytestmark = pytest.mark.e2e
PARTS = ("kafka", "s3", "spark")


@pytest.fixture
def lake(shop: Shop) -> Settings:
    return shop.settings


def shoplake(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lakehouse.cli", *arguments]
    environment = child_environment(settings)
    return subprocess.run(
        command, env=environment, cwd=settings.data_dir, capture_output=True, text=True, timeout=240, check=False
    )


def test_status_tells_state_address_process_and_memory(lake):
    found = json.loads(shoplake(lake, "status", "--format", "json").stdout)
    for name, key, address in (
        ("kafka", "bootstrap", lake.bootstrap),
        ("s3", "endpoint", lake.endpoint),
        ("spark", "remote", local_remote(lake)),
        ("api", "url", lake.own_api_url),
    ):
        part = found[name]
        assert (part["state"], part[key]) == ("up", address)
        assert psutil.pid_exists(part["pid"]) and part["memory_mb"] > 50
    assert found["stream"]["state"] == "up" and "lag" in found["stream"]


def test_s3_keeps_awkward_keys_ranges_and_multipart(lake):
    client, bucket = s3_client(lake), lake.bucket
    keys = ["odd/day=2026-01-01/x%3A1=é +&.bin", "odd/%252F", "odd/a b", "odd/x:y"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"old")
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    listed = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix="odd/", PaginationConfig={"PageSize": 3}
    )
    assert sorted(one["Key"] for page in listed for one in page["Contents"]) == sorted(keys)
    parts = [os.urandom(5 * 2**20), b"end"]
    upload = client.create_multipart_upload(Bucket=bucket, Key="odd/big")["UploadId"]
    tags = [
        client.upload_part(Bucket=bucket, Key="odd/big", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        for number, body in enumerate(parts, 1)
    ]
    client.complete_multipart_upload(
        Bucket=bucket,
        Key="odd/big",
        UploadId=upload,
        MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": number} for number, tag in enumerate(tags, 1)]},
    )
    ranged = client.get_object(Bucket=bucket, Key="odd/big", Range=f"bytes={5 * 2**20 - 2}-{5 * 2**20 + 1}")
    assert ranged["Body"].read() == (parts[0] + parts[1])[-5:-1]


def test_the_newest_session_of_a_thread_is_its_active_one(lake):
    first, second = connect(lake), connect(lake)
    assert type(second).getActiveSession() is second
    second.stop()
    first.stop()


def test_a_second_supervisor_is_refused(lake):
    done = shoplake(lake, "up", "--no-stream")
    assert done.returncode == 2
    assert "already up" in done.stderr and "Traceback" not in done.stderr


def test_a_busy_port_is_named_with_its_holder_and_setting(lake, tmp_path):
    other = free_settings(tmp_path, kafka_port=lake.kafka_port)
    other.data_dir.mkdir(parents=True)
    done = shoplake(other, "up", "--detach", "--no-stream")
    assert done.returncode == 2
    assert f"Port {lake.kafka_port} is held by java" in done.stderr and "SHOPLAKE_KAFKA_PORT" in done.stderr


@pytest.mark.nightly
def test_two_lakes_run_side_by_side(lake, tmp_path):
    first = {name: status(lake)[name]["pid"] for name in PARTS}
    with platform(tmp_path) as second:
        assert {part["state"] for name, part in status(second).items() if name in PARTS} == {"up"}
        s3_client(second).put_object(Bucket=second.bucket, Key="mine", Body=b"mine")
        assert "Contents" not in s3_client(lake).list_objects_v2(Bucket=lake.bucket, Prefix="mine")
        assert not {process.pid for process in lake_processes(second)} & set(first.values())
    assert lake_processes(second) == []
    assert {name: status(lake)[name]["pid"] for name in PARTS} == first


def killed_supervisor(lake):
    os.kill(lock_holder(lake), signal.SIGKILL)
    eventually(lambda: lock_holder(lake) is None, 5, "supervisor gone")
    assert {name: part["state"] for name, part in status(lake).items() if name in PARTS} == dict.fromkeys(PARTS, "up")


def test_up_after_a_killed_supervisor_starts_anew_and_data_survives(lake):
    s3_client(lake).put_object(Bucket=lake.bucket, Key="kept", Body=b"kept")
    before = {name: status(lake)[name]["pid"] for name in PARTS}
    killed_supervisor(lake)
    assert shoplake(lake, "up", "--detach", "--no-stream").returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in before.values())
    assert s3_client(lake).get_object(Bucket=lake.bucket, Key="kept")["Body"].read() == b"kept"


def test_down_after_a_killed_supervisor_leaves_nothing(lake):
    """`down` of a platform that is well: tests/dashboards/test_up_superset.py."""
    killed_supervisor(lake)
    assert shoplake(lake, "down").returncode == 0
    assert lake_processes(lake) == [] and not lock_path(lake).exists()
    assert {part["state"] for part in status(lake).values()} == {"down"}
    # What stays is no lock and no process: the operator's key, what parts last said about themselves, and what
    # somebody wants of the stream.
    kept = {lake.operator_key_file.name, "publisher.json", "gold.json", "stream.json", "worker.json", "stream.desired"}
    assert {path.name for path in lake.run_dir.iterdir()} <= kept
    again = shoplake(lake, "down")
    assert again.returncode == 0 and "Nothing was running" in again.stderr
