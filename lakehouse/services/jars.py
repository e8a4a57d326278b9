"""The JVM parts, fetched by coordinate and checked against the SHA-256 sums in `jars.lock`.

One road for all sets: every jar of the lock is fetched once into the user's cache folder, from where
the class paths name it. `jars_lock.py` makes the lock.
"""

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lakehouse.errors import ShoplakeError

LOCK_FILE = Path(__file__).with_name("jars.lock")
LOG_STORE = Path(__file__).with_name("log-store.jar")
"""ConditionalLogStore.java, compiled; a test compiles it again."""
SETS = ("spark", "kafka", "s3proxy")
"""What a platform runs. The lock has one more: a cluster for the test of executors on YARN."""
ATTEMPTS = 3
PARALLEL_DOWNLOADS = 8


@dataclass(frozen=True)
class Jar:
    """One line of the lock: a jar of a set, its sum and its size in bytes."""

    set: str
    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def coordinate(self) -> str:
        """The Maven coordinate."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def path(self) -> Path:
        """Where the jar lies in the user's cache once it was fetched and checked."""
        return cache_dir() / f"{self.group}_{self.artifact}-{self.version}.jar"

    @property
    def is_present(self) -> bool:
        """Whether the checked jar is there; a jar only gets its name after its sum was found right."""
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


def cache_dir() -> Path:
    """The folder of fetched jars, shared by all checkouts of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).expanduser() / "shoplake" / "jars"


@cache
def locked_jars() -> tuple[Jar, ...]:
    """All jars of the lock."""
    rows = [line.split("\t") for line in LOCK_FILE.read_text().splitlines() if line and not line.startswith("#")]
    return tuple(_jar(*row) for row in rows)


def _jar(name: str, coordinate: str, sha256: str, size: str) -> Jar:
    group, artifact, version = coordinate.split(":")
    return Jar(name, group, artifact, version, sha256, int(size))


def jar_set(name: str) -> list[Jar]:
    """The jars of one set, in class path order."""
    return [jar for jar in locked_jars() if jar.set == name]


def class_path(name: str) -> str:
    """The class path of one set."""
    own = [LOG_STORE] if name == "spark" else []
    return os.pathsep.join(map(str, [*own, *(jar.path for jar in jar_set(name))]))


def missing_jars(sets: tuple[str, ...] = SETS) -> list[Jar]:
    """What has to be fetched before these sets can run (a jar in two sets is named once)."""
    return list({jar.path: jar for jar in locked_jars() if jar.set in sets and not jar.is_present}.values())


def fetch_jars(sets: tuple[str, ...] = SETS) -> None:
    """Fetch the missing jars in parallel, with a progress bar. Does nothing when all are there."""
    missing = missing_jars(sets)
    if not missing:
        return
    from rich.console import Console
    from rich.progress import track

    console, size = Console(stderr=True), sum(jar.size for jar in missing)
    console.print(f"Fetching {len(missing)} JVM libraries ({size / 1e6:.0f} MB) …", highlight=False)
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".incoming-") as incoming,
        ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool,
    ):
        tasks = [pool.submit(_fetch, jar, Path(incoming)) for jar in missing]
        try:
            for task in track(as_completed(tasks), "", len(tasks), console=console, disable=not console.is_terminal):
                task.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def sha256_of(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(jar: Jar, incoming: Path) -> None:
    """Fetch one jar, check it, and only then give it its name in the cache."""
    downloaded = _download(jar, incoming)
    found = sha256_of(downloaded)
    if found != jar.sha256:
        raise ShoplakeError(
            f"{jar.coordinate} is not the file that was locked (SHA-256 {found}, expected {jar.sha256}): not used."
        )
    downloaded.replace(jar.path)


def _download(jar: Jar, incoming: Path) -> Path:
    from jgo.maven import MavenContext

    problem: Exception | None = None
    for attempt in range(ATTEMPTS):
        context = MavenContext(repo_cache=incoming / f"{jar.artifact}-{jar.version}-{attempt}", timeout=60)
        try:
            artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
            return Path(artifact.resolve())
        except Exception as error:  # jgo raises what its HTTP library and its own checks raise
            problem = error
    raise ShoplakeError(f"{jar.coordinate} cannot be fetched: {problem}. Is the network there?")


if __name__ == "__main__":
    fetch_jars()
