"""Starts Superset: makes it ready when something changed, then becomes its web server.

Runs in Superset's own environment, as `shoplake up --superset` does, or with one word of:
`import`, `export` (the dashboards' YAML), `reset-password` (a new one for the administrator).
"""

import hashlib
import json
import os
import secrets
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
HOME = Path(os.environ["SUPERSET_HOME"])
BIN = Path(sys.executable).parent
ADMIN, VIEWER = "admin", "viewer"
WORKERS = 2
DUCKDB_MB = 512
"""What `databases/shoplake.yaml` gives DuckDB."""


def main(word: str) -> None:
    """Do what `word` says; "" serves."""
    os.umask(0o077)
    HOME.mkdir(parents=True, exist_ok=True)
    key = HOME / "secret.key"
    if not key.is_file():
        key.write_text(secrets.token_urlsafe(48), encoding="utf-8")
    os.environ["FLASK_APP"] = "superset.app:create_app()"
    if word == "":
        stamp = HOME / "ready"
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != _state():
            make_ready()
            stamp.write_text(_state(), encoding="utf-8")
        _serve()
    with _application():
        import assets

        if word == "import":
            assets.import_all()
        elif word == "export":
            assets.write(assets.export_all())
        elif word == "reset-password":
            _set_password(ADMIN)


def make_ready() -> None:
    """Tables, roles, users and dashboards; again and again with the same result."""
    print("Preparing Superset's records ...", flush=True)
    subprocess.run([str(BIN / "superset"), "db", "upgrade"], check=True)
    with _application(user=None):
        from superset import appbuilder, security_manager

        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        _add_user(ADMIN, "Admin")
    with _application():
        import assets

        print("Importing the dashboards ...", flush=True)
        assets.import_all()
        make_viewer_role()
        _add_user(VIEWER, "Viewer")


def make_viewer_role() -> None:
    """The role that sees the dashboards and changes nothing: Superset's own set for visitors, and our database."""
    from superset import db, security_manager

    role = security_manager.add_role("Viewer")
    allowed = {
        *security_manager.PUBLIC_ROLE_PERMISSIONS,
        ("can_userinfo", "UserDBModelView"),
        ("can_recent_activity", "Log"),
        ("can_log", "Superset"),
        ("can_read", "SecurityRestApi"),  # the CSRF token
        ("can_read", "CurrentUserRestApi"),
        ("menu_access", "Dashboards"),
    }
    database = [
        view
        for view in db.session.query(security_manager.permissionview_model).all()
        if view.permission
        and view.permission.name == "database_access"
        and str(view.view_menu).startswith("[Shoplake]")
    ]
    views = [security_manager.find_permission_view_menu(*pair) for pair in sorted(allowed)]
    role.permissions = [*(view for view in views if view is not None), *database]
    db.session.commit()


def _add_user(name: str, role_name: str) -> None:
    from superset import security_manager

    if security_manager.find_user(username=name) is None:
        role = security_manager.find_role(role_name)
        password = secrets.token_urlsafe(15)
        if not security_manager.add_user(name, "Shoplake", role_name, f"{name}@shoplake.invalid", role, password):
            sys.exit(f"Superset could not add the user {name}.")
        _remember(name, password)


def _set_password(name: str) -> None:
    from superset import security_manager

    password = secrets.token_urlsafe(15)
    security_manager.reset_password(security_manager.find_user(username=name).id, password)
    _remember(name, password)


def _remember(name: str, password: str) -> None:
    """Where `shoplake superset login` finds it; only this user may read it."""
    path = HOME / "passwords.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**known, name: password}), encoding="utf-8")
    path.chmod(0o600)


def _state() -> str:
    """Changes with everything that makes it necessary to prepare again."""
    texts = [path for path in sorted(FOLDER.rglob("*")) if path.suffix in (".py", ".yaml", ".txt")]
    parts = [path.read_bytes() for path in texts]
    parts.append(os.environ.get("SHOPLAKE_SUPERSET_DATABASE_URL", "").encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@contextmanager
def _application(user: str | None = ADMIN):
    """Superset's application, acting as `user`."""
    from superset.app import create_app

    with create_app().app_context():
        if user is None:
            yield
            return
        from superset.utils.core import override_user

        from superset import security_manager

        with override_user(security_manager.find_user(username=user)):
            yield


def _serve() -> None:
    """Become the web server. Sync workers: DuckDB shares no connection between threads."""
    command = [
        str(BIN / "gunicorn"),
        f"--bind={os.environ.get('SHOPLAKE_SUPERSET_HOST', '127.0.0.1')}:{os.environ['SHOPLAKE_SUPERSET_PORT']}",
        f"--workers={WORKERS}",
        "--worker-class=sync",
        "--timeout=60",
        "--max-requests=2000",
        "--max-requests-jitter=200",
        "superset.app:create_app()",
    ]
    sys.path.append(str(FOLDER.parent))
    from lakehouse.watchdog import limit_memory

    limit_memory(DUCKDB_MB)
    os.execv(command[0], command)  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
