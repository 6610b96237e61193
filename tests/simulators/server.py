"""Pages that a running Prometheus reads, each on an address and a port of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tests.simulators.pages import Page


@contextmanager
def served(address: str, port: int, pages: dict[str, Page], tls: SSLContext | None = None) -> Iterator[int]:
    """The pages by their paths, on a port that is free for 0; yields the port."""
    start = time.monotonic()
    turn = threading.Lock()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            if page is None:
                self.send_error(404)
                return
            with turn:
                page.advance(time.monotonic() - start)
                body = generate_latest(page)
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer((address, port), Answer)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
