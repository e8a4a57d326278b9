"""Runs a registered job for the command line, with a progress bar."""

from __future__ import annotations

import time
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lakehouse.catalog import TABLES
from lakehouse.errors import ShoplakeError
from lakehouse.jobs import Job
from lakehouse.lake import Lake
from lakehouse.session import connect
from lakehouse.settings import load_settings


def run_job(job: Job, parameters: BaseModel, quiet: bool = False) -> dict[str, Any]:
    """The result of a run with its duration in seconds. Raises ShoplakeError when it fails."""
    began = time.monotonic()
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Connecting to Spark", total=job.steps + 1)

        def say(text: str) -> None:
            progress.update(task, advance=1, description=text)

        lake = Lake(connect(load_settings()), load_settings())
        try:
            lake.create_tables(TABLES)
            result = job.run(lake, parameters, say)
        except ShoplakeError:
            raise
        except Exception as error:  # whatever a job raises becomes one sentence, with its cause kept
            reason = " ".join(str(error).split())[:500]
            raise ShoplakeError(f"The job {job.name} failed: {reason}") from error
        finally:
            lake.spark.stop()
    return {**result, "seconds": round(time.monotonic() - began, 1)}
