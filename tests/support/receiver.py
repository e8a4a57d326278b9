"""An HTTP receiver of alerts on this machine that can fail, hang, drip and recover."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keeps what it accepted. `answer` is a status, or "hang" or "drip" (a byte now and then, never a whole answer)."""

    def __init__(self) -> None:
        self.answer: int | str = 200
        self.accepted: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.attempts = 0
        self._lock, self._over = threading.Lock(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts?secret=s3cret"

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(message["alert"], message["state"]) for message in self.accepted]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = receiver.answer
                with receiver._lock:
                    receiver.attempts += 1
                    if answer == 200:
                        receiver.accepted.append(body)
                        receiver.keys.append(str(self.headers["Idempotency-Key"]))
                if answer == "hang":
                    receiver._over.wait(60)
                elif answer == "drip":
                    while not receiver._over.is_set():
                        try:
                            self.wfile.write(b"H")
                        except OSError:
                            return
                        time.sleep(0.05)
                else:
                    self.send_response(int(answer))
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
