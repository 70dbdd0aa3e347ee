"""A little HTTP server in a thread, whose replies a test decides."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

ANSWER = {"label": "ham", "stage": "screen", "degraded": None}
TIMING = "screen;dur=0.5, total;dur=1"
Sent = tuple[int, bytes] | tuple[int, bytes, str] | None
"""Status, body and, where it is not TIMING, Server-Timing; or None to hang up."""


@contextmanager
def little_server(
    respond: Callable[[bytes], Sent],
    tls: ssl.SSLContext | None = None,
    demands: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """A server whose response is a function of the request's body; 401 without the headers it `demands`. Its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes: the second would wait 40 ms for the first to be acknowledged.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            let_in = all(self.headers.get(name) == value for name, value in demands.items())
            found = respond(body) if let_in else (401, b"{}")
            if found is None:
                self.close_connection = True
                return
            self.send_response(found[0])
            self.send_header("Content-Length", str(len(found[1])))
            self.send_header("Server-Timing", found[2] if len(found) == 3 else TIMING)
            self.end_headers()
            self.wfile.write(found[1])

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Crowded(ThreadingHTTPServer):
        request_queue_size = 512
        daemon_threads = True

    server = Crowded(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls is not None:
        # Shaken hands in the thread of the connection: a client that goes away must not hold the others.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ok(**changes: object) -> tuple[int, bytes]:
    """An answer of the screen, with these fields changed."""
    return 200, json.dumps({**ANSWER, **changes}).encode()
