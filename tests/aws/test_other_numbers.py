"""The machine is replaced, the data disk stays: its files are the platform's on a machine with other numbers, too.
The new machine is this one's root under a layer of its own, so that the bootstrap works on the real paths."""

import os
import shutil
import subprocess

import pytest

from tests.aws.test_bootstrap import BOOTSTRAP, Machine

LAYER = """
mount -t tmpfs layer {folder}
mkdir {folder}/upper {folder}/work {folder}/root
mount -t overlay layer -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
"""
pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not all(shutil.which(name) for name in ("unshare", "useradd", "java")),
    reason="needs root, unshare, useradd and Java",
)


def booted(tmp_path, commands: str) -> subprocess.CompletedProcess[str]:
    """Bash in a new machine whose /var/lib/shoplake is the kept disk; what it changes elsewhere is gone afterwards."""
    disk, layer = tmp_path / "disk", tmp_path / "layer"
    disk.mkdir(exist_ok=True)
    layer.mkdir(exist_ok=True)
    (tmp_path / "inside.sh").write_text(f"set -euo pipefail\n{commands}")
    shutil.copy(BOOTSTRAP, tmp_path)
    inside = f"""set -euo pipefail
{LAYER.format(folder=layer)}
cd {layer}/root
mkdir -p var/lib/shoplake mnt
mount --bind {disk} var/lib/shoplake
mount --bind {tmp_path} mnt
mount --bind /dev dev
chroot . bash /mnt/inside.sh
"""
    return subprocess.run(["unshare", "--mount", "bash", "-c", inside], capture_output=True, text=True, check=False)


@pytest.fixture
def archive(tmp_path):
    if subprocess.run(["unshare", "--mount", "bash", "-c", "true"], check=False).returncode:
        pytest.skip("no mounts of its own may be made here")
    (tmp_path / "release").mkdir()
    path = Machine(tmp_path / "release").archive("1")
    return shutil.copy(path, tmp_path / path.name)


INSTALL = "bash /mnt/bootstrap.sh install /mnt/shoplake-1.tar.gz\n"
AS_PLATFORM = "setpriv --reuid=shoplake --regid=shoplake --clear-groups bash -c"


@pytest.mark.parametrize("taken", ["passwd", "group", "before"])
def test_a_new_machine_may_write_what_the_one_before_wrote(tmp_path, archive, taken):
    somebody = {"passwd": "useradd --uid 8420 somebody\n", "group": "groupadd --gid 8420 others\n", "before": ""}[taken]
    first = "useradd --system --uid 777 shoplake\n" if taken == "before" else ""
    wrote = f"{AS_PLATFORM} 'mkdir -p /var/lib/shoplake/lake/runs && echo 1 >/var/lib/shoplake/lake/runs/book'\n"
    done = booted(tmp_path, f"{first}{INSTALL}id -u shoplake\n{wrote}")
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = [done.stdout.splitlines()[-1]]
    added = f"{AS_PLATFORM} 'echo 2 >>/var/lib/shoplake/lake/runs/book && cat /var/lib/shoplake/lake/runs/book'\n"
    done = booted(tmp_path, f"{somebody}{INSTALL}id -u shoplake\n{added}find /var/lib/shoplake ! -user shoplake\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == ["1", "2"], "nothing is somebody else's"
    numbers.append(done.stdout.splitlines()[-3])
    assert numbers[0] != numbers[1] and "8420" in numbers
