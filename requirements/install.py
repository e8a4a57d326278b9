"""Makes `.venv` with everything in `dev.txt`, or says in one sentence why it cannot. Called by the Makefile.

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

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
LOCK = os.path.join(ROOT, "requirements", "dev.txt")
STAMP = os.path.join(VENV, ".installed")
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
    """`java` checks Java, `venv` makes the environment."""
    if sys.argv[1:] == ["java"]:
        check_java()
    else:
        make_venv(find_python())


def give_up(sentence):
    """Say it and end with the exit code for "cannot start"."""
    sys.stderr.write(sentence + "\n")
    sys.exit(2)


def check_java():
    """Java 17 or 21, before anything long begins."""
    home = os.environ.get("JAVA_HOME")
    java = (home and shutil.which(os.path.join(home, "bin", "java"))) or shutil.which("java")
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
    if subprocess.run([python, "-m", "venv", "--clear", VENV], check=False).returncode:
        give_up("Python's venv module does not work: install it (on Debian and Ubuntu: python3-venv).")
    in_venv = os.path.join(VENV, "bin", "python")
    if not install_with_uv(in_venv):
        print("Installing with pip instead of uv, which takes longer ...", flush=True)
        pip = [in_venv, "-m", "pip", "install", "--disable-pip-version-check", "-q"]
        run([*pip, "--progress-bar=on", "--require-hashes", "-r", LOCK])
        run([*pip, "--no-deps", "--no-build-isolation", "-e", ROOT])
    with open(STAMP, "w", encoding="utf-8"):
        pass


def run(command):
    """Run a step that must work."""
    if subprocess.run(command, check=False).returncode:
        give_up("The packages cannot be installed; the lines above say why.")


def install_with_uv(python):
    """Whether uv did it all."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as only_uv:
        only_uv.write(locked_uv())
        only_uv.flush()
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "-q", "--no-deps", "--require-hashes"]
        if subprocess.run([*pip, "-r", only_uv.name], check=False).returncode:
            return False
    uv = [os.path.join(VENV, "bin", "uv"), "pip", "install", "--python", python, "--no-config"]
    env = {**os.environ, **uv_environment(python), "VIRTUAL_ENV": VENV}
    steps = (["--require-hashes", "-r", LOCK], ["--no-deps", "--no-build-isolation", "-q", "-e", ROOT])
    return all(filtered(uv + step, env) == 0 for step in steps)


def filtered(command, env):
    """Run uv; without a terminal leave out its long list of packages."""
    if sys.stderr.isatty():
        return subprocess.run(command, env=env, check=False).returncode
    done = subprocess.run(command, env=env, check=False, stderr=subprocess.PIPE)
    lines = done.stderr.decode(errors="replace").splitlines()
    sys.stderr.write("".join(line + "\n" for line in lines if not re.match(r" [+~-] |Using Python", line)))
    return done.returncode


def locked_uv():
    """uv's own lines of the lock file."""
    with open(LOCK, encoding="utf-8") as file:
        text = file.read()
    return re.search(r"^uv==.*?(?=^\S)", text, re.MULTILINE | re.DOTALL).group(0)


def uv_environment(python):
    """What pip is configured with, in uv's words. Variables that are set for uv itself win."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, check=False).stdout.decode()
    found = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        option = name.rsplit(".", 1)[-1]
        if option in PIP_TO_UV and (name.startswith(("global.", "install.", ":env:"))):
            found[PIP_TO_UV[option]] = " ".join(ast.literal_eval(value).split())
    if "UV_FIND_LINKS" in found:
        known = [one for one in found["UV_FIND_LINKS"].split() if "://" in one or os.path.isdir(one)]
        found["UV_FIND_LINKS"] = ",".join(known)
    return {name: value for name, value in found.items() if value and name not in os.environ}


if __name__ == "__main__":
    main()
