"""Why the lake has one writer: of two drivers that commit the same version with the locked libraries, both believe that
they did. When this fails, drivers can exclude one another: read docs/decisions/launchers.md again."""

import shutil
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from lakehouse.backups import backup
from lakehouse.services import s3
from lakehouse.services.jars import class_path, fetch_jars, jar_set
from lakehouse.services.service import java
from lakehouse.services.spark import s3a_conf, spark_home
from lakehouse.services.testing import free_settings

pytestmark = [pytest.mark.nightly, pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK")]
SOURCE = Path(__file__).with_name("Commit.java")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    made = free_settings(tmp_path_factory.mktemp("s3"))
    fetch_jars(("spark", "s3proxy"))
    with backup.s3_answers(made):
        s3.ensure_bucket(made)
        yield made


@pytest.mark.parametrize("flags", ["delete,mkdir", "create,delete,mkdir"])
def test_two_drivers_overwrite_each_other(settings, flags):
    """With `create`, too, which S3A heeds as a condition only where a file is made by `createFile()`."""
    options = {
        **s3a_conf(settings),
        "fs.s3a.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "fs.s3a.performance.flags": flags,
        "lake": f"s3a://shoplake/{len(flags)}/",
    }
    command = [java(), "-cp", f"{class_path('spark')}:{spark_home() / 'jars' / '*'}", str(SOURCE)]
    arguments = [f"{name}={value}" for name, value in options.items()]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "second is there, both were told that they did", done.stderr


def test_the_server_itself_would_refuse_the_second(settings):
    commit = {"Bucket": settings.bucket, "Key": "table/_delta_log/2.json", "IfNoneMatch": "*"}
    s3.s3_client(settings).put_object(**commit, Body=b"first")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.s3_client(settings).put_object(**commit, Body=b"second")


def test_no_log_store_that_uses_it_is_among_the_libraries():
    import zipfile

    names = {name for jar in jar_set("spark") for name in zipfile.ZipFile(jar.path).namelist()}
    assert {name for name in names if name.startswith("io/delta/storage/S3") and "LogStore.class" in name} == {
        "io/delta/storage/S3SingleDriverLogStore.class"
    }
