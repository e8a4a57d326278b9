"""Writes `.env.example` from the settings' own descriptions: `python -m lakehouse.env_example`."""

from __future__ import annotations

from pathlib import Path

from lakehouse.settings import Settings

PATH = Path(__file__).resolve().parents[1] / ".env.example"
HEADER = """\
# Every setting with its default. Copy to .env and uncomment what you change; environment variables win over it.
# Made by `python -m lakehouse.env_example` from lakehouse/settings.py.
"""


def env_example() -> str:
    """The text of `.env.example`."""
    lines = [HEADER]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else field.default
        lines.append(f"\n# {field.description}\n#SHOPLAKE_{name.upper()}={default}\n")
    return "".join(lines)


if __name__ == "__main__":
    PATH.write_text(env_example())
