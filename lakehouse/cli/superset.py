"""`shoplake superset`: how to log in, and the dashboards as code."""

import json
import subprocess
from typing import Annotated

import typer

from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings, load_settings

app = typer.Typer(name="superset", help="Superset's dashboards: log in, import, export.", no_args_is_help=True)


@app.command()
def login(
    reset: Annotated[bool, typer.Option("--reset", help="Make a new password for the administrator.")] = False,
) -> None:
    """Show where the dashboards are and how to log in; the administrator's password is shown once.

    Example: `shoplake superset login`
    """
    from lakehouse.reports import replace_text

    settings = load_settings()
    path = settings.superset_home / "passwords.json"
    if not path.is_file():
        raise ShoplakeError("Superset has not run yet: `make superset`, then `shoplake up --superset`.")
    if reset:
        run(settings, "reset-password")
    passwords = json.loads(path.read_text())
    print(f"{settings.superset_url}")
    print(f"viewer  {passwords['viewer']}  (sees the dashboards)")
    admin = passwords.pop("admin", None)
    if admin is None:
        print("admin   was shown once; `shoplake superset login --reset` makes a new password")
        return
    print(f"admin   {admin}  (may do everything; not shown again)")
    replace_text(path, json.dumps(passwords), mode=0o600)


@app.command("import")
def import_() -> None:
    """Make Superset match the YAML files in `superset/`; what they no longer have is removed.

    Example: `shoplake superset import`
    """

    run(load_settings(), "import")
    print("Superset shows the dashboards of superset/.")


@app.command()
def export() -> None:
    """Write what was changed in Superset back into the YAML under `superset/`.

    Example: `shoplake superset export`
    """

    run(load_settings(), "export")
    print("The YAML under superset/ says what Superset shows; `git diff superset` tells what changed.")


def run(settings: Settings, word: str) -> None:
    """Let Superset's own environment do it; raises ShoplakeError with Superset's last words."""
    from lakehouse.services.service import child_environment
    from lakehouse.services.superset import FOLDER, PYTHON, environment

    if not (PYTHON.parents[1] / ".installed").is_file():
        raise ShoplakeError("Superset is not installed: run `make superset`.")
    if not (settings.superset_home / "ready").is_file():
        raise ShoplakeError("Superset has not run yet: `shoplake up --superset` prepares it.")
    done = subprocess.run(
        [str(PYTHON), str(FOLDER / "serve.py"), word],
        env={**child_environment(settings), **environment(settings)},
        cwd=settings.data_dir,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ShoplakeError(f"Superset could not {word}: {lines[-1] if lines else 'it said nothing'}")
