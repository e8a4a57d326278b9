"""`make audit`: secrets in files, licences, a bill of materials (SBOM), and known vulnerabilities of what is locked.
`make lint` looks for unsafe code.

Writes into artifacts/. Exit code 1 when something is found, 0 when nothing is. A vulnerability service that cannot be
reached is said in one sentence: then that question is open, and not answered by "nothing found"; with STRICT=yes it is
a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lakehouse.services.jars import Jar, locked_jars

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-audit"
TOOLS = VENV / "bin"
OUTPUT = ROOT / "artifacts"
GUESSES = ("HexHighEntropyString", "Base64HighEntropyString", "KeywordDetector")
ENVIRONMENTS = {"shoplake": sys.executable, "superset": str(ROOT / ".venv-superset" / "bin" / "python")}
"""What runs, by name; the environments of the documents and of this audit stay on the developer's machine."""
LOCKS = (
    "requirements/dev.txt", "superset/requirements.txt", "docs/site/requirements.txt", "requirements/audit.txt",
    "benchmarks/peers/requirements.txt",
)  # fmt: skip
IS_STRICT = os.environ.get("STRICT") == "yes"
"""Whether a question that stays open is a failure: `make audit STRICT=yes`, where the service can be reached."""
NOT_ACCEPTED = ("AGPL", "Affero", "GPLv3", "SSPL", "Commons Clause")
"""Words of licences that would bind a shop that runs this; a dual licence with a free choice is accepted."""
LIBRARY = "Lesser"
"""The word of those that bind who changes the library, not who uses it."""


def main() -> int:
    """Look at everything; 1 when something is found."""
    OUTPUT.mkdir(exist_ok=True)
    found = [secrets()]
    for name, python in ENVIRONMENTS.items():
        found.append(licences(name, python))
        write_bill_of_materials(name, python)
    found += [vulnerabilities(lock) for lock in LOCKS]
    return int(any(found))


def secrets() -> bool:
    """Whether a tracked file holds a key, a token or a password in an address; a comment accepts a line that has none
    (`pragma: allowlist secret`). Guesses by randomness are off: sums of packages look like keys."""
    off = [part for name in GUESSES for part in ("--disable-plugin", name)]
    results = json.loads(run("detect-secrets", "scan", *off, check=True).stdout)["results"]
    places = [(file, one) for file, each in results.items() for one in each]
    for file, one in places:
        say(f"{file}:{one['line_number']}: {one['type']}")
    say(f"Secrets: {len(places)} found.")
    return bool(places)


def licences(name: str, python: str) -> bool:
    """Whether a package of an environment has a licence that is not accepted; all of them are listed in artifacts/."""
    done = run("pip-licenses", "--python", python, "--format", "json", "--with-urls", check=True)
    packages = json.loads(done.stdout)
    file = OUTPUT / f"licences-{name}.json"
    file.write_text(done.stdout)
    bad = [
        one
        for one in packages
        if LIBRARY not in one["License"] and any(word in one["License"] for word in NOT_ACCEPTED)
    ]
    for one in bad:
        say(f"{one['Name']} {one['Version']}: {one['License']}")
    say(f"Licences of {name}: {len(packages)} packages, {len(bad)} not accepted; artifacts/{file.name}.")
    return bool(bad)


def write_bill_of_materials(name: str, python: str) -> None:
    """Write an environment's bill (CycloneDX) into artifacts/: its Python packages as installed, and with Shoplake's
    own the JVM parts as locked."""
    file = OUTPUT / f"sbom-{name}.json"
    run("cyclonedx-py", "environment", python, "--output-reproducible", "-o", str(file), check=True)
    bill: dict[str, Any] = json.loads(file.read_text())
    jars = [part_of(jar) for jar in {jar.coordinate: jar for jar in locked_jars()}.values() if name == "shoplake"]
    bill["components"] = [*bill.get("components", []), *jars]
    file.write_text(json.dumps(bill, indent=1) + "\n")
    for_java = f", {len(jars)} of them for the JVM" if jars else ""
    say(f"Bill of materials of {name}: {len(bill['components'])} parts{for_java}; artifacts/{file.name}.")


def part_of(jar: Jar) -> dict[str, Any]:
    """A jar as a bill of materials has it."""
    address = f"pkg:maven/{jar.group}/{jar.artifact}@{jar.version}"
    named = {"group": jar.group, "name": jar.artifact, "version": jar.version, "purl": address}
    return {"type": "library", "bom-ref": address, **named, "hashes": [{"alg": "SHA-256", "content": jar.sha256}]}


def vulnerabilities(lock: str) -> bool:
    """Whether a package that this file locks has a known vulnerability."""
    done = run("pip-audit", "--disable-pip", "-r", lock, "-f", "json", "--progress-spinner", "off")
    try:
        looked_at = json.loads(done.stdout)["dependencies"]
    except ValueError:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        say(f"Known vulnerabilities of {lock}: NOT checked, pip-audit failed: {said}")
        return IS_STRICT
    skipped = [one for one in looked_at if "skip_reason" in one]
    found = [one for one in looked_at if one.get("vulns")]
    for one in found:
        say(f"{one['name']} {one['version']}: {', '.join(each['id'] for each in one['vulns'])}")
    asked = len(looked_at) - len(skipped)
    say(f"Known vulnerabilities of {lock}: {len(found)} packages of {asked} that could be asked about.")
    if skipped:
        say(f"NOT checked: {len(skipped)} packages. {skipped[0]['skip_reason']}")
    return bool(found)


def run(tool: str, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """A tool of the audit's own environment, at the top of the checkout."""
    return subprocess.run([str(TOOLS / tool), *arguments], cwd=ROOT, capture_output=True, text=True, check=check)


def say(sentence: str) -> None:
    """One line for a person."""
    print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())
