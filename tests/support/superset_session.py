"""Programs that speak with Superset, logged in over its API."""

import functools
import time

import requests

from lakehouse.settings import Settings
from tests.support.browser import password


def session(settings: Settings, name: str) -> requests.Session:
    """Logged in over the API, which few may do in a minute; a token is valid for a quarter of an hour."""
    return logged_in(settings.superset_url, name, password(settings, name), int(time.monotonic()) // 600)


@functools.cache
def logged_in(url: str, name: str, password: str, _while: int) -> requests.Session:
    made = requests.Session()
    made.headers["Referer"] = url
    given = {"username": name, "password": password, "provider": "db", "refresh": False}
    token = made.post(f"{url}/api/v1/security/login", json=given, timeout=30).json()["access_token"]
    made.headers["Authorization"] = f"Bearer {token}"
    csrf = made.get(f"{url}/api/v1/security/csrf_token/", timeout=30)
    made.headers["X-CSRFToken"] = csrf.json().get("result", "")
    return made
