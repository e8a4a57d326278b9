"""What the supervisor needs to know about a part it runs."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.errors import UsageError
from lakehouse.settings import Settings

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CLIENT_SECRETS = ("AWS_", "SPARK_CONNECT_AUTHENTICATE_TOKEN", "SHOPLAKE_SPARK_REMOTE")
"""What the lake's clients of S3, Kafka and Spark need where these are external ones."""
_SECRET = re.compile(
    "SECRET(?!_FILE)|TOKEN|PASSW|CREDENTIAL|(^|_)KEY(_|$)(?<!TLS_KEY)"
    "|^SHOPLAKE_(SPARK_REMOTE|SUPERSET_DATABASE_URL|ALERT_WEBHOOK_URL)$",
    re.IGNORECASE,
)
"""Names of variables that may hold a secret."""
FIRST_TIER = "-XX:TieredStopAtLevel=1"
"""Of a JVM: compile quickly, and no further."""
NO_JAVA = "Java was not found: install Java 17 or 21 (or set JAVA_HOME to it)."


@dataclass(frozen=True)
class Service:
    """One part of the platform: how to start it and how to tell that it works.

    `address_name` is the key of the address in `shoplake status`. `ports` maps a setting's name to its port.
    `prepare` runs before each start, `on_up` once when the part answers for the first time (also when external).
    `is_healthy` gets the process id of the running child. Without an optional part the rest of the platform goes on.
    `memory_mb` is about what it takes, with all that it starts; above `memory_limit_mb` it is ended.
    `secrets` are the names, or their beginnings, of the secret variables that the child gets; the others it does not.
    """

    name: str
    address_name: str
    address: str
    command: tuple[str, ...]
    is_healthy: Callable[[int], bool]
    memory_mb: int
    memory_limit_mb: int
    is_embedded: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    on_up: Callable[[], None] = lambda: None
    depends_on: tuple[str, ...] = ()
    start_seconds: float = 120
    stop_seconds: float = 20
    is_optional: bool = False


def java() -> str:
    """The Java that runs the JVM parts: JAVA_HOME's, else the one on the PATH."""
    home = os.environ.get("JAVA_HOME")
    if home and (found := shutil.which(str(Path(home) / "bin" / "java"))):
        return found
    if found := shutil.which("java"):
        return found
    raise UsageError(NO_JAVA)


def java_home() -> Path:
    """The folder of that Java."""
    return Path(java()).resolve().parents[1]


def jvm_options(heap_mb: int) -> tuple[str, ...]:
    """Options of Kafka and the S3 server: a heap that stays in its bounds, UTC, and an end when memory is out. Both do
    so little that compiling it to the last degree takes longer than the work itself."""
    return (
        FIRST_TIER,
        f"-Xms{min(heap_mb, 128)}m",
        f"-Xmx{heap_mb}m",
        "-Duser.timezone=UTC",
        "-Dfile.encoding=UTF-8",
        "-Djava.awt.headless=true",
        "-XX:+ExitOnOutOfMemoryError",
    )


def child_environment(settings: Settings, secrets: tuple[str, ...] = ("",)) -> dict[str, str]:
    """This process's environment with the settings in it, so that a child sees exactly what its parent saw; of its
    secrets only those whose names begin with one of `secrets`.

    A setting that is unset here is unset there, and Python children find this project's code.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SHOPLAKE_")}
    values = settings.model_dump(exclude_none=True)
    everything = inherited | {f"SHOPLAKE_{name.upper()}": str(value) for name, value in values.items()}
    return {
        **{name: value for name, value in everything.items() if not _SECRET.search(name) or name.startswith(secrets)},
        "PYTHONPATH": str(PROJECT_ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }


def log4j(*quiet: str) -> str:
    """A configuration of Log4j 2: warnings, and of the loggers `quiet` only errors."""
    loggers = "".join(
        f"logger.l{number}.name = {name}\nlogger.l{number}.level = error\n" for number, name in enumerate(quiet)
    )
    return f"""\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSS}} %p %c{{1}}: %m%n
{loggers}"""


def properties(values: Mapping[str, object]) -> str:
    """A Java properties file."""
    return "".join(f"{name}={value}\n" for name, value in values.items())
