"""Makes `.venv` with everything in `dev.txt`, or says in one sentence why it cannot. Called by the Makefile, which has
the environments of other tools (Superset, the docs, the audit) made here too.

Needs nothing but a Python, however old, so that it can say that it is too old. uv does the work, since it shares
one unpacked copy of each package between all checkouts of a user; it is told what pip's configuration says about
mirrors and certificates. pyspark comes as source only: its wheel is built once and kept in the user's cache, since
uv builds it again whenever a mirror sends no caching headers. Where uv cannot do it, pip does.
"""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
# `venv runtime.txt` installs what a release needs, without what only a checkout does.
LOCK = ROOT / "requirements" / (sys.argv[2] if sys.argv[1:2] == ["venv"] and len(sys.argv) > 2 else "dev.txt")
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
    """`java` checks Java, `venv` makes the environment, `tool FOLDER LOCK` makes one of another tool beside it."""
    if sys.argv[1:] == ["java"]:
        check_java()
    elif sys.argv[1:2] == ["tool"]:
        make_tool_venv(ROOT / sys.argv[2], ROOT / sys.argv[3])
    else:
        make_venv(find_python())


def give_up(sentence):
    """Say it and end with the exit code for "cannot start"."""
    sys.stderr.write(sentence + "\n")
    sys.exit(2)


def check_java():
    """Java 17 or 21, before anything long begins."""
    home = os.environ.get("JAVA_HOME")
    java = (home and shutil.which(str(Path(home) / "bin" / "java"))) or shutil.which("java")
    if not java:
        give_up("Java was not found: install Java 17 or 21 (or set JAVA_HOME to it).")
    said = subprocess.run([java, "-version"], stderr=subprocess.PIPE, check=False).stderr.decode(errors="replace")
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if not version or version.group(1) not in ("17", "21"):
        found = version.group(1) if version else "of an unknown version"
        give_up("%s is Java %s: install Java 17 or 21, or set JAVA_HOME to it." % (java, found))  # noqa: UP031


def find_python():
    """A Python that is new enough: the one named by PYTHON, this one, or another on the PATH."""
    named = os.environ.get("PYTHON")
    for candidate in (named,) if named else (sys.executable, *PYTHONS):
        path = shutil.which(candidate)
        if path and subprocess.run([path, "-c", IS_SUPPORTED], check=False).returncode == 0:
            return path
    return give_up("No Python 3.11, 3.12 or 3.13 was found: install one, or set PYTHON to its path.")


def make_venv(python):
    """Create the environment, install the locked packages, then this project."""
    print("Setting up .venv (the first time takes a minute or two) ...", flush=True)
    if subprocess.run([python, "-m", "venv", "--clear", str(VENV)], check=False).returncode:
        give_up("Python's venv module does not work: install it (on Debian and Ubuntu: python3-venv).")
    in_venv = str(VENV / "bin" / "python")
    if not install_with_uv(in_venv):
        print("Installing with pip instead of uv, which takes longer ...", flush=True)
        pip = [in_venv, "-m", "pip", "install", "--disable-pip-version-check", "-q"]
        run([*pip, "--progress-bar=on", "--require-hashes", "-r", str(LOCK)])
        run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    (VENV / ".installed").touch()


def make_tool_venv(venv, lock):
    """An environment with everything in `lock`. Run by the Python of `.venv`, whose uv does the work."""
    print("Setting up %s (the first time takes a minute or two) ..." % venv.name, flush=True)  # noqa: UP031
    env = {**os.environ, **uv_environment(sys.executable)}
    uv = [str(Path(sys.executable).parent / "uv"), "--no-config"]
    install = ["pip", "install", "--python", str(venv / "bin" / "python"), "--no-deps", "--require-hashes", "-q"]
    for step in (["venv", "--clear", "--python", sys.executable, "-q", str(venv)], [*install, "-r", str(lock)]):
        run([*uv, *step], env)
    (venv / ".installed").touch()


def works(command, env=None):
    """Whether a step does."""
    return subprocess.run(command, env=env, check=False).returncode == 0


def run(command, env=None):
    """Run a step that must work."""
    if not works(command, env):
        give_up("The packages cannot be installed; the lines above say why.")


def install_with_uv(python):
    """Whether uv did it all."""
    with tempfile.TemporaryDirectory() as folder:
        if pip_locked(python, "install", "uv", folder, ["-q"]):
            return False
        env = {**os.environ, **uv_environment(python), "VIRTUAL_ENV": str(VENV)}
        uv = [str(VENV / "bin" / "uv"), "pip", "install", "--python", python, "--no-config", "--no-deps"]
        rest, quiet = write(folder, "rest.txt", locked("pyspark")[1]), [] if sys.stderr.isatty() else ["-q"]
        if not works([*uv, *quiet, "--require-hashes", "-r", rest], env):
            return False
        wheel = pyspark_wheel(python, folder)
    steps = ([wheel], ["--no-build-isolation", "-e", str(ROOT)]) if wheel else ([],)
    return bool(wheel) and all(works([*uv, "-q", *step], env) for step in steps)


def pyspark_wheel(python, folder):
    """The path of pyspark's wheel in the user's cache, built there from the locked source when it is not there."""
    lines = locked("pyspark")[0]
    key = hashlib.sha256(lines.encode()).hexdigest()[:16]
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(user_cache) / "shoplake" / "wheels" / key
    if not cache.is_dir():
        print("Fetching and building pyspark (430 MB, once per user) ...", flush=True)
        cache.parent.mkdir(parents=True, exist_ok=True)
        built = tempfile.mkdtemp(dir=str(cache.parent))
        quiet = ["-q", "--progress-bar", "on" if sys.stderr.isatty() else "off", "--no-cache-dir", "-w", built]
        if pip_locked(python, "wheel", "pyspark", folder, quiet):
            shutil.rmtree(built)
            return None
        try:
            Path(built).rename(cache)
        except OSError:  # another checkout was faster
            shutil.rmtree(built)
    return str(next(cache.iterdir()))


def pip_locked(python, command, package, folder, options):
    """Let pip install or build one package of the lock; its exit code."""
    lines = write(folder, package + ".txt", locked(package)[0])
    pip = [python, "-m", "pip", "--disable-pip-version-check", command, "--no-deps", "--require-hashes", "-r", lines]
    return subprocess.run([*pip, *options], check=False).returncode


def write(folder, name, text):
    """Write a small file; its path."""
    path = Path(folder) / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def locked(package):
    """The lines of one package of the lock, and all others."""
    text = LOCK.read_text(encoding="utf-8")
    lines = re.search(r"^%s==.*?(?=^\S|\Z)" % re.escape(package), text, re.MULTILINE | re.DOTALL).group(0)  # noqa: UP031
    return lines, text.replace(lines, "")


def uv_environment(python):
    """What pip is configured with, in uv's words. Variables that are set for uv itself win."""
    listed = subprocess.run(
        [python, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, check=False
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
