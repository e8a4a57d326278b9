import hashlib

import pytest

from lakehouse.errors import ShoplakeError
from lakehouse.services import jars
from lakehouse.services.jars import Jar, fetch_jars, jar_set, locked_jars, missing_jars
from lakehouse.services.jars_lock import JGO_ROOTS, SPARK_ROOTS, pyspark_artifacts


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "shoplake" / "jars"


def test_the_lock_is_whole():
    assert {jar.set for jar in locked_jars()} == {"spark", *JGO_ROOTS}
    for jar in locked_jars():
        assert len(bytes.fromhex(jar.sha256)) == 32 and jar.size > 0
    for name in ("spark", *JGO_ROOTS):
        artifacts = [(jar.group, jar.artifact) for jar in jar_set(name)]
        assert len(artifacts) == len(set(artifacts)), f"{name} has two versions of one artifact"


@pytest.mark.parametrize(("name", "roots"), [("spark", SPARK_ROOTS), *JGO_ROOTS.items()])
def test_the_lock_holds_what_is_declared(name, roots):
    assert set(roots) <= {jar.coordinate for jar in jar_set(name)}


@pytest.mark.parametrize("name", ["spark", "yarn"])
def test_spark_gets_no_second_copy_of_what_pyspark_ships(name):
    assert not {jar.artifact for jar in jar_set(name)} & pyspark_artifacts()


def test_kafka_runs_with_its_own_clients():
    versions = {jar.artifact: jar.version for jar in jar_set("kafka")}
    assert versions["kafka-clients"] == versions["kafka_2.13"]


def test_the_lock_names_no_address():
    assert "://" not in jars.LOCK_FILE.read_text()


def one_jar(content: bytes) -> Jar:
    return Jar("kafka", "org.example", "thing", "1.0", hashlib.sha256(content).hexdigest(), len(content))


def serve(monkeypatch, jar: Jar, content: bytes) -> list[Jar]:
    asked = []

    def download(wanted, incoming):
        asked.append(wanted)
        path = incoming / "download"
        path.write_bytes(content)
        return path

    monkeypatch.setattr(jars, "locked_jars", lambda: (jar,))
    monkeypatch.setattr(jars, "_download", download)
    return asked


def test_a_jar_is_fetched_once(empty_cache, monkeypatch):
    jar = one_jar(b"content")
    asked = serve(monkeypatch, jar, b"content")
    fetch_jars()
    fetch_jars()
    assert asked == [jar]
    assert [path.name for path in empty_cache.iterdir()] == ["org.example_thing-1.0.jar"]


def test_a_jar_with_a_wrong_sum_is_refused_and_not_kept(empty_cache, monkeypatch):
    serve(monkeypatch, one_jar(b"content"), b"poison!")
    with pytest.raises(ShoplakeError, match=r"org\.example:thing:1\.0 is not the file that was locked"):
        fetch_jars()
    assert list(empty_cache.iterdir()) == []


def test_a_truncated_jar_counts_as_missing(empty_cache, monkeypatch):
    jar = one_jar(b"content")
    serve(monkeypatch, jar, b"content")
    fetch_jars()
    jar.path.write_bytes(b"con")
    assert missing_jars() == [jar]
