"""A Spark standalone cluster: its master beside the Spark Connect server, and workers here and on other machines.

The server stays the lake's only Delta writer: it is the driver, executors in the workers do the work.
`SHOPLAKE_SPARK_WORKERS` starts master and workers, `SHOPLAKE_SPARK_MASTER=here` a master alone; `python -m
lakehouse.services.cluster` is a worker on another machine (docs/how-to/cluster.md).
"""

import os
import shutil
import sys
from pathlib import Path

import psutil

from lakehouse.errors import UsageError, exit_code
from lakehouse.probes import says_ok
from lakehouse.s3 import java_options, write_java_store
from lakehouse.services.service import Service, java_home
from lakehouse.services.spark import secret_conf, spark_home, write_conf
from lakehouse.settings import Settings, load_settings

MASTER, WORKER = "org.apache.spark.deploy.master.Master", "org.apache.spark.deploy.worker.Worker"
DAEMON_MB = 256
"""Heap of the master and of each worker: they only start executors and watch them."""
BESIDE_DAEMON_MB, BESIDE_EXECUTOR_MB = 384, 896
"""What such a process takes beside its heap: code, threads, buffers."""
LOST_AFTER_SECONDS = 20


def services(settings: Settings) -> list[Service]:
    """The master and the workers as the supervisor sees them; none unless a cluster is started here."""
    if not settings.starts_spark_master:
        return []
    return [_master(settings), *(_worker(settings, number) for number in range(1, settings.spark_workers + 1))]


def cluster_conf(settings: Settings) -> dict[str, str]:
    """What master and workers have in common. Who does not know the secret can neither join nor submit."""
    return {
        **secret_conf(settings),
        "spark.master.rest.enabled": "false",
        "spark.ui.killEnabled": "false",
        "spark.worker.timeout": str(LOST_AFTER_SECONDS),
        # A master that was killed knows its workers and the server's application again.
        "spark.deploy.recoveryMode": "FILESYSTEM",
        "spark.deploy.recoveryDirectory": str(_home(settings) / "master"),
        # Each executor's folder has its own copy of the JVM libraries.
        "spark.worker.cleanup.enabled": "true",
        "spark.worker.cleanup.interval": "600",
        "spark.worker.cleanup.appDataTtl": "3600",
    }


def join(settings: Settings) -> None:
    """Become a worker of the cluster that SHOPLAKE_SPARK_MASTER names; returns only by raising UsageError."""
    if not settings.spark_master.startswith("spark://"):
        raise UsageError("Which cluster is to be joined? Set SHOPLAKE_SPARK_MASTER=spark://host:port.")
    worker = _worker(settings, 1)
    worker.prepare()
    os.execvpe(worker.command[0], worker.command, {**os.environ, **worker.env})  # noqa: S606 - this project's command


def _master(settings: Settings) -> Service:
    port, ui, host = settings.spark_master_port, settings.spark_master_ui_port, settings.spark_driver_host
    return Service(
        name="spark-master",
        address_name="url",
        address=settings.master,
        command=(_spark_class(), MASTER, "--host", host, "--port", str(port), "--webui-port", str(ui)),
        env=_environment(settings),
        ports={"SHOPLAKE_SPARK_MASTER_PORT": port, "SHOPLAKE_SPARK_MASTER_UI_PORT": ui},
        is_healthy=lambda _pid: says_ok(f"http://{host}:{ui}/json/"),
        prepare=lambda: _prepare(settings),
        memory_mb=DAEMON_MB,
        memory_limit_mb=DAEMON_MB + BESIDE_DAEMON_MB,
    )


def _worker(settings: Settings, number: int) -> Service:
    memory, folder = settings.spark_executor_memory_mb, _home(settings) / f"worker-{number}"
    limits = ("--cores", str(settings.spark_executor_cores), "--memory", f"{memory}m")
    places = ("--host", settings.spark_driver_host, "--webui-port", "0", "--work-dir", str(folder))
    return Service(
        name=f"spark-worker-{number}",
        address_name="master",
        address=settings.master,
        command=(_spark_class(), WORKER, *limits, *places, settings.master),
        env=_environment(settings),
        secrets=("AWS_",),
        is_healthy=lambda pid: _has_joined(settings, pid),
        prepare=lambda: _prepare_worker(settings, folder),
        depends_on=("spark-master",),
        memory_mb=DAEMON_MB + memory,
        memory_limit_mb=DAEMON_MB + BESIDE_DAEMON_MB + memory + BESIDE_EXECUTOR_MB,
    )


def _has_joined(settings: Settings, pid: int) -> bool:
    """Whether the worker holds its connection to the master."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(one.raddr and one.raddr.port == settings.spark_master_port for one in connections)


def _spark_class() -> str:
    return str(spark_home() / "bin" / "spark-class")


def _home(settings: Settings) -> Path:
    return settings.data_dir / "spark" / "cluster"


def _environment(settings: Settings) -> dict[str, str]:
    trust = java_options(settings).strip()
    return {
        "SPARK_HOME": str(spark_home()),
        "SPARK_CONF_DIR": str(_home(settings) / "conf"),
        "SPARK_LOCAL_IP": settings.spark_driver_host,
        "SPARK_LOCAL_DIRS": str(_home(settings) / "local"),
        "SPARK_DAEMON_MEMORY": f"{DAEMON_MB}m",
        "SPARK_DAEMON_JAVA_OPTS": "-Duser.timezone=UTC -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError",
        "JAVA_HOME": str(java_home()),
        # Executors inherit it; what the driver tells them has the driver's paths.
        **({"JDK_JAVA_OPTIONS": trust} if trust else {}),
    }


def _prepare(settings: Settings) -> None:
    for folder in ("local", "master"):
        (_home(settings) / folder).mkdir(parents=True, exist_ok=True)
    write_conf(_home(settings) / "conf", cluster_conf(settings))
    write_java_store(settings)


def _prepare_worker(settings: Settings, folder: Path) -> None:
    _prepare(settings)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: join(load_settings())))
