"""The release artefact: one archive of what is committed, the same bytes whoever makes it."""

import gzip
import subprocess
import tarfile
import tomllib
from pathlib import Path

from lakehouse.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
NOT_SHIPPED = ("tests", "benchmarks", ".ci", "docs/images")


def version(root: Path = ROOT) -> str:
    """The version of what is committed: the project's number and the commit. Raises UsageError in a changed tree."""
    if _git(root, "status", "--porcelain", "--untracked-files=no"):
        raise UsageError("There are changes that are not committed, and a release is made of commits: commit them.")
    number = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    return f"{number}-{_git(root, 'rev-parse', '--short=12', 'HEAD').decode().strip()}"


def archive_name(release: str) -> str:
    """The file name of a release."""
    return f"shoplake-{release}.tar.gz"


def build(folder: Path, root: Path = ROOT) -> Path:
    """Write the archive of the committed tree into `folder`; its path.

    Times, owners and order come from the commit, so that two builds of a commit are equal.
    """
    release = version(root)
    excluded = [f":(exclude){path}" for path in NOT_SHIPPED]
    tar = _git(root, "archive", "--format=tar", f"--prefix=shoplake-{release}/", "HEAD", ".", *excluded)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / archive_name(release)
    path.write_bytes(gzip.compress(tar, compresslevel=9, mtime=0))
    return path


def templates(archive: Path) -> dict[str, bytes]:
    """The templates of a release by their names: as committed, whatever lies beside them in the working tree."""
    with tarfile.open(archive) as opened:
        found = [one for one in opened.getmembers() if "/deploy/aws/templates/" in one.name and one.isfile()]
        return {Path(one.name).name: file.read() for one in found if (file := opened.extractfile(one))}


def _git(root: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    if done.returncode:
        raise UsageError(f"A release is made in a Git checkout, and git says: {done.stderr.decode().strip()}")
    return done.stdout
