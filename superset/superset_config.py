"""Superset's configuration. `shoplake up --superset` sets the SHOPLAKE_ variables that it reads."""

import copy
import os
from pathlib import Path

import yaml

HOME = Path(os.environ["SUPERSET_HOME"])

SECRET_KEY = (HOME / "secret.key").read_text(encoding="utf-8")
SQLALCHEMY_DATABASE_URI = os.environ.get("SHOPLAKE_SUPERSET_DATABASE_URL") or f"sqlite:///{HOME / 'superset.sqlite3'}"
SQLALCHEMY_TRACK_MODIFICATIONS = False
DATA_DIR = str(HOME)

APP_NAME = "Shoplake"
# On another address than this machine's own, a proxy with TLS is in front: believe what it says of the request.
ENABLE_PROXY_FIX = os.environ.get("SHOPLAKE_SUPERSET_HOST", "127.0.0.1") != "127.0.0.1"
SESSION_COOKIE_SECURE = ENABLE_PROXY_FIX
# Pages load nothing from elsewhere and report to nobody. Bound to this machine over plain HTTP: no HTTPS to force.
TALISMAN_ENABLED = True
TALISMAN_CONFIG = {
    "content_security_policy": {
        "base-uri": ["'self'"],
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "connect-src": ["'self'"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": ENABLE_PROXY_FIX,
}
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
WTF_CSRF_ENABLED = True

# The embedded "public" option: visitors without an account see what viewers see. Off unless asked for.
AUTH_ROLE_PUBLIC = "Viewer" if os.environ.get("SHOPLAKE_SUPERSET_PUBLIC", "").lower() in ("1", "true") else "Public"

# Gold changes every few seconds and the serving file answers in milliseconds: nothing is cached for longer.
DATA_CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
SUPERSET_DASHBOARD_PERIODICAL_REFRESH_LIMIT = 0
ROW_LIMIT = 5_000
# "Last day" ends now, not at midnight.
DEFAULT_RELATIVE_START_TIME = "now"
DEFAULT_RELATIVE_END_TIME = "now"
SQL_MAX_ROW = 10_000
SUPERSET_WEBSERVER_TIMEOUT = 60
SQLLAB_TIMEOUT = 30

FEATURE_FLAGS = {
    "DASHBOARD_CROSS_FILTERS": True,
    "DRILL_TO_DETAIL": True,
    "DRILL_BY": True,
    "ENABLE_TEMPLATE_PROCESSING": False,
    "EMBEDDED_SUPERSET": False,
    "ALERT_REPORTS": False,
}

# Functions that reach files, networks, secrets or the configuration. The database is opened so that they have no
# effect; saying no at once is clearer.
_FORBIDDEN = Path(__file__).resolve().parents[1] / "lakehouse" / "forbidden_functions.txt"
DISALLOWED_SQL_FUNCTIONS = {"duckdb": set(_FORBIDDEN.read_text(encoding="utf-8").split())}

_CONNECT = yaml.safe_load((Path(__file__).resolve().parent / "databases" / "shoplake.yaml").read_text(encoding="utf-8"))


def _lock_duckdb(uri, params, *_others):
    """Whatever an administrator types, DuckDB opens the published file, read-only and locked: no other file, no memory
    database from which files can be read."""
    if uri.drivername.startswith("duckdb"):
        uri = uri.set(database=os.environ["SHOPLAKE_SERVING_FILE"], query={})
        params = {**params, "connect_args": copy.deepcopy(_CONNECT["extra"]["engine_params"]["connect_args"])}
    return uri, params


DB_CONNECTION_MUTATOR = _lock_duckdb


def _add_quality_docs(app) -> None:
    """The documents of the checks at /quality-docs/, for those who may see the dashboards."""
    from flask import Response, redirect, request, send_from_directory
    from flask_login import current_user

    folder = Path(os.environ.get("SHOPLAKE_QUALITY_DOCS", "")).resolve()

    @app.get("/quality-docs/", defaults={"name": "overview.html"})
    @app.get("/quality-docs/<path:name>")
    def quality_docs(name: str) -> Response:
        if not current_user.is_authenticated and AUTH_ROLE_PUBLIC != "Viewer":
            return redirect(f"/login/?next={request.path}")
        if not (folder / "overview.html").is_file():
            return Response(
                "There are no documents yet: the job `quality` builds them.", 404, content_type="text/plain"
            )
        return send_from_directory(folder, name)


FLASK_APP_MUTATOR = _add_quality_docs
