"""The connections of the API's server: TLS, and hosts that are silent, slow, or too many."""

import http.client
import socket
import subprocess
import time

import httpx
import pytest

from lakehouse.errors import UsageError
from lakehouse.probes import says_ok
from lakehouse.services.ports import refuse_unsafe
from tests.support.platform import free_settings
from tests.support.served_api import ServedApi, served, wait_until

ALIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
JOBS = ALIVE.replace(b"/livez", b"/v1/jobs")
SLOW_BODY = "POST /v1/jobs/plain/runs HTTP/1.1\r\nHost: localhost\r\n{key}\r\nContent-Length: 100\r\n\r\n{{"


def connections(api: ServedApi, count: int, first: bytes = b"") -> list[socket.socket]:
    """Open ones, which have sent `first`."""
    found = [socket.create_connection(("127.0.0.1", api.settings.api_port)) for _ in range(count)]
    for one in found:
        one.sendall(first)
    return found


def certificate(folder) -> dict[str, object]:
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return {"api_tls_cert": folder / "cert.pem", "api_tls_key": folder / "key.pem"}


def test_tls_by_settings(tmp_path):
    made = certificate(tmp_path)
    with pytest.raises(UsageError, match="both"):
        refuse_unsafe(free_settings(tmp_path, api_tls_cert=made["api_tls_cert"]))
    with pytest.raises(UsageError, match="cannot be used"):
        refuse_unsafe(free_settings(tmp_path, api_tls_cert=made["api_tls_cert"], api_tls_key=made["api_tls_cert"]))
    with served(tmp_path, **made) as api:
        assert api.url.startswith("https://") and says_ok(f"{api.url}/livez")
        with pytest.raises(httpx.ConnectError):
            api.operator.get("/livez")
        import ssl

        trust = ssl.create_default_context(cafile=str(made["api_tls_cert"]))
        answer = httpx.get(f"{api.url}/livez", verify=trust, trust_env=False)
        assert answer.status_code == 200 and "max-age" in answer.headers["strict-transport-security"]
        old = ["openssl", "s_client", "-connect", api.url.removeprefix("https://"), "-tls1_1"]
        assert subprocess.run(old, input=b"", capture_output=True, check=False).returncode != 0


def test_who_connects_and_never_begins_with_tls_is_given_up(tmp_path):
    with served(tmp_path, api_slow_seconds=1, **certificate(tmp_path)) as api:
        address = httpx.URL(api.url)
        with socket.create_connection((address.host, address.port), 20) as silent:
            assert silent.recv(1) == b""
        assert says_ok(f"{api.url}/livez")


def test_a_host_that_never_begins_with_tls_shuts_nobody_out(tmp_path):
    with served(tmp_path, api_max_connections=40, **certificate(tmp_path)) as api:
        held = connections(api, 100) + connections(api, 100, b"\x16\x03\x01\x02\x00")
        opened = api.server.server_state.connections
        wait_until(lambda: 0 < len(opened) <= 11, "the oldest have given way")
        for _ in range(5):
            answer = httpx.get(f"{api.url}/v1/jobs", verify=False, trust_env=False)  # noqa: S501 - as a stranger
            assert answer.status_code == 401
        for one in held:
            one.close()
        wait_until(lambda: not opened, "none is kept")


def test_a_host_that_says_nothing_shuts_nobody_out(tmp_path):
    with served(tmp_path, api_max_connections=40) as api:
        held = connections(api, 100) + connections(api, 100, b"GET /livez HTTP/1.1\r\nHost:")
        for _ in range(50):
            assert api.send(ALIVE).startswith(b"HTTP/1.1 200") and api.send(JOBS).startswith(b"HTTP/1.1 401")
        assert len(api.server.server_state.connections) <= 11
        for one in held:
            one.close()


def test_an_address_that_keeps_all_its_places_busy_gets_no_more_and_the_server_says_that_it_lives(tmp_path):
    with served(tmp_path, api_max_connections=40) as api:
        key = f"Authorization: {api.operator.headers['Authorization']}"
        held = connections(api, 10, SLOW_BODY.format(key=key).encode())
        wait_until(lambda: len(api.server.server_state.connections) >= 10, "ten connections are held")
        time.sleep(0.5)
        for _ in range(20):  # one after the other takes the place of the one before it, and none gets further
            held += connections(api, 2)
            answer = api.send(JOBS)
            assert answer.startswith(b"HTTP/1.1 503") and b"/problems/overloaded" in answer and b"Retry-After" in answer
            assert api.send(ALIVE).startswith(b"HTTP/1.1 200")
        other = http.client.HTTPConnection("127.0.0.1", api.settings.api_port, source_address=("127.0.0.2", 0))
        other.request("GET", "/v1/jobs")
        assert other.getresponse().status == 401, "another address has places of its own"
        for one in held:
            one.close()
        wait_until(lambda: api.send(JOBS).startswith(b"HTTP/1.1 401"), "places are free again")


def test_who_asks_at_length_whether_it_lives_gets_no_place_beyond_his_own(tmp_path):
    with served(tmp_path, api_max_connections=40, api_slow_seconds=120) as api:
        opened = api.server.server_state.connections
        key = api.operator.headers["Authorization"]
        slow = f"Host: localhost\r\nAuthorization: {key}\r\nContent-Length: 100\r\n\r\n{{"
        held = connections(api, 10, f"POST /v1/jobs/plain/runs HTTP/1.1\r\n{slow}".encode())
        wait_until(lambda: len(opened) >= 10, "ten connections are held")
        time.sleep(0.5)
        held += connections(api, 30, f"GET /livez HTTP/1.1\r\n{slow}".encode())
        assert api.send(ALIVE).startswith(b"HTTP/1.1 200")
        wait_until(lambda: len(opened) <= 11, "the others are gone")
        for one in held:
            one.close()


def test_who_takes_no_answer_makes_room(tmp_path):
    large = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with served(tmp_path, api_max_connections=40) as api:
        held = connections(api, 10, large * 8)
        opened = api.server.server_state.connections
        wait_until(lambda: sum(one.flow.write_paused for one in list(opened)) == 10, "none can be sent more")
        assert api.send(JOBS).startswith(b"HTTP/1.1 401")
        for one in held:
            one.close()
