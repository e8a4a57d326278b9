"""`shoplake api` and `shoplake keys create|list|revoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from lakehouse.cli.common import Format, HowToPrint, length, minute, print_json
from lakehouse.settings import load_settings
from lakehouse.terminal import shown

if TYPE_CHECKING:
    from lakehouse.runs.database import Database


app = typer.Typer()
keys = typer.Typer(help="Make, list and revoke keys of the API.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@app.command()
def api() -> None:
    """Serve the HTTP API until Ctrl-C (`shoplake up` does this for you).

    Example: [bold]SHOPLAKE_API_PORT=8080 shoplake api[/]
    """
    from api.server import serve

    serve(load_settings())


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who will use it; several keys of one name are one caller.")],
    scope: Annotated[
        list[str], typer.Option(help="What it may do: jobs:read, jobs:run, jobs:cancel, gold:read, trace:read, admin.")
    ],
    expires: Annotated[str | None, typer.Option(help="How long it is valid: 30d, 12h, 90m.")] = None,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    Example: [bold]shoplake keys create reporting --scope jobs:run --scope jobs:read --expires 30d[/]
    """
    from api import keys

    lifetime = length(expires, "--expires") if expires is not None else None
    typer.echo(keys.create(_database(), name, scope, lifetime))


@keys.command("list")
def list_keys(format: HowToPrint = Format.table) -> None:
    """List the keys, without their secrets.

    Example: [bold]shoplake keys list[/]
    """
    from pydantic_core import to_jsonable_python

    from api import keys

    moments = ("created_at", "expires_at", "last_used_at", "revoked_at")
    names = ("id", "name", "scopes", *moments)
    rows = to_jsonable_python([{name: getattr(row, name) for name in names} for row in keys.listed(_database())])
    if format is Format.json:
        print_json(rows)
        return
    grid = Table("id", "name", "scopes", "created", "expires", "last used", "revoked")
    for one in rows:
        times = (minute(one[name]) for name in moments)
        grid.add_row(one["id"], shown(one["name"]), "\n".join(one["scopes"]), *times)
    Console().print(grid)


@keys.command("revoke")
def revoke(which: Annotated[str, typer.Argument(help="Id of a key, or a name for all its keys.")]) -> None:
    """Make a key invalid at once.

    Example: [bold]shoplake keys revoke reporting[/]
    """
    from api import keys

    typer.echo(f"{keys.revoke(_database(), which)} revoked.")


def _database() -> Database:
    """The registry's database without the registry: its jobs bring Spark's client along, a second of start."""
    from lakehouse.runs.database import Database

    database = Database(load_settings().registry_file)
    database.migrate()
    return database
