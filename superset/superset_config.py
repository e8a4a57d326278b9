"""What is not as Superset has it by default. `shoplake up --superset` sets the SHOPLAKE_ variables that are read."""

import copy
import ipaddress
import os
import sys
from pathlib import Path

import yaml

HOME = Path(os.environ["SUPERSET_HOME"])

SECRET_KEY = (HOME / "secret.key").read_text(encoding="utf-8")
SQLALCHEMY_DATABASE_URI = os.environ.get("SHOPLAKE_SUPERSET_DATABASE_URL") or f"sqlite:///{HOME / 'superset.sqlite3'}"

APP_NAME = "Shoplake"
# Proxies with TLS are in front: believe what they say of a request, and nobody else.
_PROXIES = [one.strip() for one in os.environ.get("SHOPLAKE_API_TRUSTED_PROXIES", "").split(",") if one.strip()]
ENABLE_PROXY_FIX = bool(_PROXIES)
SESSION_COOKIE_SECURE = ENABLE_PROXY_FIX
# Guessing passwords: a person mistypes now and then. All requests together are bounded where the proxy is.
RATELIMIT_ENABLED = True
RATELIMIT_APPLICATION = "6000 per minute"
AUTH_RATE_LIMITED = True
AUTH_RATE_LIMIT = "10 per minute"
MAX_CONTENT_LENGTH = 2**20
# What people choose in filters. Superset would keep all that a viewer sends, for 90 days; of these files the oldest go.
FILTER_STATE_CACHE_CONFIG = EXPLORE_FORM_DATA_CACHE_CONFIG = {
    "CACHE_TYPE": "FileSystemCache",
    "CACHE_DIR": str(HOME / "choices"),
    "CACHE_THRESHOLD": 200,
    "CACHE_DEFAULT_TIMEOUT": 7 * 86_400,
}
_OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")


class GuardedRequests:
    """WSGI middleware, the outermost: drops what a stranger says of where a request came from, and refuses requests
    that a page in a browser sent here under a name of its own (DNS rebinding)."""

    def __init__(self, app):
        """`app` is what answers."""
        self._app = app
        self._networks = [ipaddress.ip_network(one) for one in _PROXIES]

    def __call__(self, environ, start_response):
        """Answer one request."""
        sender = ipaddress.ip_address(environ.get("REMOTE_ADDR") or "0.0.0.0")  # noqa: S104 - nobody's address
        if not any(sender in network for network in self._networks):
            environ = {name: value for name, value in environ.items() if not name.startswith("HTTP_X_FORWARDED_")}
        host = environ.get("HTTP_HOST", "localhost").lower()
        if not _PROXIES and host.rsplit(":", 1)[0] not in _OWN_NAMES and host not in _OWN_NAMES:
            start_response("421 Misdirected Request", [("Content-Type", "text/plain")])
            return [b"This server is reached by the name localhost alone.\n"]
        return self._app(environ, start_response)


ADDITIONAL_MIDDLEWARE = [GuardedRequests]
# Pages load nothing from elsewhere and report to nobody. Bound to this machine over plain HTTP: no HTTPS to force.
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

# The embedded "public" option: visitors without an account see what viewers see. Off unless asked for.
AUTH_ROLE_PUBLIC = "Viewer" if os.environ.get("SHOPLAKE_SUPERSET_PUBLIC", "").lower() in ("1", "true") else "Public"

ROW_LIMIT = 5_000
# "Last day" ends now, not at midnight.
DEFAULT_RELATIVE_START_TIME = "now"
DEFAULT_RELATIVE_END_TIME = "now"
SQL_MAX_ROW = 10_000
SQLLAB_TIMEOUT = 30

FEATURE_FLAGS = {"MENU_HIDE_USER_INFO": True}
"""Superset's own, but without the page that offers to change names and passwords, which viewers share."""

# The project's own modules; at the end of the path, so that nothing of Superset is found here first.
sys.path += [str(folder) for folder in Path(__file__).resolve().parents[:2]]
from lakehouse import sql_guard, watchdog  # noqa: E402
from lakehouse.errors import ShoplakeError  # noqa: E402


def SQL_QUERY_MUTATOR(sql, **_others):
    """The statement, of SQL Lab or of a chart, as it is, unless the rules of `shoplake sql` refuse it."""
    from superset.exceptions import QueryObjectValidationError

    try:
        sql_guard.check_reading(sql)
    except ShoplakeError as error:
        raise QueryObjectValidationError(str(error)) from None
    return sql


_CONNECT = yaml.safe_load((Path(__file__).resolve().parent / "databases" / "shoplake.yaml").read_text(encoding="utf-8"))


def DB_CONNECTION_MUTATOR(uri, params, *_others):
    """Whatever an administrator types, and where the database's YAML has no address, DuckDB opens the published file,
    read-only and locked: no other file, no memory database from which files can be read."""
    if uri.drivername.startswith("duckdb"):
        uri = uri.set(database=os.environ["SHOPLAKE_SERVING_FILE"], query={})
        connect = copy.deepcopy(_CONNECT["extra"]["engine_params"]["connect_args"])
        connect["config"]["temp_directory"] = str(watchdog.spill_folder(Path(uri.database), "superset"))
        params = {**params, "connect_args": connect}
    return uri, params


QUESTION_SECONDS = SQLLAB_TIMEOUT - 5.0
"""Superset gives up SQL Lab without a word of why; a question ends before that, with a sentence."""


def _end_long_questions() -> None:
    """Watch DuckDB in the one place through which all questions pass."""
    import duckdb_engine

    cursor = duckdb_engine.CursorWrapper
    execute, fetch_many = cursor.execute, cursor.fetchmany

    def watched_execute(self, *asked, **named):
        self.watchdog = watchdog.Watchdog(self.connection, QUESTION_SECONDS)
        with self.watchdog.watching():
            return execute(self, *asked, **named)

    def watched_fetch_many(self, *asked, **named):
        with self.watchdog.watching():
            return fetch_many(self, *asked, **named)

    def fetch_all(self):
        with self.watchdog.watching():
            return self.__getattr__("fetchall")()

    cursor.execute, cursor.fetchmany, cursor.fetchall = watched_execute, watched_fetch_many, fetch_all


def _keep_no_questions() -> None:
    """Superset keeps a row of each request with all that was sent, and deletes none: an open dashboard asks a dozen
    times in ten seconds, and whoever sees it may send more."""
    from superset.utils.log import DBEventLogger

    DBEventLogger.log = lambda *_asked, **_named: None


def FLASK_APP_MUTATOR(app) -> None:
    """What the project adds to Superset, once it is made."""
    import viewers

    from superset import security_manager

    _add_welcome(app)
    _end_long_questions()
    _keep_no_questions()
    manager = security_manager._get_current_object()
    # Superset limits its login page alone, and programs log in elsewhere.
    api = next(view for view in manager.appbuilder.baseviews if view.endpoint == "SecurityApi")
    manager.limiter.limit(AUTH_RATE_LIMIT, methods=["POST"])(api.blueprint)
    viewers.keep_to_charts(manager)


def _add_welcome(app) -> None:
    """What there is to see, in a sentence each, in the place of Superset's page of recent work."""
    from flask import render_template_string, request
    from flask_login import current_user

    from superset import security_manager

    folder = Path(__file__).resolve().parent
    paths = sorted((folder / "dashboards").glob("*.yaml"), reverse=True)  # the shop comes first
    boards = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    page = (folder / "welcome.html").read_text(encoding="utf-8")

    @app.before_request
    def welcome() -> str | None:
        if request.path != "/superset/welcome/" or not (current_user.is_authenticated or AUTH_ROLE_PUBLIC == "Viewer"):
            return None
        may_change = security_manager.can_access("can_execute_sql_query", "SQLLab")
        return render_template_string(page, boards=boards, may_change=may_change, user=current_user)
