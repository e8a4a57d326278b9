"""The embedded Spark Connect server: the one engine of the lake and its only Delta writer."""

import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from lakehouse.errors import UsageError
from lakehouse.lake_secret import PRIVATE_FILE, spark_token
from lakehouse.probes import spark_answers
from lakehouse.reports import replace_text
from lakehouse.s3 import hadoop_options, java_options, write_java_store
from lakehouse.services import yarn
from lakehouse.services.jars import class_path
from lakehouse.services.service import FIRST_TIER, Service, java_home, log4j
from lakehouse.settings import Settings

# The planner is large and each of its methods is used a little: compiling it to the last degree takes a third of two
# cores for minutes. Loops over rows have a threshold of their own, which is as it was.
LOOPS_FIRST = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
)
BESIDE_HEAP_MB = 1472
"""What the JVM takes beside its heap, and the stream's process, which Spark starts, for two micro-batches of a
backlog: 1,280 MB were seen."""
LOG4J = log4j(
    "org.apache.spark.SparkConf",
    "org.apache.hadoop.util.NativeCodeLoader",
    "org.apache.hadoop.metrics2",
    "org.apache.spark.sql.kafka010.KafkaDataConsumer",
    "org.apache.kafka.clients",
)


def spark_conf(settings: Settings) -> dict[str, str]:
    """The whole Spark configuration, a pure function of the settings: tests and clusters use the same."""
    return {
        **_engine_conf(settings),
        **_delta_conf(settings),
        **{f"spark.hadoop.{name}": value for name, value in s3a_conf(settings).items()},
    }


def _engine_conf(settings: Settings) -> dict[str, str]:
    home = _home(settings)
    return {
        **_where_conf(settings),
        "spark.app.name": "shoplake",
        "spark.driver.memory": f"{settings.spark_memory_mb}m",
        "spark.driver.extraJavaOptions": (
            "-Duser.timezone=UTC -XX:+UseParallelGC -XX:+ExitOnOutOfMemoryError -XX:MaxDirectMemorySize=512m "
            # Room for what the JIT compiled of the generated code, or it is compiled again and again.
            "-XX:ReservedCodeCacheSize=400m "
            f"{FIRST_TIER if settings.java_jit == 'quick' else ' '.join(LOOPS_FIRST)} "
            f"-Dio.netty.maxDirectMemory=268435456{java_options(settings)}"
        ),
        "spark.local.dir": str(home / "local"),
        "spark.sql.warehouse.dir": str(home / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.ui.enabled": "false",
        "spark.master.rest.enabled": "false",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        # Runs show their tasks; most of their queries are over within the default of two seconds.
        "spark.connect.progress.reportInterval": "250ms",
        "spark.connect.grpc.binding.port": str(settings.spark_port),
        "spark.connect.authenticate.token": spark_token(settings),
        "spark.pyspark.python": sys.executable,
        "spark.pyspark.driver.python": sys.executable,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(settings.spark_shuffle_partitions),
        # Micro-batches are small: planning again in the middle costs more than it finds.
        "spark.sql.adaptive.enabled": "false",
        # A micro-batch runs some two hundred generated classes. The default of 100 would have each of them
        # compiled again for every batch, which costs more than the batch.
        "spark.sql.codegen.cache.maxEntries": "2000",
        # The number of its stage in the name of a generated class makes the same code look different in every query.
        "spark.sql.codegen.useIdInClassName": "false",
        "spark.sql.debug.maxToStringFields": "100",
        "spark.scheduler.mode": "FAIR",
        "spark.cleaner.periodicGC.interval": "10min",
        # The other one starts a process for each look at a link and each mode of a file, a dozen in a batch.
        "spark.sql.streaming.checkpointFileManagerClass": (
            "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
        ),
        "spark.sql.streaming.minBatchesToRetain": "20",
    }


def _where_conf(settings: Settings) -> dict[str, str]:
    """On one machine the driver is the executor, and jars on its class path need not be copied at each start. In a
    standalone cluster executors get them from the driver, on YARN from the bucket."""
    if settings.spark_is_local:
        return {
            "spark.master": settings.master,
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.authenticate": "true",  # on one machine Spark makes the secret for itself
            "spark.driver.extraClassPath": class_path("spark"),
        }
    jars = class_path("spark")
    if settings.spark_is_on_yarn:
        cluster = {**yarn.conf(settings, spark_home() / "jars"), "spark.driver.extraClassPath": jars}
    else:
        cluster = {"spark.master": settings.master, **secret_conf(settings), "spark.jars": jars.replace(":", ",")}
    return {
        "spark.driver.host": settings.spark_driver_host,
        "spark.driver.bindAddress": settings.spark_driver_host,
        **cluster,
        "spark.executor.memory": f"{settings.spark_executor_memory_mb}m",
        "spark.executor.cores": str(settings.spark_executor_cores),
        "spark.executor.extraJavaOptions": "-Duser.timezone=UTC -XX:+ExitOnOutOfMemoryError",
        # An executor that is gone is noticed in seconds, not in the two minutes that suit long jobs.
        "spark.network.timeout": "30s",
        "spark.network.timeoutInterval": "10s",
        "spark.executor.heartbeatInterval": "5s",
    }


def secret_conf(settings: Settings) -> dict[str, str]:
    """What everyone in a cluster needs to know before it may join or submit; nothing when the cluster has no secret.

    A cluster that is started here has one: it is made at the first start. Raises UsageError when the file is missing.
    """
    file = settings.spark_secret_file
    if file is None:
        if not settings.starts_spark_master:
            return {}
        file = _made_secret(settings)
    try:
        secret = file.read_text().strip()
    except OSError as error:
        raise UsageError(f"The cluster's secret cannot be read ({error}): see SHOPLAKE_SPARK_SECRET_FILE.") from None
    return {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret,
        "spark.network.crypto.enabled": "true",
    }


def _made_secret(settings: Settings) -> Path:
    file = _home(settings) / "cluster.secret"
    if not file.exists():
        replace_text(file, secrets.token_hex(32), PRIVATE_FILE)
    return file


def _delta_conf(settings: Settings) -> dict[str, str]:
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        # Delta's own would look whether a version is there and then write it, over one of delta-rs, too.
        "spark.delta.logStore.s3a.impl": "shoplake.ConditionalLogStore",
        # The state of a table is in the memory of its one writer. A file of it per commit is two writes, a deletion and
        # a handful of looks, and doubles the names in a log that is listed with every commit.
        "spark.databricks.delta.writeChecksumFile.enabled": "false",
        # Nor the names of all files for it, which an append would put the table's log together for.
        "spark.databricks.delta.allFilesInCrc.enabled": "false",
        # A commit whose answer was lost on the way is recognised, and not made again under the next version.
        "spark.databricks.delta.commit.idempotencyCheck.enabled": "true",
        # Every replacement puts the table's log together anew, and each task of that generates code for the widest rows
        # there are, which costs more than the rows: one task where files are few.
        "spark.databricks.delta.snapshotPartitions": "1" if settings.spark_is_local else "8",
        # A file of the default 1 GB would hold a day or more: nothing of it could be passed over by a lookup, and each
        # merging of the running day's new files would write the day anew.
        "spark.databricks.delta.optimize.maxFileSize": str(128 * 2**20),
        "spark.databricks.delta.optimize.minFileSize": str(64 * 2**20),
    }


def s3a_conf(settings: Settings) -> dict[str, str]:
    """Hadoop's S3A settings. A dead S3 fails in about a minute instead of ten."""
    conf = {
        "fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        **hadoop_options(settings),
        "fs.s3a.connection.maximum": "64",
        "fs.s3a.threads.max": "16",
        # No markers of empty folders, and no looks whether they are needed. Never `create`: it would drop the look
        # whether a commit of that name is there.
        "fs.s3a.performance.flags": "delete,mkdir",
        "fs.s3a.connection.establish.timeout": "15s",
        "fs.s3a.connection.timeout": "30s",
        "fs.s3a.attempts.maximum": "3",
        "fs.s3a.retry.limit": "3",
    }
    if settings.spark_is_local:  # an executor elsewhere has its own folders
        conf["fs.s3a.buffer.dir"] = str(_home(settings) / "s3a")
    return conf


def service(settings: Settings) -> Service:
    """The Spark Connect server as the supervisor sees it."""
    return Service(
        name="spark",
        address_name="remote",
        address=settings.remote,
        is_embedded=settings.spark_is_embedded,
        command=(
            str(spark_home() / "bin" / "spark-submit"),
            "--class",
            "org.apache.spark.sql.connect.service.SparkConnectServer",
            "spark-internal",
        ),
        env={
            "SPARK_HOME": str(spark_home()),
            "SPARK_CONF_DIR": str(_home(settings) / "conf"),
            "SPARK_LOCAL_IP": "127.0.0.1" if settings.spark_is_local else settings.spark_driver_host,
            "JAVA_HOME": str(java_home()),
            **({"HADOOP_CONF_DIR": str(yarn.hadoop_conf(settings))} if settings.spark_is_on_yarn else {}),
        },
        ports={"SHOPLAKE_SPARK_PORT": settings.spark_port},
        depends_on=("spark-master", "s3") if settings.spark_is_on_yarn else ("spark-master",),
        secrets=("AWS_",),
        is_healthy=lambda _pid: spark_answers(settings),
        prepare=lambda: _prepare(settings),
        memory_limit_mb=settings.spark_memory_mb + settings.fold_memory_mb + BESIDE_HEAP_MB,
        memory_mb=settings.spark_memory_mb + 128,
        start_seconds=180,
        stop_seconds=30,
    )


def spark_home() -> Path:
    """The Spark inside the pyspark package."""
    import importlib.util

    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise UsageError("pyspark is not installed: `make` installs what this project needs.")
    return Path(spec.origin).parent


def write_conf(folder: Path, conf: Mapping[str, str]) -> None:
    """Write what Spark's launcher finds in the folder that SPARK_CONF_DIR names; it may hold secrets."""
    lines = (f"{name} {value}\n" for name, value in conf.items() if value)
    replace_text(folder / "spark-defaults.conf", "".join(lines), PRIVATE_FILE)
    replace_text(folder / "log4j2.properties", LOG4J)


def _home(settings: Settings) -> Path:
    return settings.data_dir / "spark"


def _prepare(settings: Settings) -> None:
    for folder in ("local", "warehouse", "s3a"):
        shutil.rmtree(_home(settings) / folder, ignore_errors=True)  # a killed server leaves records of people there
        (_home(settings) / folder).mkdir(parents=True, exist_ok=True)
    write_java_store(settings)
    if settings.spark_is_on_yarn:
        yarn.prepare(settings, spark_home() / "jars")
    write_conf(_home(settings) / "conf", spark_conf(settings))
