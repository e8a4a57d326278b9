"""Which modules bring which commands."""

from __future__ import annotations

import importlib
import importlib.util

import typer

AREAS = (
    "platform",
    "produce",
    "stream",
    "jobs",
    "runs",
    "api",
    "sql",
    "superset",
    "quarantine",
    "quality",
    "trace",
    "reconcile",
    "alerts",
    "backup",
    "demo",
)


def register(app: typer.Typer) -> None:
    """Let every area add its commands to `app`."""
    for area in AREAS:
        if importlib.util.find_spec(f"lakehouse.cli.{area}") is None:
            continue
        importlib.import_module(f"lakehouse.cli.{area}").register(app)
