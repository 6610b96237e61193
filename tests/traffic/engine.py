"""Stand-ins of engines: they answer everything, dangerous paths too, and remember what they saw."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.traffic.resources import LOOPBACK, Address


@dataclass(frozen=True)
class Seen:
    """A request as it came to an engine."""

    method: str
    path: str
    headers: Message
    body: bytes


class Turn(BaseHTTPRequestHandler):
    """One request, while it is answered."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or an answer waits 40 ms between its head and its body
    engine: "Engine"

    def json(self, content: object, status: int = 200) -> None:
        """Answers at once."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self) -> None:
        """Begins an answer in pieces."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, text: str) -> None:
        """One server-sent event."""
        data = f"data: {text}\n\n".encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end_stream(self) -> None:
        """Ends it in good order."""
        self.wfile.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """Closes the connection, whatever was answered."""
        self.close_connection = True

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the other side does not listen any more
            self.hang_up()

    def take(self) -> None:
        """Remembers it, and answers as the engine does now."""
        body = self._body()
        self.engine.seen.append(Seen(self.command, self.path, self.headers, body))
        self.engine.answer(self)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def log_message(self, *_: object) -> None: ...


for each in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
    setattr(Turn, f"do_{each}", Turn.take)


@dataclass(eq=False)
class Engine:
    """A replica of a version."""

    name: str
    address: Address = (LOOPBACK, 0)
    seen: list[Seen] = field(default_factory=list)
    answer: Callable[[Turn], None] = field(init=False)
    """What it does; a test may say something else."""

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As at the beginning."""
        self.seen.clear()
        self.answer = lambda turn: turn.json({"version": self.name, "path": turn.path})


@contextmanager
def engine(name: str, tls: ssl.SSLContext | None = None) -> Iterator[Engine]:
    """An engine, or who else answers on loopback, until the end of the block."""
    made = Engine(name)
    handler = type("Handler", (Turn,), {"engine": made})
    server = ThreadingHTTPServer((LOOPBACK, 0), handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    made.address = (LOOPBACK, server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def stream(turn: Turn, then: threading.Event, wait_s: float = 20) -> None:
    """Two pieces, and a silence between them."""
    turn.begin_stream()
    turn.piece("first")
    then.wait(wait_s)
    turn.piece("last")
    turn.end_stream()


def talk(turn: Turn, gone: threading.Event) -> None:
    """Without an end, until nobody listens."""
    turn.begin_stream()
    try:
        while not gone.wait(0.01):
            turn.piece("more")
    except OSError:
        gone.set()
        turn.hang_up()


def wait(turn: Turn, then: threading.Event) -> None:
    """Not a word."""
    then.wait(20)
    turn.hang_up()
