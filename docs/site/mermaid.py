"""Fetches Mermaid once from npm, checked, so that diagrams need no other server; called by `make docs`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / ".venv-docs" / "mermaid.min.js"
MERMAID = "mermaid@11.12.1"
MERMAID_SHA256 = "198b19442f86f0b46a17e56d3abf744c3a28a3427e66fa8dada3b589a77babcc"


def main() -> int:
    """0, or 2 when the library is not there afterwards."""
    if problem := _fetch_mermaid(FILE):
        print(problem, file=sys.stderr)
        return 2
    return 0


def _fetch_mermaid(file: Path) -> str:
    """What went wrong; empty when the checked file is there."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm was not found: install Node.js with npm; the library that draws the diagrams comes from there."
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", MERMAID, "--silent"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return f"{MERMAID} cannot be fetched from npm: {done.stderr.strip()}"
        with tarfile.open(Path(folder) / done.stdout.split()[-1]) as package:
            member = package.extractfile("package/dist/mermaid.min.js")
            content = member.read() if member else b""
    if hashlib.sha256(content).hexdigest() != MERMAID_SHA256:
        return f"{MERMAID} is not the file that was locked: not used."
    file.write_bytes(content)
    return ""


if __name__ == "__main__":
    sys.exit(main())
