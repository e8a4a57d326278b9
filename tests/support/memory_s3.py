"""An S3 that takes writes, in a process of its own: delta-rs keeps Python waiting while it asks for some things.

Conditional PUTs are answered as S3 answers them: of two at once one wins.
"""

import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

from lakehouse.settings import Settings
from tests.support.platform import free_settings

Headers = dict[str, str]


@contextmanager
def memory_lake(folder: Path) -> Iterator[Settings]:
    """Settings of a lake whose bucket is there, and empty, while the block lasts."""
    command = [sys.executable, "-m", "tests.support.memory_s3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield free_settings(folder, s3_port=int(server.stdout.readline()), bucket="lake")
        finally:
            server.terminate()


@dataclass(frozen=True)
class Object:
    body: bytes
    written_at: datetime

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Readers hang up when they have seen enough."""


class MemoryS3:
    """Objects by `<bucket>/<key>`; any bucket is there."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.guard = threading.Lock()

    def serve(self) -> None:
        """On a free port, which is printed."""
        server = _Server(("127.0.0.1", 0), _handler(self))
        print(server.server_address[1], flush=True)
        server.serve_forever()

    def put(self, path: str, body: bytes, headers: Headers) -> int:
        with self.guard:
            known = self.objects.get(path)
            if headers.get("if-none-match") == "*" and known is not None:
                return 412
            if "if-match" in headers and (known is None or known.etag != headers["if-match"]):
                return 412
            self.objects[path] = Object(body, datetime.now(UTC))
            return 200

    def listed(self, bucket: str, query: dict[str, str]) -> bytes:
        """All of a listing in one page."""
        prefix, after, delimiter = query.get("prefix", ""), query.get("start-after", ""), query.get("delimiter")
        with self.guard:
            own = {path.removeprefix(f"{bucket}/"): found for path, found in self.objects.items()}
        contents, folders = "", set()
        for key, found in sorted(own.items()):
            if not key.startswith(prefix) or key <= after:
                continue
            if delimiter and delimiter in key[len(prefix) :]:
                folders.add(prefix + key[len(prefix) :].split(delimiter)[0] + delimiter)
                continue
            contents += (
                f"<Contents><Key>{escape(key)}</Key><Size>{len(found.body)}</Size><ETag>{found.etag}</ETag>"
                f"<LastModified>{found.written_at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
            )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders)
        head = f"<Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult>{head}{contents}{common}</ListBucketResult>".encode()

    def delete(self, paths: list[str]) -> None:
        with self.guard:
            for path in paths:
                self.objects.pop(path, None)


def _handler(s3: MemoryS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            path, query = self._asked()
            found = s3.objects.get(path)
            if "list-type" in query:
                self._send(200, s3.listed(path.rstrip("/"), query), {"Content-Type": "application/xml"})
            elif found is None:
                self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
            else:
                self._send_object(found)

        do_HEAD = do_GET

        def do_PUT(self) -> None:
            path, _ = self._asked()
            status = s3.put(path, self._body(), {name.lower(): value for name, value in self.headers.items()})
            found = s3.objects.get(path)
            self._send(status, b"", {"ETag": found.etag} if found else {})

        def do_DELETE(self) -> None:
            s3.delete([self._asked()[0]])
            self._send(204)

        def do_POST(self) -> None:
            """Delete many."""
            path, query = self._asked()
            if "delete" not in query:
                self._send(501)
                return
            keys = re.findall("<Key>(.*?)</Key>", self._body().decode())
            s3.delete([f"{path.rstrip('/')}/{unescape(key)}" for key in keys])
            self._send(200, b"<DeleteResult></DeleteResult>", {"Content-Type": "application/xml"})

        def log_message(self, *_: object) -> None:
            pass

        def _asked(self) -> tuple[str, dict[str, str]]:
            address = urlsplit(self.path)
            query = parse_qs(address.query, keep_blank_values=True)
            return unquote(address.path).lstrip("/"), {name: values[0] for name, values in query.items()}

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _send_object(self, found: Object) -> None:
            headers = {"ETag": found.etag, "Last-Modified": format_datetime(found.written_at, usegmt=True)}
            wanted = self.headers.get("Range")
            if not wanted:
                self._send(200, found.body, headers)
                return
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            size = len(found.body)
            first = int(start) if start else max(0, size - int(end))
            last = min(int(end), size - 1) if start and end else size - 1
            self._send(206, found.body[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{size}"})

        def _send(self, status: int, body: bytes = b"", headers: Headers | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


if __name__ == "__main__":
    MemoryS3().serve()
