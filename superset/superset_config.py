"""Superset's configuration. `shoplake up --superset` sets the SHOPLAKE_ variables that it reads."""

import os
from pathlib import Path

HOME = Path(os.environ["SUPERSET_HOME"])

SECRET_KEY = (HOME / "secret.key").read_text(encoding="utf-8")
SQLALCHEMY_DATABASE_URI = os.environ.get("SHOPLAKE_SUPERSET_DATABASE_URL") or f"sqlite:///{HOME / 'superset.sqlite3'}"
SQLALCHEMY_TRACK_MODIFICATIONS = False
DATA_DIR = str(HOME)

APP_NAME = "Shoplake"
# Bound to this machine over plain HTTP: HTTPS would be forced on addresses that have none.
TALISMAN_ENABLED = False
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
WTF_CSRF_ENABLED = True

# The embedded "public" option: visitors without an account see what viewers see. Off unless asked for.
AUTH_ROLE_PUBLIC = "Viewer" if os.environ.get("SHOPLAKE_SUPERSET_PUBLIC", "").lower() in ("1", "true") else "Public"

# Gold changes every few seconds and the serving file answers in milliseconds: nothing is cached for longer.
DATA_CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
SUPERSET_DASHBOARD_PERIODICAL_REFRESH_LIMIT = 0
ROW_LIMIT = 5_000
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
