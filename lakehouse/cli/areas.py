"""Which modules bring which commands."""

from __future__ import annotations

import importlib

import typer

AREAS = ("platform", "produce", "stream", "jobs", "sql", "demo")


def register(app: typer.Typer) -> None:
    """Let every area add its commands to `app`."""
    for area in AREAS:
        importlib.import_module(f"lakehouse.cli.{area}").register(app)
