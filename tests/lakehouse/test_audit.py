"""`make audit` judges what its tools say; here they say what they would say on a bad day."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "requirements" / "audit.sh"
UNREACHABLE = "Traceback (most recent call last):\n  File requests/adapters.py\nProxyError: Unable to connect"
VULNERABLE = "Found 1 known vulnerability in 1 package\nName Version ID\nflask 0.5 PYSEC-2019-179"


def audit(
    folder: Path, *, licence: str = "MIT", pip_audit: tuple[str, int] = ("", 0), strict: str = ""
) -> tuple[str, int]:
    """What an audit says and its exit code, with tools that answer so."""
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / "requirements")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    package = [{"License": licence, "Name": "somebody", "URL": "https://example.com", "Version": "1.0"}]
    said, code = pip_audit
    answers = {
        ".venv-audit/bin/pip-licenses": (json.dumps(package, indent=2), 0),
        ".venv-audit/bin/pip-audit": (said, code),
        ".venv-audit/bin/detect-secrets-hook": ("", 0),
        ".venv-audit/bin/cyclonedx-py": ("", 0),
        ".venv/bin/python": ("{}", 0),
    }
    for name, (text, ends_with) in answers.items():
        tool = folder / name
        tool.parent.mkdir(parents=True, exist_ok=True)
        tool.write_text(f"#!/bin/sh\ncat <<'EOT'\n{text}\nEOT\nexit {ends_with}\n")
        tool.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "STRICT": strict}
    done = subprocess.run(
        [str(folder / "requirements" / "audit.sh")], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr, done.returncode


@pytest.mark.parametrize(("strict", "code"), [("", 0), ("no", 0), ("yes", 1)])
def test_a_service_that_cannot_be_reached_is_one_sentence_and_with_strict_a_failure(tmp_path, strict, code):
    said, ended = audit(tmp_path, pip_audit=(UNREACHABLE, 1), strict=strict)

    assert ended == code
    assert "NOT checked, pip-audit failed: ProxyError: Unable to connect" in said
    assert "Traceback" not in said


def test_a_known_vulnerability_is_shown_and_a_failure(tmp_path):
    said, ended = audit(tmp_path, pip_audit=(VULNERABLE, 1))

    assert (ended, "PYSEC-2019-179" in said) == (1, True)


@pytest.mark.parametrize(
    ("licence", "code"),
    [
        ("GPLv3", 1),
        ("GPL-3.0-or-later", 1),
        ("GNU General Public License v3 (GPLv3)", 1),
        ("GNU Affero General Public License v3", 1),
        ("AGPL-3.0-only", 1),
        ("LGPL-3.0-only", 0),
        ("GNU Lesser General Public License v3 or later (LGPLv3+)", 0),
        ("MIT License", 0),
    ],
)
def test_a_licence_that_binds_a_shop_is_a_failure_that_names_the_package(tmp_path, licence, code):
    said, ended = audit(tmp_path, licence=licence)

    assert (ended, "somebody" in said) == (code, bool(code))
