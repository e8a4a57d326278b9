"""Commits of several writers exclude one another, on S3 alone: of two drivers that commit the same version, one is told
that it did not."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from lakehouse.backups import backup
from lakehouse.services import jars, s3
from lakehouse.services.jars import class_path, fetch_jars
from lakehouse.services.service import java
from lakehouse.services.spark import s3a_conf, spark_home
from tests.support.platform import free_settings

pytestmark = pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK")
SOURCE = Path(__file__).with_name("Commit.java")
LOG_STORE = jars.LOG_STORE.with_name("ConditionalLogStore.java")
CLASS = "shoplake/ConditionalLogStore.class"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    made = free_settings(tmp_path_factory.mktemp("s3"))
    fetch_jars(("spark", "s3proxy"))
    with backup.s3_answers(made):
        s3.ensure_bucket(made)
        yield made


def classes() -> str:
    return f"{class_path('spark')}:{spark_home() / 'jars' / '*'}"


def test_of_two_drivers_one_is_refused(settings):
    options = {
        **s3a_conf(settings),
        "fs.s3a.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "lake": "s3a://shoplake/",
    }
    arguments = [f"{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        [java(), "-cp", classes(), str(SOURCE), *arguments], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["first is there, the second was refused", "third is there"], done.stderr


def test_the_server_itself_would_refuse_the_second(settings):
    commit = {"Bucket": settings.bucket, "Key": "table/_delta_log/2.json", "IfNoneMatch": "*"}
    s3.s3_client(settings).put_object(**commit, Body=b"first")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.s3_client(settings).put_object(**commit, Body=b"second")


def test_the_jar_is_its_source_compiled(tmp_path):
    version = subprocess.run(["javac", "-version"], check=True, capture_output=True, text=True).stdout
    if not version.startswith("javac 17."):
        pytest.skip(f"{version.strip()} writes other bytes than that of Java 17")
    fetch_jars(("spark",))
    javac = ["javac", "--release", "17", "-proc:none", "-cp", classes(), "-d", str(tmp_path), str(LOG_STORE)]
    subprocess.run(javac, check=True, capture_output=True)
    assert zipfile.ZipFile(jars.LOG_STORE).namelist() == [CLASS]
    with zipfile.ZipFile(jars.LOG_STORE) as jar:
        assert jar.read(CLASS) == (tmp_path / CLASS).read_bytes()


def test_delta_has_no_log_store_for_that():
    """When it has, ours can go."""
    names = {name for jar in jars.jar_set("spark") for name in zipfile.ZipFile(jar.path).namelist()}
    assert {name for name in names if name.startswith("io/delta/storage/S3") and "LogStore.class" in name} == {
        "io/delta/storage/S3SingleDriverLogStore.class"
    }
