"""Another user of the same machine: reaches the ports of the lake, and becomes nobody by it.

Spark's port: tests/e2e/shop/test_stranger.py.
"""

import http.client
import multiprocessing
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from lakehouse.lake_secret import credentials_of, local_remote, s3_keys, secret_for, spark_token
from lakehouse.lock import lake_lock
from lakehouse.services import s3
from lakehouse.services.child import alone
from lakehouse.services.jars import fetch_jars
from lakehouse.services.service import CLIENT_SECRETS, child_environment
from lakehouse.services.services import services
from tests.support.platform import free_settings

NOBODY = 65534
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def as_a_stranger(work, *arguments):
    """What `work` returns to a process of another user; the name of the error that it met, else."""
    here, there = multiprocessing.get_context("fork").Pipe()

    def run():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            there.send(work(*arguments))
        except Exception as error:
            there.send(type(error).__name__)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    assert here.poll(), "the stranger died"
    return here.recv()


def files_read(folder):
    """What of a lake's folder can be read."""
    found = []
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found.append((Path(path) / name).read_bytes())
    return found


def asked(settings, path, **headers):
    """What S3 answers to a request without a signature."""
    connection = http.client.HTTPConnection("127.0.0.1", settings.s3_port)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture
def lake(tmp_path):
    """A lake whose folder others can reach, were it open; its lock is held, as `up` does."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    settings = free_settings(tmp_path)
    settings.data_dir.mkdir(mode=0o755)
    lock = lake_lock(settings)
    lock.acquire()
    yield settings
    lock.release()


@needs_root
def test_no_file_of_the_lake_is_readable(lake):
    s3.service(lake).prepare()
    assert s3_keys(lake)[1].encode() in b"".join(files_read(lake.data_dir))
    assert as_a_stranger(files_read, str(lake.data_dir)) == []


@needs_root
def test_another_users_folder_is_refused_in_one_sentence(tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    settings = free_settings(tmp_path)
    settings.data_dir.mkdir(mode=0o755)
    assert as_a_stranger(lake_lock(settings).acquire) == "UsageError"
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o755


def test_an_open_folder_of_an_older_lake_is_closed(lake):
    assert stat.S_IMODE(lake.data_dir.stat().st_mode) == 0o700
    secret_for(lake, "anything")
    assert stat.S_IMODE((lake.data_dir / "lake.secret").stat().st_mode) == 0o600


def test_each_lake_and_each_server_has_its_own_secret(tmp_path):
    one, other = free_settings(tmp_path / "1"), free_settings(tmp_path / "2")
    found = {spark_token(one), s3_keys(one)[1], spark_token(other), s3_keys(other)[1]}
    assert len(found) == 4 and {spark_token(one), s3_keys(one)[1]} < found
    assert (one.data_dir / "lake.secret").read_text() not in found


def test_programs_of_ones_own_get_what_is_embedded_and_nothing_else(tmp_path):
    settings = free_settings(tmp_path)
    lines = dict(line.removeprefix("export ").split("=") for line in credentials_of(settings).splitlines())
    assert (lines["AWS_ACCESS_KEY_ID"], lines["AWS_SECRET_ACCESS_KEY"]) == s3_keys(settings)
    assert lines["SPARK_CONNECT_AUTHENTICATE_TOKEN"] == spark_token(settings) and len(lines) == 3
    external = free_settings(tmp_path, s3_endpoint="", spark_remote="sc://spark:15002")
    assert credentials_of(external) == "" and local_remote(external) == "sc://spark:15002"


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory):
    """The embedded S3 server with its bucket, and its settings."""
    fetch_jars(("s3proxy",))
    settings = free_settings(tmp_path_factory.mktemp("s3"))
    with alone(s3.service(settings), settings) as child:
        s3.ensure_bucket(settings)
        yield settings, child


def test_s3_answers_only_who_knows_the_keys(s3_server, tmp_path):
    lake, _ = s3_server
    client = s3.s3_client(lake)
    client.put_object(Bucket=lake.bucket, Key="a", Body=b"mine")
    for path in ("/", f"/{lake.bucket}", f"/{lake.bucket}/a"):
        assert asked(lake, path) == 403
    guess = s3.s3_client(free_settings(tmp_path / "other", s3_port=lake.s3_port))
    for call in (guess.list_buckets, lambda: guess.put_object(Bucket=lake.bucket, Key="a", Body=b"yours")):
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            call()
    assert client.get_object(Bucket=lake.bucket, Key="a")["Body"].read() == b"mine"


def test_a_page_in_a_browser_cannot_make_s3_answer(s3_server):
    """DNS rebinding: the page's own name leads to this machine, and its requests carry no signature."""
    lake, _ = s3_server
    assert asked(lake, f"/{lake.bucket}", Host="rebound.example") == 403


def test_what_a_part_writes_is_for_its_owner(s3_server):
    assert "Umask:\t0077\n" in Path(f"/proc/{s3_server[1].pid}/status").read_text()


def test_each_part_gets_the_secrets_that_it_needs(tmp_path, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SPARK_CONNECT_AUTHENTICATE_TOKEN", "DB_PASSWORD"):
        monkeypatch.setenv(name, "s")
    monkeypatch.setenv("AWS_PROFILE", "shop")
    settings = free_settings(
        tmp_path,
        superset_database_url="postgresql://u:p@h/d",
        alert_webhook_url="https://h/secret",
        spark_master="here",
        spark_workers=1,
    )
    known = {
        "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SPARK_CONNECT_AUTHENTICATE_TOKEN", "DB_PASSWORD",
        "SHOPLAKE_SUPERSET_DATABASE_URL", "SHOPLAKE_ALERT_WEBHOOK_URL",
    }  # fmt: skip
    client = {"AWS_SECRET_ACCESS_KEY", "SPARK_CONNECT_AUTHENTICATE_TOKEN"}
    found = {one.name: known & child_environment(settings, one.secrets).keys() for one in services(settings)}
    assert found == {
        "kafka": set(), "s3": set(), "spark-master": set(), "spark-worker-1": {"AWS_SECRET_ACCESS_KEY"},
        "spark": {"AWS_SECRET_ACCESS_KEY"}, "stream": client, "publisher": client, "api": client,
        "worker": client | {"SHOPLAKE_ALERT_WEBHOOK_URL"}, "superset": {"SHOPLAKE_SUPERSET_DATABASE_URL"},
    }  # fmt: skip
    assert child_environment(settings, CLIENT_SECRETS)["AWS_PROFILE"] == "shop"
    assert known <= child_environment(settings).keys()
