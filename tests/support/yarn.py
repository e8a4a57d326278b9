"""A YARN cluster of one machine: Hadoop's own resource manager and node manager, at an address of their own."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lakehouse.services.jars import class_path, fetch_jars
from lakehouse.services.service import java, java_home
from lakehouse.services.spark import s3a_conf, spark_home
from lakehouse.services.yarn import hadoop_xml
from lakehouse.settings import Settings
from tests.support.shop import eventually

HOST = "127.0.0.7"
"""Not where anything else on this machine listens, so that YARN's usual ports are free."""
ONE_PASS = {"fs.s3a.input.stream.type": "classic"}
"""The default of Hadoop 3.5 keeps a file in memory until it is closed, which an archive is too large for."""
MANAGER = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager"
NODE = "org.apache.hadoop.yarn.server.nodemanager.NodeManager"


@contextmanager
def cluster(folder: Path, settings: Settings) -> Iterator[None]:
    """YARN while the block lasts. Its machine may read the lake's S3, as one with an instance role may."""
    fetch_jars(("spark", "yarn"))
    conf = folder / "conf"
    conf.mkdir(parents=True)
    machine = {
        "resource.memory-mb": "6144",
        "resource.cpu-vcores": "4",
        "hostname": HOST,
        "vmem-check-enabled": "false",
        "local-dirs": f"{folder}/local",
        "log-dirs": f"{folder}/logs",
        # A full disk is this machine's matter, not the test's.
        "disk-health-checker.max-disk-utilization-per-disk-percentage": "100",
    }
    yarn = {f"yarn.nodemanager.{name}": value for name, value in machine.items()}
    _write(
        conf / "yarn-site.xml",
        {"yarn.resourcemanager.hostname": HOST, "yarn.scheduler.minimum-allocation-mb": "256", **yarn},
    )
    _write(conf / "core-site.xml", {"fs.defaultFS": "file:///", **s3a_conf(settings), **ONE_PASS})
    queues = {"root.queues": "default", "root.default.capacity": "100", "maximum-am-resource-percent": "0.5"}
    _write(
        conf / "capacity-scheduler.xml", {f"yarn.scheduler.capacity.{name}": value for name, value in queues.items()}
    )
    with _daemon(MANAGER, folder) as manager, _daemon(NODE, folder) as node:
        eventually(lambda: asked("nodes"), 120, f"YARN has its machine (its logs are in {folder})")
        assert manager.poll() is None and node.poll() is None, f"no other YARN answers (its logs are in {folder})"
        yield


def asked(what: str, query: str = "") -> list[dict[str, object]]:
    """What the resource manager says of its `nodes` or `apps`; nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:8088/ws/v1/cluster/{what}{query}", timeout=5) as answer:
            found = json.load(answer)[what]
    except OSError:
        return []
    return list((found or {}).get(what[:-1], ()))


@contextmanager
def _daemon(name: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    jars = os.pathsep.join((str(folder / "conf"), class_path("yarn"), class_path("spark"), f"{spark_home()}/jars/*"))
    command = [java(), "-Xmx512m", f"-Dhadoop.log.dir={folder}", "-cp", jars, name]
    log = folder / f"{name.rpartition('.')[2]}.log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "JAVA_HOME": str(java_home())}
        )
    try:
        yield daemon
    finally:
        daemon.terminate()
        daemon.wait(60)


def _write(file: Path, values: dict[str, str]) -> None:
    file.write_text(hadoop_xml(values))
