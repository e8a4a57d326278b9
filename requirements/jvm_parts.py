"""Prints the bill of materials (CycloneDX) of the JVM parts as they are locked; `make audit` keeps it."""

import json
from typing import Any

from lakehouse.services.jars import Jar, locked_jars


def part_of(jar: Jar) -> dict[str, Any]:
    """A jar as a bill of materials has it."""
    address = f"pkg:maven/{jar.group}/{jar.artifact}@{jar.version}"
    named = {"group": jar.group, "name": jar.artifact, "version": jar.version, "purl": address}
    return {"type": "library", "bom-ref": address, **named, "hashes": [{"alg": "SHA-256", "content": jar.sha256}]}


if __name__ == "__main__":
    once = {jar.coordinate: part_of(jar) for jar in locked_jars()}
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": list(once.values())}
    print(json.dumps(bill, indent=1))
