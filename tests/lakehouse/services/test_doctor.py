import psutil
import pytest

from lakehouse.cli.demo import SMALL
from lakehouse.errors import UsageError
from lakehouse.services import doctor
from lakehouse.services.doctor import examine, java_version, require_startable
from tests.support.platform import free_settings


def by_name(settings):
    return {check.name: check for check in examine(settings)}


def test_a_good_machine_has_no_failure(tmp_path):
    assert not [check for check in examine(free_settings(tmp_path)) if check.result == "failure"]


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_392"', 8),
        ("no java", None),
    ],
)
def test_java_versions_are_read(output, version):
    assert java_version(output) == version


def test_missing_java_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(UsageError, match="install Java 17 or 21"):
        require_startable(free_settings(tmp_path))


def test_an_old_java_is_named(tmp_path, monkeypatch):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"bin/java is Java 11: install Java 17 or 21"):
        require_startable(free_settings(tmp_path))


def test_too_little_memory_is_a_failure(tmp_path, monkeypatch):
    memory = psutil.virtual_memory()._replace(total=2 * 2**30, available=2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(UsageError, match="SHOPLAKE_SPARK_MEMORY_MB"):
        require_startable(free_settings(tmp_path))


def test_a_full_disk_is_a_failure(tmp_path, monkeypatch):
    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=2**30)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(UsageError, match=r"1 GB are free .* SHOPLAKE_DATA_DIR"):
        require_startable(free_settings(tmp_path))


def test_a_data_folder_that_cannot_be_made_is_a_failure(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written .* SHOPLAKE_DATA_DIR"):
        require_startable(free_settings(tmp_path / "file"))


@pytest.mark.parametrize(("missing", "result"), [([], "ok"), (["a jar"], "failure")])
def test_the_cache_need_be_written_only_while_something_is_missing(tmp_path, monkeypatch, missing, result):
    (tmp_path / "file").touch()
    monkeypatch.setattr(doctor, "cache_dir", lambda: tmp_path / "file" / "jars")
    monkeypatch.setattr(doctor, "missing_jars", lambda: missing)
    assert doctor._folders(free_settings(tmp_path)).result == result


def test_a_foreign_server_on_a_port_is_a_failure(tmp_path):
    import socket

    settings = free_settings(tmp_path)
    with socket.socket() as server:
        server.bind(("127.0.0.1", settings.s3_port))
        server.listen()
        check = by_name(settings)[f"port {settings.s3_port}"]
    assert check.result == "failure" and "SHOPLAKE_S3_PORT" in check.message


@pytest.mark.parametrize("unsafe", [{"api_host": "0.0.0.0"}, {"api_trusted_proxies": "*"}])  # noqa: S104 - it is refused
def test_an_api_that_will_not_start_is_a_failure(tmp_path, unsafe):
    with pytest.raises(UsageError, match="SHOPLAKE_API_"):
        require_startable(free_settings(tmp_path, **unsafe))


def test_memory_is_told_by_part(tmp_path):
    settings = free_settings(tmp_path, spark_memory_mb=1536)
    message = by_name(settings)["memory"].message
    needed = doctor.memory_by_part(settings)
    assert needed.keys() == {"kafka", "s3", "spark", "stream", "worker", "publisher", "api", "supervisor"}
    assert f"about {sum(needed.values())} MB needed: kafka {needed['kafka']}, " in message
    smaller = doctor.memory_by_part(free_settings(tmp_path, spark_memory_mb=1024, kafka_bootstrap="other:9092"))
    assert needed["spark"] - smaller["spark"] == 512 and "kafka" not in smaller


def test_the_demo_fits_four_gigabytes(tmp_path):
    assert doctor.memory_needed_mb(free_settings(tmp_path, **SMALL)) + 200 <= 4096
