"""`shoplake backup` and `shoplake restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lakehouse.settings import load_settings
from lakehouse.terminal import shown

if TYPE_CHECKING:
    from lakehouse.backups.backup import Report

app = typer.Typer()


@app.command()
def backup(
    target: Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix behind the lake's S3 endpoint.")],
) -> None:
    """Copy the lake's tables and the run registry into a new folder of TARGET.

    The platform may be up, with its stream running, or down. Kafka is not in the backup.

    Example: shoplake backup /backups/shop
    """
    from lakehouse.backups.backup import back_up

    with _progress() as report:
        made = back_up(load_settings(), target, report)
    size = sum(table["bytes"] for table in made["tables"].values())
    _say(f"Backed up {len(made['tables'])} tables, {size / 1e6:,.1f} MB, into")
    for name in made["deleted"]:
        _say(f"Deleted {name}, which is older than SHOPLAKE_BACKUP_KEEP_DAYS.")
    print(made["path"])


@app.command()
def restore(
    source: Annotated[str, typer.Argument(help="One backup: the folder that `shoplake backup` printed.")],
) -> None:
    """Bring a lake back from a backup, into an empty bucket, while the platform is down.

    Afterwards `shoplake up` reads from Kafka what has come since. API keys come back revoked: make new ones.

    Example: shoplake restore /backups/shop/20261125T170000Z
    """
    from lakehouse.backups.backup import restore as bring_back

    with _progress() as report:
        manifest = bring_back(load_settings(), source, report)
    _say(f"Restored {len(manifest['tables'])} tables as of {manifest['made_at']}.")
    _say("API keys came back revoked: `shoplake keys create` makes new ones.")
    if persons := manifest["forgotten"]:
        _say(
            f"It holds {len(persons)} persons who were forgotten after it was made: {', '.join(persons)}. When the"
            " stream has read what Kafka has, forget each of them again, by the ids that they gave you."
        )
    _say("`shoplake up` starts the platform; the stream goes on in Kafka where the backup ends.")


def _say(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True).print(shown(sentence), highlight=False)


@contextmanager
def _progress() -> Iterator[Report]:
    """A spinner with the table and its files on a terminal, a line per table without one."""

    console = Console(stderr=True)
    with console.status("Looking at the lake …") as now:

        def report(table: str, done: int, total: int) -> None:
            if console.is_terminal:
                now.update(f"{shown(table)}: {done:,} of {total:,} files")
            elif done == total:
                console.print(f"  {shown(table)}: {total:,} files", highlight=False)

        yield report
