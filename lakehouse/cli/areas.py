"""Which modules bring which commands."""

from __future__ import annotations

import typer

from lakehouse.cli import (
    alerts,
    api,
    backup,
    demo,
    forget,
    jobs,
    platform,
    produce,
    quality,
    quarantine,
    reconcile,
    runs,
    sql,
    stream,
    superset,
    trace,
)


def register(app: typer.Typer) -> None:
    """Let every area add its commands to `app`, in the order in which `--help` shows them."""
    for area in (
        platform,
        produce,
        stream,
        jobs,
        runs,
        api,
        sql,
        superset,
        quarantine,
        quality,
        trace,
        reconcile,
        alerts,
    ):
        area.register(app)
    backup.register(app)
    forget.register(app)
    demo.register(app)
