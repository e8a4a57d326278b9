"""The release artefact on a new machine: the bootstrap that user-data calls, the distribution's systemd, the units as
they are shipped, and what runs afterwards. Nothing is replaced; only AWS itself is missing, so the parts are local."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.aws import release
from lakehouse.services.ports import is_free
from tests.support import clean_root
from tests.support.clean_root import Machine
from tests.support.shop import eventually

pytestmark = pytest.mark.nightly
API = "http://127.0.0.1:8000"
FACTS = """AWS_REGION=eu-central-1
AWS_DEFAULT_REGION=eu-central-1
SHOPLAKE_NAME=shoplake
SHOPLAKE_DATA_DISK=
SHOPLAKE_SECRET_SETTINGS=
SHOPLAKE_MSK_CLUSTER=
SHOPLAKE_WITH_SUPERSET=false
SHOPLAKE_DATA_DIR=/var/lib/shoplake/lake
SHOPLAKE_SPARK_MEMORY_MB=2048
"""
"""What the template of the instance writes, but for the names that are AWS's."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A new Debian with the facts of an installation, and nothing else."""
    if absent := clean_root.missing():
        pytest.skip(absent)
    assert is_free(8000), "the bootstrap asks port 8000 whether the release is well"
    root = tmp_path_factory.mktemp("machine") / "root"
    clean_root.make(root)
    (root / "etc/shoplake").mkdir()
    (root / "etc/shoplake/shoplake.env").write_text(FACTS)
    with clean_root.booted(root, root.parent / "boot.log") as booted:
        yield booted


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, for releases of our own."""
    folder = tmp_path_factory.mktemp("releases") / "checkout"
    subprocess.run(["git", "clone", "-q", str(release.ROOT), str(folder)], check=True)
    return folder


def shipped(machine: Machine, checkout: Path, spoilt: str = "") -> str:
    """The next release, with a module that does not load where one is to be spoilt; its archive in the machine."""
    if spoilt:
        (checkout / spoilt).write_text("raise RuntimeError('spoilt')\n")
    author = ["-c", "user.name=tests", "-c", "user.email=tests@example.com"]
    subprocess.run(["git", "-C", str(checkout), *author, "commit", "-qam", "next", "--allow-empty"], check=True)
    archive = release.build(checkout.parent / "dist", checkout)
    (machine.root / "root" / archive.name).write_bytes(archive.read_bytes())
    return archive.name


def version_of(archive: str) -> str:
    return archive.removeprefix("shoplake-").removesuffix(".tar.gz")


def install(machine: Machine, archive: str, *setting: str) -> tuple[int, str]:
    """As user-data does it: the archive's own bootstrap."""
    inside = f"shoplake-{version_of(archive)}/deploy/aws/bootstrap.sh"
    machine.run("tar", "-xzf", archive, "-C", "/root", "--strip-components=3", inside)
    done = machine.run("env", *setting, "bash", "/root/bootstrap.sh", "install", f"/root/{archive}")
    return done.returncode, done.stdout


def shown(machine: Machine, name: str) -> str:
    """What systemd says of the unit."""
    return machine.run("systemctl", "show", "--value", "-p", name, "shoplake").stdout.strip()


def eventually_in(machine: Machine, holds: Callable[[], bool], seconds: float, what: str) -> None:
    """`eventually`; what it did not reach in time is told with the unit's last words."""
    try:
        eventually(holds, seconds, what, pause=3)
    except AssertionError as error:
        error.add_note(machine.journal("shoplake"))
        raise


def is_ready() -> bool:
    try:
        return httpx.get(f"{API}/readyz", timeout=10, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def shoplake(machine: Machine, *arguments: str) -> str:
    """The command line as an operator on the machine uses it."""
    done = machine.run("shoplake", *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def shown_state(machine: Machine, part: str) -> str:
    return str(json.loads(shoplake(machine, "status", "--format", "json"))[part]["state"])


def events_in_lake(machine: Machine) -> int:
    said = shoplake(machine, "sql", "--live", "--format", "json", "select count(*) as n from silver.events")
    return int(json.loads(said)[0]["n"])


def ours(machine: Machine) -> list[psutil.Process]:
    """Processes of the user that the unit runs as."""
    (uid,) = [
        line.split(":")[2] for line in (machine.root / "etc/passwd").read_text().splitlines() if "shoplake" in line
    ]
    return [one for one in machine.processes() if one.uids().real == int(uid)]


def test_a_new_machine_becomes_a_healthy_shoplake(machine: Machine, checkout: Path) -> None:
    archive = shipped(machine, checkout)
    began = time.monotonic()
    code, said = install(machine, archive)
    assert code == 0 and f"{version_of(archive)} runs." in said, said + machine.journal("shoplake")
    assert is_ready()
    eventually_in(machine, lambda: shown_state(machine, "stream") == "up", 300, "the stream is up")
    print(f"a new machine reads records {time.monotonic() - began:.0f} s after its installation began")
    assert machine.run("systemctl", "is-active", "shoplake", "shoplake-metrics.timer").stdout.split() == ["active"] * 2
    parts = {word for one in ours(machine) for word in ("java", "python") if word in one.name()}
    assert parts == {"java", "python"}
    as_root = [one for one in machine.processes() if one.uids().real == 0 and "shoplake" in " ".join(one.cmdline())]
    assert as_root == []
    shoplake(machine, "produce", "--count", "500", "--seed", "5")
    eventually_in(machine, lambda: events_in_lake(machine) >= 400, 240, "events reach silver")
    assert "rows_written" in shoplake(machine, "run", "cohort_retention", "--wait")


def test_the_unit_is_hardened(machine: Machine) -> None:
    said = machine.run("systemd-analyze", "security", "--no-pager", "shoplake").stdout
    (exposure,) = re.findall(r"exposure level for shoplake.service: ([\d.]+)", said)
    assert float(exposure) < 2, said


def test_the_supervisor_is_started_again_when_it_is_killed(machine: Machine) -> None:
    machine.run("systemctl", "kill", "-s", "KILL", "--kill-who=main", "shoplake")
    eventually_in(machine, lambda: is_ready() and shown(machine, "NRestarts") == "1", 300, "it is up again")


def test_a_release_that_does_not_come_up_gives_way(machine: Machine, checkout: Path) -> None:
    before = machine.run("readlink", "/opt/shoplake/current").stdout
    archive = shipped(machine, checkout, spoilt="deploy/aws/start.py")
    subprocess.run(["git", "-C", str(checkout), "checkout", "-q", "HEAD~1", "--", "deploy/aws/start.py"], check=True)
    code, said = install(machine, archive, "SHOPLAKE_PATIENCE=120")
    assert code == 1 and "runs again" in said, said
    assert machine.run("readlink", "/opt/shoplake/current").stdout == before and is_ready()


def test_an_upgrade_and_the_way_back_keep_the_data(machine: Machine, checkout: Path) -> None:
    kept = events_in_lake(machine)
    archive = shipped(machine, checkout)
    code, said = install(machine, archive)
    assert code == 0 and f"{version_of(archive)} runs." in said, said
    assert events_in_lake(machine) == kept > 0
    back = machine.run("bash", "/opt/shoplake/current/deploy/aws/bootstrap.sh", "rollback")
    assert back.returncode == 0 and is_ready(), back.stdout
    assert version_of(archive) not in machine.run("readlink", "/opt/shoplake/current").stdout
    assert events_in_lake(machine) == kept


def test_what_is_stopped_leaves_no_process(machine: Machine) -> None:
    assert machine.run("systemctl", "stop", "shoplake").returncode == 0
    assert ours(machine) == [] and is_free(8000)
