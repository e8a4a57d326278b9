"""Makes `jars.lock` (`make lock`): resolves the sets of JVM parts and writes their SHA-256 sums.

Spark's set is resolved by the Ivy inside Spark, since jgo cannot read the AWS SDK's bill of materials;
the others by jgo. Jars that pyspark ships are left out: two versions on one class path is a lottery.
"""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lakehouse.services.jars import LOCK_FILE, sha256_of

SPARK_ROOTS = (
    "io.delta:delta-spark_4.2_2.13:4.4.0",
    "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0",
    "org.apache.hadoop:hadoop-aws:3.5.0",
    "software.amazon.awssdk:s3:2.35.4",
    "software.amazon.awssdk:s3-transfer-manager:2.35.4",
    "software.amazon.awssdk:sts:2.35.4",
    "software.amazon.msk:aws-msk-iam-auth:2.3.2",
)
SPARK_EXCLUDES = (
    "software.amazon.awssdk:bundle",
    # Not needed by a role; of another version than the rest of the SDK.
    "software.amazon.awssdk:sso",
    "software.amazon.awssdk:ssooidc",
    "io.netty:netty-all",
    "org.apache.hadoop:hadoop-client-api",
    "org.apache.hadoop:hadoop-client-runtime",
)
JGO_ROOTS = {
    # The broker needs a backend for its slf4j 1.7; log4j 2 is what its own distribution takes.
    "kafka": ("org.apache.kafka:kafka_2.13:4.2.0", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3"),
    # S3Proxy's own jackson-annotations is too old for its jackson 3.
    "s3proxy": ("org.gaul:s3proxy:4.1.0", "com.fasterxml.jackson.core:jackson-annotations:2.21"),
    # Hadoop's jar for tests, which leaves out the library that its resource manager encrypts with.
    "yarn": (
        "org.apache.hadoop:hadoop-client-minicluster:3.5.0",
        "org.bouncycastle:bcprov-jdk18on:1.82",
        "org.bouncycastle:bcpkix-jdk18on:1.82",
    ),
}
HEADER = "# Made by `make lock`. set, group:artifact:version, SHA-256, bytes\n"
IVY_SETTINGS = (
    '<ivysettings><settings defaultResolver="central"/>'
    '<resolvers><ibiblio name="central" m2compatible="true"/></resolvers></ivysettings>'
)


def main() -> None:
    """Resolve everything and write the lock."""
    with tempfile.TemporaryDirectory() as folder:
        rows = list(_lines("spark", _spark_jars(Path(folder))))
        for name, roots in JGO_ROOTS.items():
            found = _jgo_jars(roots, Path(folder) / name)
            rows += _lines(name, _beside_spark(found) if name == "yarn" else found)
    LOCK_FILE.write_text(HEADER + "".join(rows))
    print(f"{LOCK_FILE.name}: {len(rows)} jars")


def _lines(name: str, jars: Iterable[tuple[str, Path]]) -> Iterable[str]:
    for coordinate, path in jars:
        yield f"{name}\t{coordinate}\t{sha256_of(path)}\t{path.stat().st_size}\n"


def _spark_jars(folder: Path) -> list[tuple[str, Path]]:
    """What Ivy resolves for Spark, less what pyspark ships."""
    from pyspark.sql import SparkSession

    settings = folder / "ivy.xml"
    settings.write_text(IVY_SETTINGS)
    ivy = folder / "ivy"
    SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config(
        "spark.jars.ivySettings", str(settings)
    ).config("spark.jars.ivy", str(ivy)).config("spark.jars.packages", ",".join(SPARK_ROOTS)).config(
        "spark.jars.excludes", ",".join(SPARK_EXCLUDES)
    ).getOrCreate().stop()
    return _beside_spark([(_ivy_coordinate(path, ivy / "cache"), path) for path in sorted((ivy / "jars").iterdir())])


def _beside_spark(jars: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    shipped = pyspark_artifacts()
    return [(coordinate, path) for coordinate, path in jars if coordinate.split(":")[1] not in shipped]


def _ivy_coordinate(jar: Path, ivy_cache: Path) -> str:
    """The coordinate of `<group>_<artifact>-<version>.jar`; Ivy's cache knows where the artifact's name ends."""
    group, rest = jar.stem.split("_", 1)
    known = [path.name for path in (ivy_cache / group).iterdir() if rest.startswith(path.name + "-")]
    artifact = max(known, key=len)
    return f"{group}:{artifact}:{rest[len(artifact) + 1 :]}"


def _jgo_jars(roots: tuple[str, ...], repo_cache: Path) -> list[tuple[str, Path]]:
    """What jgo resolves. Each root alone: the managed versions of one must not reach into the tree of another."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=repo_cache, timeout=60)
    trees = [context.resolver.resolve([context.create_dependency(root)]) for root in roots]
    found = [one for named, _ in trees for one in named] + [one for _, needed in trees for one in needed]
    first = {(one.groupId, one.artifactId): one for one in reversed(found) if one.type == "jar"}
    return [
        (f"{one.groupId}:{one.artifactId}:{one.version}", Path(one.artifact.resolve()))
        for one in reversed(first.values())
    ]


def pyspark_artifacts() -> set[str]:
    """The artifact names of the jars that pyspark ships."""
    import pyspark

    jars = Path(pyspark.__file__).parent / "jars"
    return {re.sub(r"-\d[^-]*(-.*)?$", "", path.stem) for path in jars.glob("*.jar")}


if __name__ == "__main__":
    main()
