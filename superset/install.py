"""Makes `.venv-superset` with everything in `requirements.txt`; called by `make superset`.

uv of the platform's environment does the work, since it shares one unpacked copy of each package between all
checkouts of a user; it is told what pip's configuration says about mirrors.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-superset"
LOCK = ROOT / "superset" / "requirements.txt"


def main() -> int:
    """The exit code of the first step that fails, else 0."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    if spec is None or spec.loader is None:
        return 1
    platform = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(platform)
    env = {**os.environ, **platform.uv_environment(sys.executable)}
    print("Setting up .venv-superset (the first time takes a minute or two) ...", flush=True)
    uv = [str(Path(sys.executable).parent / "uv"), "--no-config"]
    install = ["pip", "install", "--python", str(VENV / "bin" / "python"), "--no-deps", "--require-hashes", "-q"]
    for step in (["venv", "--clear", "--python", sys.executable, "-q", str(VENV)], [*install, "-r", str(LOCK)]):
        if code := subprocess.run([*uv, *step], env=env, check=False).returncode:
            print("Superset's packages cannot be installed; the lines above say why.", file=sys.stderr)
            return code
    (VENV / ".installed").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
