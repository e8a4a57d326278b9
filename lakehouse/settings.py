"""Every setting, once. Environment variables with the prefix `SHOPLAKE_`, or a `.env` file."""

import difflib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from lakehouse.errors import UsageError
from lakehouse.secret_words import ADDRESSES, VARIABLES
from lakehouse.wording import in_words

Port = Annotated[int, Field(ge=1024, le=65535)]
AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """Typed settings of one lake. A part whose address is given is external and is not started."""

    model_config = SettingsConfigDict(env_prefix="SHOPLAKE_", env_file=".env", extra="ignore", frozen=True)

    data_dir: AbsolutePath = Field(
        Path(".shoplake"), description="Where all state of this lake lives.", validate_default=True
    )

    kafka_bootstrap: str | None = Field(
        None,
        pattern=r"^[^,\s]+:\d+(,[^,\s]+:\d+)*$",
        description="Address of an external Kafka (host:port,…); unset starts a broker.",
    )
    kafka_security: Literal["plaintext", "msk-iam"] = Field(
        "plaintext", description="How clients reach Kafka: plaintext, or msk-iam (TLS, signed with AWS credentials)."
    )
    kafka_ca_file: AbsolutePath | None = Field(
        None, description="Authorities (PEM) that sign the brokers' certificates; unset trusts the public ones."
    )
    kafka_port: Port = Field(9092, description="Port of the embedded broker.")
    kafka_controller_port: Port = Field(9093, description="Port of the embedded broker's controller.")
    kafka_memory_mb: int = Field(512, ge=256, description="Heap of the embedded broker, in MB.")
    topic_partitions: int = Field(2, ge=1, le=512, description="Partitions of each topic; can be raised later.")
    topic_replication: int = Field(1, ge=1, le=9, description="Replicas of each topic.")
    topic_retention_hours: int = Field(168, ge=1, description="Hours that Kafka keeps a record.")

    bucket: str = Field("shoplake", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="S3 bucket of the lake.")
    bucket_versioning: bool = Field(False, description="Keep old versions of objects in the bucket.")
    backup_keep_days: int | None = Field(
        None,
        ge=1,
        description="Days after which `shoplake backup` deletes older backups in the same place; unset keeps all.",
    )
    s3_endpoint: str | None = Field(
        None,
        pattern=r"^(https?://.+)?$",
        description="S3 endpoint: unset starts a local server, empty means AWS, else an address.",
    )
    s3_ca_file: AbsolutePath | None = Field(
        None, description="Authorities (PEM) that sign the S3 server's certificate; unset trusts the public ones."
    )
    s3_port: Port = Field(9000, description="Port of the embedded S3 server.")
    s3_memory_mb: int = Field(384, ge=128, description="Heap of the embedded S3 server, in MB.")
    s3_region: str = Field("us-east-1", description="AWS region of the bucket, and of MSK.")

    spark_remote: str | None = Field(
        None, pattern=r"^sc://.+", description="External Spark Connect server (sc://host:port); unset starts one."
    )
    spark_port: Port = Field(15002, description="Port of the embedded Spark Connect server.")
    spark_master: str = Field(
        "local[*]",
        pattern=r"^(local(\[[^\]]+\])?|here|spark://.+|yarn://[^/:]+(:\d+)?)$",
        description="Where the embedded Spark computes: local[*] on this machine; here on a cluster whose master "
        "starts on this machine; spark://host:port on another cluster; yarn://host:port on YARN (its resource "
        "manager), such as EMR's.",
    )
    spark_memory_mb: int = Field(2048, ge=1024, description="Heap of the embedded Spark Connect server, in MB.")
    spark_shuffle_partitions: int = Field(2, ge=1, description="Shuffle partitions; about the number of cores.")
    spark_driver_host: str = Field(
        "127.0.0.1", description="Address at which the other machines of a Spark cluster reach this one."
    )
    spark_workers: int = Field(
        0, ge=0, le=64, description="Workers of a Spark cluster that is started here; 0: the server computes by itself."
    )
    spark_master_port: Port = Field(7077, description="Port of the started cluster's master.")
    spark_master_ui_port: Port = Field(8080, description="Port of the pages about the started cluster.")
    spark_secret_file: AbsolutePath | None = Field(
        None, description="File with the secret that a Spark cluster shares; unset makes one when it starts here."
    )
    spark_executor_memory_mb: int = Field(2048, ge=512, description="Heap of each executor in a cluster, in MB.")
    spark_executor_cores: int = Field(2, ge=1, description="Cores of each executor in a cluster.")
    spark_executors: int = Field(2, ge=1, description="Executors that YARN is asked for.")
    java_jit: Literal["full", "quick"] = Field(
        "full",
        description="How Spark's Java compiles at run time: full, for a lake that keeps running; quick, for tests and "
        "the demo, starts a third faster, at half the throughput.",
    )

    api_host: str = Field("127.0.0.1", description="Address that the HTTP API listens on.")
    api_port: Port = Field(8000, description="Port of the HTTP API.")
    api_tls_cert: AbsolutePath | None = Field(
        None, description="Certificate chain (PEM) of the HTTP API; makes it HTTPS."
    )
    api_tls_key: AbsolutePath | None = Field(None, description="Private key (PEM) of the certificate.")
    api_public_without_tls: bool = Field(
        False, description="Listen on a public address without TLS; only behind a proxy that has it."
    )
    api_trusted_proxies: str = Field(
        "", description="Addresses and networks of proxies that the API and Superset trust, separated by commas."
    )
    api_max_body_kb: int = Field(64, ge=1, le=10_240, description="Largest body of a request to the HTTP API.")
    api_slow_seconds: float = Field(10, gt=0, description="How long a request's headers, and its body, may take.")
    api_max_connections: int = Field(500, ge=10, description="Most connections that the HTTP API holds.")
    api_max_followers: int = Field(100, ge=1, description="Most runs that are followed over HTTP at once.")
    api_caller_requests_per_minute: int = Field(1_200, ge=1, description="Most requests of one caller.")
    api_address_requests_per_minute: int = Field(3_000, ge=1, description="Most requests from one address.")
    api_url: str | None = Field(
        None, pattern=r"^(https?://.+)?$", description="HTTP API that commands ask; unset is this lake's own."
    )
    api_key: SecretStr | None = Field(
        None, exclude=True, description="API key that commands use; unset is this lake's operator key."
    )
    publish_seconds: float = Field(1, ge=0.1, description="Shortest time between two publishes of the serving file.")
    superset_port: Port = Field(8088, description="Port of Superset.")
    superset_host: str = Field("127.0.0.1", description="Address that Superset listens on; others need TLS before it.")
    superset_memory_mb: int = Field(1024, ge=512, description="Most memory of Superset, in MB; free before it starts.")
    superset_database_url: str | None = Field(
        None,
        pattern=r"^(sqlite|postgresql(\+\w+)?)://([^@]*@)?(\[[0-9a-f:.]+\]|[^:/@?\[]*)(:\d+)?(/.*)?$",
        description="Database of Superset's own records: unset is a SQLite file; else a SQLAlchemy address.",
    )
    superset_public: bool = Field(False, description="Show the dashboards to visitors without an account.")

    max_parallel_runs: int = Field(2, ge=1, le=64, description="Job runs at the same time, in threads of one process.")
    sql_memory_mb: int = Field(
        192, ge=64, description="Memory of SQL over the lake in each process of a service, in MB; more goes to disk."
    )
    max_queued_runs: int = Field(
        100, ge=1, description="Job runs that may wait, half of them of one caller; beyond it a trigger is refused."
    )

    alert_seconds: float = Field(30, ge=1, le=3600, description="Time between two evaluations of the alerts' rules.")
    alert_webhook_url: str | None = Field(
        None, pattern=r"^https?://", description="Where alerts are posted as JSON; unset posts nothing."
    )
    alert_sns_topic: str | None = Field(
        None,
        pattern=r"^arn:aws[a-z-]*:sns:",
        description="ARN of the SNS topic for alerts; unset sends nothing.",
    )
    alert_lag_records: int = Field(100_000, ge=0, description="Records that may wait on the broker without an alert.")
    alert_freshness_seconds: float = Field(
        120, gt=0, description="How long waiting records may stay out of the tables without an alert."
    )
    alert_quarantine_share: float = Field(
        0.1, gt=0, le=1, description="Share of refused records in a quarter of an hour without an alert."
    )

    trigger_seconds: float = Field(0.6, ge=0, description="Shortest time between two micro-batches.")
    max_offsets_per_batch: int = Field(100_000, ge=1, description="Most Kafka records in one micro-batch.")
    max_future_minutes: int = Field(5, ge=0, description="How far an event may be ahead of its Kafka record.")
    max_age_days: int = Field(400, ge=1, description="How far an event may be behind its Kafka record.")
    dedupe_hours: float = Field(
        3,
        gt=0,
        le=24,
        description="How long after an event's first record another one with its id is a duplicate, even with another"
        " time; with the same time it always is.",
    )
    fold_memory_mb: int = Field(
        1024, ge=128, description="Memory of what the stream keeps of the newest hours, in MB; more goes to disk."
    )
    lateness_minutes: int = Field(15, ge=0, description="How long after its end an hour stays provisional.")
    currency: str | None = Field(
        None,
        pattern=r"^[A-Z]{3}$",
        description="Currency of the shop (ISO 4217), in which gold.kpis_hourly states revenue: purchases in others do "
        "not count there, those without a currency do. Unset: that of the hour, and no revenue if it has several.",
    )
    top_n: int = Field(10, ge=1, le=1000, description="Ranks kept in the top-products tables.")

    @cached_property
    def kafka_is_embedded(self) -> bool:
        """Whether `shoplake up` starts the broker."""
        return self.kafka_bootstrap is None

    @cached_property
    def s3_is_embedded(self) -> bool:
        """Whether `shoplake up` starts the S3 server."""
        return self.s3_endpoint is None

    @cached_property
    def spark_is_embedded(self) -> bool:
        """Whether `shoplake up` starts the Spark Connect server."""
        return self.spark_remote is None

    @cached_property
    def spark_is_local(self) -> bool:
        """Whether the embedded Spark Connect server computes in its own process."""
        return self.master.startswith("local")

    @property
    def spark_is_on_yarn(self) -> bool:
        """Whether a YARN cluster gives the executors."""
        return self.spark_master.startswith("yarn://")

    @property
    def master(self) -> str:
        """Where the embedded Spark Connect server computes, as Spark spells it."""
        own = f"spark://{self.spark_driver_host}:{self.spark_master_port}"
        return own if self.starts_spark_master else self.spark_master

    @property
    def starts_spark_master(self) -> bool:
        """Whether the master of a Spark cluster is started here."""
        return self.spark_is_embedded and (self.spark_workers > 0 or self.spark_master == "here")

    @property
    def bootstrap(self) -> str:
        """Kafka address that clients use."""
        return self.kafka_bootstrap or f"127.0.0.1:{self.kafka_port}"

    @property
    def endpoint(self) -> str:
        """S3 endpoint that clients use; empty for AWS."""
        return f"http://127.0.0.1:{self.s3_port}" if self.s3_endpoint is None else self.s3_endpoint

    @property
    def remote(self) -> str:
        """Spark Connect address that clients use."""
        return self.spark_remote or f"sc://127.0.0.1:{self.spark_port}"

    @property
    def own_api_url(self) -> str:
        """Address of this lake's own HTTP API, as clients on this machine use it."""
        host = "127.0.0.1" if self.api_host in ("0.0.0.0", "::", "localhost") else self.api_host  # noqa: S104 - compared, not bound to
        scheme = "http" if self.api_tls_cert is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def serving_file(self) -> Path:
        """The published file that readers open."""
        return self.data_dir / "serving" / "serving.duckdb"

    @property
    def superset_url(self) -> str:
        """Address of Superset, as browsers on this machine use it."""
        return f"http://127.0.0.1:{self.superset_port}"

    @property
    def superset_home(self) -> Path:
        """Folder of Superset's key, passwords and records."""
        return self.data_dir / "superset"

    @property
    def registry_file(self) -> Path:
        """The run registry: a SQLite file."""
        return self.data_dir / "registry.sqlite3"

    @property
    def operator_key_file(self) -> Path:
        """The key of this machine's operator, which commands use: whoever may read this file may do everything."""
        return self.run_dir / "operator.key"

    @property
    def logs(self) -> Path:
        """Folder of the log files, one per service."""
        return self.data_dir / "logs"

    @property
    def run_dir(self) -> Path:
        """Folder of the lock, process records and the stream's state."""
        return self.data_dir / "run"

    @property
    def gold_report(self) -> Path:
        """Written anew whenever the stream has written gold, so that the publisher need not ask S3."""
        return self.run_dir / "gold.json"

    @property
    def fold_file(self) -> Path:
        """What the stream keeps of the newest hours, a cache on a local disk."""
        return self.data_dir / "stream" / "fold.duckdb"

    @property
    def checkpoints(self) -> Path:
        """Folder of streaming checkpoints (a local or EBS disk, never S3)."""
        return self.data_dir / "checkpoints"


def load_settings(**overrides: object) -> Settings:
    """The settings from environment and `.env`, with `overrides` on top.

    Raises UsageError with one sentence that names the first wrong setting.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "SHOPLAKE_" + "_".join(str(part) for part in first["loc"]).upper()
        got = "" if name in (*VARIABLES, *ADDRESSES, "SHOPLAKE_SPARK_REMOTE") else f" (got {first['input']!r})"
        raise UsageError(f"The setting {name} is wrong: {in_words(first)}{got}.") from None
    if settings.kafka_is_embedded and settings.kafka_security != "plaintext":
        raise UsageError("SHOPLAKE_KAFKA_SECURITY=msk-iam needs a cluster's address: set SHOPLAKE_KAFKA_BOOTSTRAP.")
    if settings.spark_workers and not settings.spark_master.startswith(("local", "here")):
        raise UsageError(
            "SHOPLAKE_SPARK_WORKERS starts a cluster here and SHOPLAKE_SPARK_MASTER names another: set one of them."
        )
    return settings


def misspelt() -> list[str]:
    """A sentence per `SHOPLAKE_` name of the environment and `.env` that no setting has: it would change nothing."""
    known = [name.upper() for name in Settings.model_fields]
    said = []
    for place, source in (("the environment", EnvSettingsSource), (".env", DotEnvSettingsSource)):
        for name in sorted(source(Settings).env_vars):
            prefix, mark, rest = name.upper().partition("SHOPLAKE_")
            if mark and not prefix and rest not in known:
                close = difflib.get_close_matches(rest, known, n=1)
                hint = f"did you mean {mark}{close[0]}?" if close else "docs/reference/settings.md lists all."
                said.append(f"There is no setting {mark}{rest}, which {place} has; {hint}")
    return said
