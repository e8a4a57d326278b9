"""A folder of Delta tables, written by hand, behind the few S3 calls that a reader makes."""

import json
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import duckdb


class FolderTable:
    """One Delta table; `commit` adds a file with the rows of a query, `create` makes it without files."""

    def __init__(self, folder: Path, columns: dict[str, object], partition_by: tuple[str, ...] = ()) -> None:
        self.folder, self.columns, self.partition_by, self.version = folder, columns, partition_by, 0
        (folder / "_delta_log").mkdir(parents=True)

    def create(self) -> None:
        self._log([{"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}, self._metadata()])

    def widen(self, columns: dict[str, object]) -> None:
        self.columns = columns
        self._log([self._metadata()])

    def commit(self, select: str, partition: dict[str, str] | None = None) -> None:
        folders = "".join(f"{column}={value}/" for column, value in (partition or {}).items())
        name = f"{folders}part-{self.version:05}.parquet"
        (self.folder / folders).mkdir(parents=True, exist_ok=True)
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({select}) TO '{self.folder / name}' (FORMAT parquet)")
        size = (self.folder / name).stat().st_size
        self._log(
            [
                {
                    "add": {
                        "path": name,
                        "size": size,
                        "partitionValues": partition or {},
                        "modificationTime": 0,
                        "dataChange": True,
                    }
                }
            ]
        )

    def _metadata(self) -> dict[str, object]:
        fields = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in self.columns.items()]
        return {
            "metaData": {
                "id": "0",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps({"type": "struct", "fields": fields}),
                "partitionColumns": list(self.partition_by),
                "configuration": {},
            }
        }

    def _log(self, actions: list[dict[str, object]]) -> None:
        path = self.folder / "_delta_log" / f"{self.version:020}.json"
        path.write_text("\n".join(json.dumps(action) for action in actions))
        self.version += 1


class FolderS3:
    """Serves `<folder>/<bucket>/<key>` on a free port, read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(folder))
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, with_body: bool) -> None:
            address = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            path = folder / unquote(address.path).lstrip("/")
            if "list-type" in query:
                self._send(200, _listing(path, query), {"Content-Type": "application/xml"}, with_body)
            elif not path.is_file():
                self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {}, with_body)
            else:
                self._send_file(path.read_bytes(), with_body)

        def _send_file(self, body: bytes, with_body: bool) -> None:
            headers = {"Last-Modified": formatdate(0, usegmt=True), "ETag": f'"{len(body)}"', "Accept-Ranges": "bytes"}
            wanted = self.headers.get("Range")
            if not wanted:
                self._send(200, body, headers, with_body)
                return
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            first = int(start) if start else len(body) - int(end)
            last = int(end) if start and end else len(body) - 1
            headers["Content-Range"] = f"bytes {first}-{min(last, len(body) - 1)}/{len(body)}"
            self._send(206, body[first : last + 1], headers, with_body)

        def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    return Handler


def _listing(bucket: Path, query: dict[str, str]) -> bytes:
    prefix, after = query.get("prefix", ""), query.get("start-after", "")
    keys = sorted(str(path.relative_to(bucket)) for path in bucket.rglob("*") if path.is_file())
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{(bucket / key).stat().st_size}</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag></Contents>"
        for key in keys
        if key.startswith(prefix) and key > after
    )
    head = f"<Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
    return f"<ListBucketResult>{head}{contents}</ListBucketResult>".encode()
