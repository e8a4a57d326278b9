"""Makes `.venv` with everything in `dev.txt`, or says in one sentence why it cannot. Called by the Makefile, which has
the environments of other tools (Superset, the docs, the audit) made here too.

Needs nothing but a Python, however old, so that it can say that it is too old. uv does the work, since it shares
one unpacked copy of each package between all checkouts of a user; it is told what pip's configuration says about
mirrors and certificates. Where uv cannot do it, pip does.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
PYTHONS = ("python3.13", "python3.12", "python3.11", "python3")
IS_SUPPORTED = "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
# pip's option -> uv's environment variable
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


def main():
    """`venv LOCK` makes the environment, `tool FOLDER LOCK` makes one of another tool beside it."""
    if sys.argv[1] == "tool":
        make_tool_venv(ROOT / sys.argv[2], ROOT / sys.argv[3])
    else:
        make_venv(find_python(), ROOT / "requirements" / sys.argv[2])


def give_up(sentence):
    """Say it and end with the exit code for "cannot start"."""
    sys.stderr.write(sentence + "\n")
    sys.exit(2)


def find_python():
    """A Python that is new enough: the one named by PYTHON, this one, or another on the PATH."""
    named = os.environ.get("PYTHON")
    for candidate in (named,) if named else (sys.executable, *PYTHONS):
        path = shutil.which(candidate)
        if path and subprocess.run([path, "-c", IS_SUPPORTED], check=False).returncode == 0:
            return path
    return give_up("No Python 3.11, 3.12 or 3.13 was found: install one, or set PYTHON to its path.")


def make_venv(python, lock):
    """Create the environment, install the locked packages, then this project."""
    print("Setting up .venv (the first time takes a minute or two) ...", flush=True)
    if subprocess.run([python, "-m", "venv", "--clear", str(VENV)], check=False).returncode:
        give_up("Python's venv module does not work: install it (on Debian and Ubuntu: python3-venv).")
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "-q", "--no-deps"]
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "uv.txt"
        lines.write_text(re.search(r"^uv==.*?(?=^\S|\Z)", lock.read_text(), re.MULTILINE | re.DOTALL).group(0))
        run([*pip, "--require-hashes", "-r", str(lines)])
    if not install_with_uv(PYTHON, lock):
        print("Installing with pip instead of uv, which takes longer ...", flush=True)
        run([*pip, "--progress-bar=on", "--require-hashes", "-r", str(lock)])
    uv = [PYTHON, "-m", "uv", "pip", "install", "--no-config", "-q", "--python", PYTHON, "--no-deps"]
    run([*uv, "--no-build-isolation", "-e", str(ROOT)])
    (VENV / ".installed").touch()


def make_tool_venv(venv, lock):
    """An environment with everything in `lock`. Run by the Python of `.venv`, whose uv does the work."""
    print("Setting up %s (the first time takes a minute or two) ..." % venv.name, flush=True)  # noqa: UP031
    run([PYTHON, "-m", "uv", "venv", "--no-config", "--clear", "--python", sys.executable, "-q", str(venv)])
    if not install_with_uv(str(venv / "bin" / "python"), lock):
        give_up("The packages cannot be installed; the lines above say why.")
    (venv / ".installed").touch()


def install_with_uv(python, lock):
    """Whether uv installed everything in `lock`. First from what it keeps of earlier checkouts alone: pyspark comes as
    source only, and uv would fetch and build its 430 MB again wherever a mirror sends no caching headers."""
    env = {**os.environ, **uv_environment()}
    install = [PYTHON, "-m", "uv", "pip", "install", "--no-config", "--python", python, "--no-deps", "--require-hashes"]
    install += ["-r", str(lock), *([] if sys.stderr.isatty() else ["-q"])]
    offline = subprocess.run([*install, "--offline"], env=env, stderr=subprocess.DEVNULL, check=False)
    return offline.returncode == 0 or subprocess.run(install, env=env, check=False).returncode == 0


def run(command):
    """Run a step that must work."""
    if subprocess.run(command, check=False).returncode:
        give_up("The packages cannot be installed; the lines above say why.")


def uv_environment():
    """What pip is configured with, in uv's words. Variables that are set for uv itself win."""
    listed = subprocess.run(
        [PYTHON, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, check=False
    ).stdout.decode()
    found = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        option = name.rsplit(".", 1)[-1]
        if option in PIP_TO_UV and (name.startswith(("global.", "install.", ":env:"))):
            found[PIP_TO_UV[option]] = " ".join(ast.literal_eval(value).split())
    if "UV_FIND_LINKS" in found:
        known = [one for one in found["UV_FIND_LINKS"].split() if "://" in one or Path(one).is_dir()]
        found["UV_FIND_LINKS"] = ",".join(known)
    return {name: value for name, value in found.items() if value and name not in os.environ}


if __name__ == "__main__":
    main()
