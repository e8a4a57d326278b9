"""Makes `.venv-docs` with everything in `requirements.txt`, and Mermaid beside it; called by `make docs`.

Mermaid is fetched once from npm and checked, so that diagrams need no other server when the pages are read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-docs"
LOCK = Path(__file__).with_name("requirements.txt")
MERMAID = "mermaid@11.12.1"
MERMAID_SHA256 = "198b19442f86f0b46a17e56d3abf744c3a28a3427e66fa8dada3b589a77babcc"


def main() -> int:
    """The exit code of the first step that fails, else 0."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    if spec is None or spec.loader is None:
        return 1
    platform = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(platform)
    env = {**os.environ, **platform.uv_environment(sys.executable)}
    print("Setting up .venv-docs ...", flush=True)
    uv = [str(Path(sys.executable).parent / "uv"), "--no-config"]
    install = ["pip", "install", "--python", str(VENV / "bin" / "python"), "--no-deps", "--require-hashes", "-q"]
    for step in (["venv", "--clear", "--python", sys.executable, "-q", str(VENV)], [*install, "-r", str(LOCK)]):
        if code := subprocess.run([*uv, *step], env=env, check=False).returncode:
            print("The packages of the docs cannot be installed; the lines above say why.", file=sys.stderr)
            return code
    if problem := _fetch_mermaid(VENV / "mermaid.min.js"):
        print(problem, file=sys.stderr)
        return 2
    (VENV / ".installed").touch()
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
