"""Requests byte for byte: a library would mend what attackers send."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.traffic.resources import Address

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The content."""
        return json.loads(self.body)


def request(
    path: str, host: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b"", length: bool = True
) -> bytes:
    """A request of HTTP/1.1 as it goes over the wire, in order even where the path is not."""
    lines = {"Host": host, **({"Content-Length": str(len(body))} if length and body else {}), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def send(address: Address, raw: bytes, tls: ssl.SSLContext | None = None, server_name: str | None = None) -> Reply:
    """Sends and reads the whole answer; status 0 where the other side hangs up instead."""
    with answering(address, raw, tls, server_name) as reply:
        if reply is None:
            return Reply(0, http.client.HTTPMessage(), b"")
        try:
            body = reply.read()
        except http.client.IncompleteRead as cut:
            body = cut.partial
        return Reply(reply.status, reply.headers, body)


@contextmanager
def answering(
    address: Address, raw: bytes, tls: ssl.SSLContext | None = None, server_name: str | None = None
) -> Iterator[http.client.HTTPResponse | None]:
    """The answer while it comes, None where the other side hangs up instead of one; who leaves the block hangs up."""
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            connection = stack.enter_context(tls.wrap_socket(connection, server_hostname=server_name))
        with suppress(ConnectionError):  # it may have answered already, and listen no more
            connection.sendall(raw)
        # The connection is closed only when the answer is, too.
        reply = stack.enter_context(closing(http.client.HTTPResponse(connection, method=raw.split(b" ", 1)[0].decode())))
        try:
            reply.begin()
        except (http.client.RemoteDisconnected, ConnectionResetError):
            yield None
            return
        yield reply
