"""The bootstrap under a prefix: install, upgrade, a release that does not come up, roll-back. systemctl is a script
that says of a release with a file `broken` that it is not active; everything else is real."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from deploy.aws import release

BOOTSTRAP = release.ROOT / "deploy/aws/bootstrap.sh"
INSTALL = """
import pathlib, sys
assert sys.argv[1:] == ["venv", "runtime.txt"]
pathlib.Path(".venv/bin").mkdir(parents=True)
path = pathlib.Path(".venv/bin/python")
path.write_text("#!/bin/sh\\nexit 0\\n")
path.chmod(0o755)
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$SHOPLAKE_ROOT/systemctl.log"
[ "$1" != is-active ] || [ ! -e "$SHOPLAKE_ROOT/opt/shoplake/current/broken" ]
"""


class Machine:
    def __init__(self, folder: Path) -> None:
        self.root, self._folder = folder / "root", folder
        (self.root / "run/systemd/system").mkdir(parents=True)
        (self.root / "etc/shoplake").mkdir(parents=True)
        (self.root / "etc/shoplake/shoplake.env").write_text("SHOPLAKE_WITH_SUPERSET=false\n")
        self.tools = tools = folder / "bin"
        tools.mkdir()
        for name, text in {"systemctl": SYSTEMCTL, "curl": "#!/bin/sh\nexit 0\n"}.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "SHOPLAKE_ROOT": str(self.root),
            "SHOPLAKE_PATIENCE": "0",
        }

    def archive(self, version: str, *, install: str = INSTALL, broken: bool = False) -> Path:
        tree = self._folder / f"shoplake-{version}"
        (tree / "requirements").mkdir(parents=True)
        (tree / "requirements/install.py").write_text(install)
        shutil.copytree(release.ROOT / "deploy/aws/units", tree / "deploy/aws/units")
        if broken:
            (tree / "broken").touch()
        path = self._folder / f"shoplake-{version}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tree, tree.name)
        return path

    def run(self, *arguments: object) -> tuple[int, str]:
        command = ["bash", str(BOOTSTRAP), *map(str, arguments)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    @property
    def current(self) -> str:
        return (self.root / "opt/shoplake/current").readlink().name


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_release_is_installed_and_again_changes_nothing(machine):
    archive = machine.archive("1")
    code, said = machine.run("install", archive)
    assert code == 0 and "1 runs." in said, said
    assert machine.current == "1"
    installed = sorted(path.name for path in (machine.root / "etc/systemd/system").iterdir())
    assert installed == sorted(path.name for path in (release.ROOT / "deploy/aws/units").iterdir())
    code, said = machine.run("install", archive)
    assert code == 0 and "installed already" in said
    assert "restart shoplake.service" in (machine.root / "systemctl.log").read_text()


def test_an_executor_is_well_when_it_runs(machine):
    """It has no API, and joins the instance once that has told its address."""
    (machine.root / "etc/shoplake/shoplake.env").write_text("SHOPLAKE_ROLE=executor\n")
    (machine.tools / "curl").write_text("#!/bin/sh\nexit 7\n")
    code, said = machine.run("install", machine.archive("1"))
    assert code == 0 and "1 runs." in said, said
    asked = (machine.root / "systemctl.log").read_text()
    assert "restart shoplake.service" in asked and "metrics" not in asked


def test_an_upgrade_and_the_way_back_leave_the_data(machine):
    machine.run("install", machine.archive("1"))
    (machine.root / "var/lib/shoplake/checkpoint").write_text("kept")
    assert machine.run("install", machine.archive("2"))[0] == 0 and machine.current == "2"
    code, said = machine.run("rollback")
    assert code == 0 and machine.current == "1", said
    assert machine.run("rollback", "2")[0] == 0 and machine.current == "2"
    assert "* 2" in machine.run("releases")[1] and "  1" in machine.run("releases")[1]
    assert (machine.root / "var/lib/shoplake/checkpoint").read_text() == "kept"


def test_a_release_that_does_not_come_up_gives_way_to_the_one_before(machine):
    machine.run("install", machine.archive("1"))
    code, said = machine.run("install", machine.archive("2", broken=True))
    assert code == 1 and said.splitlines()[-1] == "bootstrap: 2 did not come up, 1 runs again."
    assert machine.current == "1"


def test_a_release_that_cannot_be_installed_touches_nothing(machine):
    machine.run("install", machine.archive("1"))
    code, said = machine.run("install", machine.archive("2", install="raise SystemExit(3)"))
    assert code == 1 and "2 cannot be installed; what runs goes on." in said
    assert machine.current == "1" and not (machine.root / "opt/shoplake/releases/2/.complete").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("install", "/nowhere.tar.gz"), "there is no file"),
        (("rollback",), "no release before"),
        (("x",), "bootstrap.sh install"),
    ],
)
def test_wrong_use_is_told(machine, arguments, sentence):
    code, said = machine.run(*arguments)
    assert code in (1, 2) and sentence in said


def test_the_oldest_releases_go_and_the_current_stays(machine):
    for version in ("1", "2", "3", "4", "5"):
        machine.run("install", machine.archive(version))
    left = {path.name for path in (machine.root / "opt/shoplake/releases").iterdir()}
    assert {"4", "5"} <= left and "1" not in left


def test_systemd_accepts_the_units(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    text = "".join(path.read_text() for path in sorted((release.ROOT / "deploy/aws/units").glob("*.service")))
    assert "NoNewPrivileges=yes" in text and "ProtectSystem=strict" in text
    for path in (release.ROOT / "deploy/aws/units").iterdir():
        unit = path.read_text().replace("/opt/shoplake/current/.venv/bin/python", "/bin/true")
        (tmp_path / path.name).write_text(unit)
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "shoplake" in line and "Failed to" not in line]
    assert complaints == [], done.stderr


@pytest.mark.nightly
def test_the_real_release_is_installed_and_answers(tmp_path):
    """Minutes: every locked package and JVM part of the release, under a prefix."""
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", str(release.ROOT), str(checkout)], check=True)
    archive = release.build(tmp_path / "dist", checkout)
    environment = {**os.environ, "SHOPLAKE_ROOT": str(tmp_path / "root")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        ["bash", str(BOOTSTRAP), "install", str(archive)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    current = tmp_path / "root/opt/shoplake/current"
    asked = subprocess.run(
        [str(current / ".venv/bin/shoplake"), "--help"], cwd=current, capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0 and "doctor" in asked.stdout
